/**
 * The public keys of an issuer of tokens: from a file, or from a URL, whose set is kept and read again. How large a set may be, how
 * long a read may take, how often one is made and how long a set counts are bounded. Knows nothing of tokens.
 */
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import { LlmError } from '../errors.ts';
import { ProblemsError } from '../settings/problems.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';

export interface KeySet {
  /** Changes whenever other keys have been read, after which tokens that were verified before are verified again. */
  readonly version: number;
  /** Finds the key that a token names. Rejects as jose does; with LlmError `at_capacity` where the keys can't be read now. */
  readonly find: JWTVerifyGetKey;
}

const keysMax = 100;
const setRule = z.object({
  keys: z.array(z.looseObject({ kty: z.string() })).max(keysMax),
});
const setExpected = `expected a JSON Web Key Set, {"keys": […]}, with at most ${keysMax} public keys`;

/** @throws ProblemsError. It quotes nothing, since a private key may be in the text. */
function parseKeySet(text: string): JSONWebKeySet {
  let written: unknown;
  try {
    written = JSON.parse(text);
  } catch {
    // It is no set either.
  }
  const set = setRule.safeParse(written);
  if (!set.success) throw new ProblemsError('', [{ path: '', message: setExpected }]);
  // RFC 7518, section 6: `d` is the private part of a key of any kind, `k` a secret that both sides share.
  if (set.data.keys.some((key) => 'd' in key || 'k' in key)) {
    throw new ProblemsError('', [{ path: 'keys', message: `${setExpected}, found a private key or a secret` }]);
  }
  return set.data;
}

/** The keys that were last given to it. */
export class GivenKeySet implements KeySet {
  version = 0;
  #find: JWTVerifyGetKey = createLocalJWKSet({ keys: [] });

  /** @throws ProblemsError; the keys from before stay then. */
  take(text: string): void {
    this.#find = createLocalJWKSet(parseKeySet(text));
    this.version += 1;
  }

  readonly find: JWTVerifyGetKey = (header, token) => this.#find(header, token);
}

const bytesMax = 256 * 1_024;
/** How long a read may take, body included. */
const readMs = 5_000;
/** After this time the set is read again, when a token is verified next. Tokens don't wait for that. */
const freshMs = 10 * 60_000;
/** How long a set counts that can't be read again. */
const countsMs = 60 * 60_000;
/** Reads in a window. A token that names an unknown key asks for one, and anybody can write such a token. */
const readsMax = 6;
const windowMs = 60_000;

export interface RemoteKeySetOptions {
  readonly url: string;
  readonly telemetry: Pick<Telemetry, 'keySetUnread'>;
  /** The clock, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
}

/** The keys that a URL has. */
export class RemoteKeySet implements KeySet {
  readonly #given = new GivenKeySet();
  readonly #options: RemoteKeySetOptions;
  readonly #now: () => number;
  readonly #closed = new AbortController();
  #text = '';
  #readAtMs = -Infinity;
  #windowAtMs = -Infinity;
  #reads = 0;
  #reading: Promise<boolean> | undefined;

  constructor(options: RemoteKeySetOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  get version(): number {
    return this.#given.version;
  }

  readonly find: JWTVerifyGetKey = async (header, token) => {
    const ageMs = this.#now() - this.#readAtMs;
    if (ageMs > countsMs) {
      if (!(await this.read())) throw this.#unread();
    } else if (ageMs > freshMs) {
      void this.read();
    }
    const { version } = this;
    try {
      return await this.#given.find(header, token);
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ERR_JWKS_NO_MATCHING_KEY') throw error;
      // The issuer may have made a new key since the last read.
      if (!(await this.read()) || this.version === version) throw error;
      return this.#given.find(header, token);
    }
  };

  /** Reads the set, unless that was done too often of late. All callers share one read. Returns whether it was read. Never rejects. */
  read(): Promise<boolean> {
    this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  /** Stops a read that is under way. */
  [Symbol.dispose](): void {
    this.#closed.abort();
  }

  async #read(): Promise<boolean> {
    const now = this.#now();
    if (now - this.#windowAtMs >= windowMs) {
      this.#windowAtMs = now;
      this.#reads = 0;
    }
    if (this.#reads >= readsMax) return false;
    this.#reads += 1;
    // Not `AbortSignal.any` with `AbortSignal.timeout`: Node may collect that timeout as garbage, and all tokens would wait for ever.
    const giveUp = new AbortController();
    const stop = () => giveUp.abort();
    const late = setTimeout(stop, readMs);
    this.#closed.signal.addEventListener('abort', stop);
    if (this.#closed.signal.aborted) stop();
    try {
      const text = await textAt(this.#options.url, giveUp.signal);
      if (text !== this.#text) this.#given.take(text);
      this.#text = text;
      this.#readAtMs = this.#now();
      return true;
    } catch (error) {
      if (!this.#closed.signal.aborted) this.#options.telemetry.keySetUnread(error);
      return false;
    } finally {
      clearTimeout(late);
      this.#closed.signal.removeEventListener('abort', stop);
    }
  }

  #unread(): LlmError {
    const retryAfterMs = this.#reads < readsMax ? 1_000 : Math.ceil(this.#windowAtMs + windowMs - this.#now());
    return new LlmError('at_capacity', 'The keys that prove tokens can’t be read now; try again shortly', {
      retryAfterMs: Math.max(retryAfterMs, 1),
    });
  }
}

/** @throws Error whose message holds neither the URL nor the text. */
async function textAt(url: string, signal: AbortSignal): Promise<string> {
  // A redirect could lead to a place that the operator doesn't know.
  const response = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } });
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new Error(`more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  if (response.status !== 200) throw Object.assign(new Error('not answered with 200'), { status: response.status });
  return Buffer.concat(chunks).toString();
}
