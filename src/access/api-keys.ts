/**
 * The keys of callers: makes them, and reads them from the setting that an operator writes. The service knows a key by its SHA-256
 * alone. A plain hash is enough, since a key has more random bits than anybody can try.
 */
import { createHash, randomBytes } from 'node:crypto';

/** A key of a caller, known by its digest only. Two keys may have one name, so that a new key can replace an old one. */
export interface ApiKey {
  /** Name of the caller that shows this key. */
  readonly name: string;
  /** SHA-256 of the key: 64 hex digits, in lower case. */
  readonly sha256: string;
}

const namePattern = /^[A-Za-z0-9_.-]{1,64}$/;
export const keyNameExpected = '1 to 64 letters, digits, "_", "-" and "."';

/** `sha256sum` and `shasum` print a blank and a `-` behind the digest of their standard input, so these may follow. */
const digestPattern = /^([0-9a-f]{64})(?:\s+\*?-)?$/i;

export const digestOfNothing = sha256Of('');

export function isKeyName(name: string): boolean {
  return namePattern.test(name);
}

/** The digest in a text as `sha256sum` prints it, in lower case; undefined where there is none. */
export function digestIn(text: string): string | undefined {
  return digestPattern.exec(text.trim())?.[1]?.toLowerCase();
}

/** An entry of `LLM_API_KEYS`, `name:sha256`; undefined if the text is no such entry. */
export function parseApiKey(entry: string): ApiKey | undefined {
  const { name, digest } = partsOf(entry);
  const sha256 = digestIn(digest);
  return isKeyName(name) && sha256 !== undefined && sha256 !== digestOfNothing ? { name, sha256 } : undefined;
}

/** What is wrong with a text that `parseApiKey` doesn't take. Quotes none of the text, which may hold a key. */
export function flawOfApiKey(entry: string): string {
  const { name, digest } = partsOf(entry);
  if (!entry.includes(':')) return 'no "name:" before a digest';
  if (!isKeyName(name)) return `a name that is not ${keyNameExpected}`;
  if (digestIn(digest) === digestOfNothing) return 'the digest of nothing, as of an unset $KEY,';
  if (/^[0-9a-f]+$/i.test(digest)) return `a digest of ${digest.length} digits`;
  return 'no digest (perhaps the key itself)';
}

function partsOf(entry: string): { readonly name: string; readonly digest: string } {
  const at = entry.indexOf(':');
  return { name: entry.slice(0, Math.max(at, 0)).trim(), digest: entry.slice(at + 1).trim() };
}

const keyBytes = 32;

/** A new key of 256 random bits. It begins with `llm_`, so that programs which search for leaked secrets can find it. */
export function createKey(): string {
  return `llm_${randomBytes(keyBytes).toString('base64url')}`;
}

/** The entry of `LLM_API_KEYS` for a key. */
export function entryOf(name: string, key: string): string {
  return `${name}:${sha256Of(key)}`;
}

/** The entry for a key in the file of `LLM_API_KEYS_FILE`, on one line. */
export function fileEntryOf(name: string, key: string): string {
  return `{ "name": ${JSON.stringify(name)}, "sha256": "${sha256Of(key)}" }`;
}

/** In hex digits, in lower case. */
export function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
