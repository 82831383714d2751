/**
 * The keys of callers: made, and read as an operator writes them. The service knows a key by its SHA-256 alone, which is
 * enough, since a key of ours has far more random bits than anybody can try.
 */
import { createHash, randomBytes } from 'node:crypto';

/** A key that callers may show, known by its digest only. Several keys may bear one name, so that one can follow another. */
export interface ApiKey {
  /** The caller's name. */
  readonly name: string;
  /** 64 hex digits, lower case. */
  readonly sha256: string;
}

const namePattern = /^[A-Za-z0-9_.-]{1,64}$/;
export const keyNameExpected = '1 to 64 letters, digits, "_", "-" and "."';

/** With what `sha256sum` and `shasum` print behind the digest of their input. */
const digestPattern = /^([0-9a-f]{64})(?:\s+\*?-)?$/i;

const digestOfNothing = sha256Of('');

export function isKeyName(name: string): boolean {
  return namePattern.test(name);
}

/** An entry of `LLM_API_KEYS`, `name:sha256`; undefined if it is none. */
export function parseApiKey(entry: string): ApiKey | undefined {
  const { name, digest } = partsOf(entry);
  const sha256 = digestPattern.exec(digest)?.[1]?.toLowerCase();
  return isKeyName(name) && sha256 !== undefined && sha256 !== digestOfNothing ? { name, sha256 } : undefined;
}

/** What is wrong with an entry that is none, without a word of it: it may hold a key. */
export function flawOfApiKey(entry: string): string {
  const { name, digest } = partsOf(entry);
  if (!entry.includes(':')) return 'no "name:" before a digest';
  if (!isKeyName(name)) return `a name that is not ${keyNameExpected}`;
  if (digestPattern.exec(digest)?.[1]?.toLowerCase() === digestOfNothing)
    return 'the digest of nothing, as of an unset $KEY,';
  if (/^[0-9a-f]+$/i.test(digest)) return `a digest of ${digest.length} digits`;
  return 'no digest (perhaps the key itself)';
}

function partsOf(entry: string): { readonly name: string; readonly digest: string } {
  const at = entry.indexOf(':');
  return { name: entry.slice(0, Math.max(at, 0)).trim(), digest: entry.slice(at + 1).trim() };
}

const keyBytes = 32;

/** A new key of 256 random bits, which begins with a word that scanners for secrets can look for. */
export function createKey(): string {
  return `llm_${randomBytes(keyBytes).toString('base64url')}`;
}

/** The entry of `LLM_API_KEYS` by which the service knows the key. */
export function entryOf(name: string, key: string): string {
  return `${name}:${sha256Of(key)}`;
}

function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
