/**
 * The keys that callers may show now. They can be replaced while the service runs; whatever was opened under a key that is no
 * longer among them is closed then. Knows neither where keys are written nor who sends one.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import { sha256Of, type ApiKey } from './api-keys.ts';

/** A key, and what its caller may do. */
export interface CallerKey extends ApiKey, Pick<Caller, 'configs' | 'limits'> {
  /** When it stops to be taken, by `Date.now`; undefined: never. */
  readonly expiresAtMs?: number | undefined;
}

interface Known {
  readonly digest: Buffer;
  readonly caller: Caller;
  readonly expiresAtMs: number;
  readonly open: Open;
}

/** What is open under a key, also while its caller may do other things than before. */
interface Open {
  /** Whether the key is no longer taken. */
  gone: boolean;
  readonly closers: Set<() => void>;
}

export class Keys {
  #known: ReadonlyMap<string, Known> = new Map();
  #digests: ReadonlySet<string> = new Set();
  /** The key of each caller that `find` has returned. */
  readonly #keyOf = new WeakMap<Caller, Known>();
  readonly #fixed: boolean;

  /** @param fixed Whether `replace` is never called, so that nothing has to be remembered that could be closed. */
  constructor(keys: readonly CallerKey[], { fixed }: { readonly fixed: boolean }) {
    this.#fixed = fixed;
    this.replace(keys);
  }

  /** Takes these keys from now on and no others, and closes what was opened under those that are gone. */
  replace(keys: readonly CallerKey[]): void {
    const before = this.#known;
    this.#digests = new Set(keys.map(({ sha256 }) => sha256));
    this.#known = new Map(keys.map((key) => [idOf(key), this.#know(key, before.get(idOf(key)))]));
    for (const [id, { open }] of before) {
      if (this.#known.has(id)) continue;
      open.gone = true;
      for (const close of open.closers) close();
    }
  }

  /** @throws LlmError `unauthorized` for a key that has expired. */
  find(token: string): Caller | undefined {
    const digest = createHash('sha256').update(token).digest();
    let found: Known | undefined;
    // It compares with every key, so that the time it takes doesn't depend on which key matches.
    for (const key of this.#known.values()) if (timingSafeEqual(digest, key.digest)) found = key;
    if (found && found.expiresAtMs <= Date.now()) throw new LlmError('unauthorized', 'This key has expired');
    return found?.caller;
  }

  /** Whether the digest of a token with a line break behind it is known. `echo` writes one, and whoever hashed that meant the token. */
  knowsWithLineBreak(token: string): boolean {
    return ['\n', '\r\n'].some((end) => this.#digests.has(sha256Of(token + end)));
  }

  /**
   * Has `close` called when the key of a caller is gone. Disposing the result prevents that. Undefined where it can't happen: no key
   * is ever replaced, or the caller has shown none.
   *
   * @throws LlmError `unauthorized` if the key is gone already.
   */
  onGone(caller: Caller, close: () => void): Disposable | undefined {
    const key = this.#fixed ? undefined : this.#keyOf.get(caller);
    if (!key) return undefined;
    const { open } = key;
    if (open.gone) throw new LlmError('unauthorized', 'This key is no longer taken');
    open.closers.add(close);
    return { [Symbol.dispose]: () => void open.closers.delete(close) };
  }

  #know({ name, sha256, configs, limits, expiresAtMs = Infinity }: CallerKey, before: Known | undefined): Known {
    const caller = Object.freeze({ name, ...(configs && { configs }), ...(limits && { limits }) });
    const open = before?.open ?? { gone: false, closers: new Set<() => void>() };
    const known = { digest: Buffer.from(sha256, 'hex'), caller, expiresAtMs, open };
    this.#keyOf.set(caller, known);
    return known;
  }
}

/** A key that is given to another caller is another key. */
function idOf({ name, sha256 }: ApiKey): string {
  return `${sha256} ${name}`;
}
