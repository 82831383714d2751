/** Callers under attack, and attackers: their keys, and the plainest requests that they send to a service. */
import { createHash } from 'node:crypto';

/** The id of a generation that never existed. */
export const unknownId = '7c42ca9b-9eab-4d04-80b3-40f10b0c54aa';

export function keyOf(caller: string): string {
  return `key-of-${caller}-0123456789abcdef`;
}

export function bearer(caller: string): Record<string, string> {
  return { authorization: `Bearer ${keyOf(caller)}` };
}

/** The environment of a service that knows these keys. Without keys everyone may ask. */
export function keysOf(callers: readonly string[]): Record<string, string> {
  const entries = callers.map((name) => `${name}:${createHash('sha256').update(keyOf(name)).digest('hex')}`);
  return entries.length > 0 ? { LLM_API_KEYS: entries.join(',') } : {};
}

/** A question as the body of a REST request. The text must need no escapes. */
export function bodyOf(text: string): string {
  return `{"messages":[{"role":"user","content":"${text}"}]}`;
}
