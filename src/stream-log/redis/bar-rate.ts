/** Bounds how many ids a caller has barred at once: each is a key in Redis until it expires. */
import { RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';
import { LlmError } from '../../errors.ts';
import type { CallerCounts } from './caller-counts.ts';
import type { RedisLogLimits } from './shard.ts';

export class BarRate {
  readonly #limiter: RateLimiterRedis;

  constructor(counts: CallerCounts, { barsPerCallerMax }: RedisLogLimits) {
    // The duration is given at each call.
    const rate = { points: barsPerCallerMax, duration: 0, keyPrefix: 'bars' };
    this.#limiter = new RateLimiterRedis({ ...rate, storeClient: counts, useRedisPackage: true });
  }

  /**
   * Counts an id that was just barred. The count begins anew when the time of a bar is over, so there may be twice as many for a moment.
   *
   * @param undo Lifts the bar. Called where the caller has too many.
   * @throws LlmError `rate_limited`
   */
  async count(caller: string, durationMs: number, undo: () => Promise<unknown>): Promise<void> {
    try {
      await this.#limiter.consume(caller, 1, { customDuration: Math.ceil(durationMs / 1_000) });
    } catch (refused) {
      // Redis may be out of reach for the count. Then the bar stands.
      if (!(refused instanceof RateLimiterRes)) return;
      await undo().catch(() => undefined);
      throw new LlmError(
        'rate_limited',
        `At most ${this.#limiter.points} cancels of generations that aren’t there at once`,
        { retryAfterMs: refused.msBeforeNext },
      );
    }
  }
}
