/** Which generations a caller has, and each thread of the caller's, newest first: sorted sets of their ids by start, for lists only. */
import type { GenerationRecord } from '../stream-log.ts';
import type { Connection } from './connection.ts';
import { callerIndex } from './keys.ts';
import { LISTED, PRUNE } from './scripts/listed.ts';
import type { RedisLogLimits } from './shard.ts';

/** Generations of a caller that can be listed, and of a thread. */
const listedMax = 1_000;
/** The index outlasts a caller's last start by this and the retention: a generation that runs longer isn't listed any more. */
const expiryMs = 24 * 60 * 60_000;
/** An id that was started less than this ago may be listed before it has a log. */
const startingMs = 60_000;

export class CallerIndex {
  readonly #connection: Connection;
  readonly #prefix: string;
  readonly #expiryMs: string;
  /** The last start of this instance, in milliseconds since 1970. Two of one millisecond differ by a part of it, and keep their order. */
  #lastStart = 0;

  constructor(connection: Connection, prefix: string, { logRetentionMs }: RedisLogLimits) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#expiryMs = String(logRetentionMs + expiryMs);
  }

  async add({ caller, generationId, startedAt, thread }: GenerationRecord): Promise<void> {
    this.#lastStart = Math.max(Date.parse(startedAt), this.#lastStart + 0.001);
    const args = [this.#lastStart.toFixed(3), generationId, String(listedMax), this.#expiryMs];
    const keys = [callerIndex(this.#prefix, caller)];
    if (thread !== undefined) keys.push(callerIndex(this.#prefix, caller, thread));
    await this.#connection.run(LISTED, keys, args);
  }

  async newest(caller: string, thread?: string): Promise<readonly string[]> {
    const key = callerIndex(this.#prefix, caller, thread);
    return (await this.#connection.command(key, 'ZREVRANGE', key, '0', String(listedMax - 1))) as readonly string[];
  }

  /** Takes ids off that have no log, unless they may just be getting one. Never rejects. */
  async prune(caller: string, thread: string | undefined, ids: readonly string[]): Promise<void> {
    const before = String(Date.now() - startingMs);
    const key = callerIndex(this.#prefix, caller, thread);
    // The next list tries again.
    await this.#connection.run(PRUNE, [key], [before, ...ids]).catch(() => undefined);
  }
}
