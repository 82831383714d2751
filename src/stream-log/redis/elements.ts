/**
 * Events as the elements of the list in Redis. Text, which most events are, is `[index,"text"]`, thinking `[index,"text",1]`, and a
 * piece of a call's input `[index,"text",2]`: a third of the bytes of an event's JSON. Any other event is its JSON. JSON.stringify escapes half surrogates, so what upstream cut in
 * two survives.
 */
import { isTerminal, type LlmEvent, type TerminalEvent } from '../../protocol.ts';

/** Events that are read in one call. A longer call blocks Redis for all clients. */
export const pageElements = 500;

/** An element after `JSON.parse`. */
export type ParsedElement = LlmEvent | readonly [index: number, text: string, kind?: 1 | 2];

/** @throws TypeError where the event can't be written as JSON. */
export function encode(event: LlmEvent): string {
  if (event.type === 'text') return `[${event.index},${JSON.stringify(event.text)}]`;
  if (event.type === 'thinking') return `[${event.index},${JSON.stringify(event.text)},1]`;
  if (event.type === 'tool_input') return `[${event.index},${JSON.stringify(event.text)},2]`;
  return JSON.stringify(event);
}

/** Of an event as a replica keeps it: as an object, or as its JSON where it isn't text. */
export function encodeKept(event: LlmEvent | string): string {
  return typeof event === 'string' ? event : encode(event);
}

export function decode(parsed: ParsedElement): LlmEvent {
  if (!('length' in parsed)) return parsed;
  const [index, text, kind] = parsed;
  return { type: kind === 1 ? 'thinking' : kind === 2 ? 'tool_input' : 'text', index, text };
}

export function parse(element: string): LlmEvent {
  return decode(JSON.parse(element) as ParsedElement);
}

/** Shortens a request's SHA-256 from 64 hex digits to 43 characters. Redis keeps one with each log. */
export function storedHash(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64url');
}

export function hexOf(stored: string): string {
  return Buffer.from(stored, 'base64url').toString('hex');
}

/** The last of some events, if that is a terminal one. */
export function terminalOf(events: readonly LlmEvent[]): TerminalEvent | undefined {
  const last = events.at(-1);
  return last && isTerminal(last) ? last : undefined;
}

/** Bytes that an element takes in Redis beside its text. */
const overheadBytes = 8;

/** Bytes that an element takes in Redis. */
export function elementBytes(element: string): number {
  return Buffer.byteLength(element) + overheadBytes;
}
