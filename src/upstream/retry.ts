/**
 * What to try after a failure: the same config again after a wait, its fallback, or nothing. Decides, and does nothing.
 * It is asked only while the generation has no output, for output that has been seen can't be taken back.
 */
import type { Config } from '../configs/configs.ts';
import type { UpstreamFailure } from './failures.ts';

export interface RetryTiming {
  /** The wait before the first retry; doubled for each further one, up to the maximum. */
  readonly firstDelayMs: number;
  readonly delayMaxMs: number;
  /** From 0 up to 1; takes up to a quarter off a wait, so that clients of one outage don't come back all at once. */
  readonly random: () => number;
}

export const defaultRetryTiming: RetryTiming = { firstDelayMs: 500, delayMaxMs: 8_000, random: Math.random };

const jitter = 0.25;

export interface NextAttempt {
  readonly config: Config;
  readonly delayMs: number;
}

export class RetryPlan {
  readonly #timing: RetryTiming;
  readonly #tried: Set<Config>;
  #config: Config;
  #retries = 0;
  /** When the first attempt with this config began; `retries.totalMs` counts from here. */
  #sinceMs: number;

  constructor(config: Config, timing: RetryTiming, nowMs: number) {
    this.#config = config;
    this.#timing = timing;
    this.#tried = new Set([config]);
    this.#sinceMs = nowMs;
  }

  /** The next step, or undefined if the failure stands. `totalAtMs` is when the generation's time is up. */
  after(failure: UpstreamFailure, nowMs: number, totalAtMs: number): NextAttempt | undefined {
    if (failure.final) return undefined;
    const delayMs = this.#retryDelayMs(failure, nowMs, totalAtMs);
    if (delayMs !== undefined) {
      this.#retries += 1;
      return { config: this.#config, delayMs };
    }
    const { fallback } = this.#config;
    // A request that is invalid is as invalid elsewhere; anything else is about the config's upstream or model.
    if (failure.code === 'upstream_invalid_request' || !fallback || this.#tried.has(fallback)) return undefined;
    this.#tried.add(fallback);
    this.#config = fallback;
    this.#retries = 0;
    this.#sinceMs = nowMs;
    return { config: fallback, delayMs: 0 };
  }

  #retryDelayMs(failure: UpstreamFailure, nowMs: number, totalAtMs: number): number | undefined {
    const { max, totalMs } = this.#config.retries;
    if (!failure.retry || this.#retries >= max) return undefined;
    const { firstDelayMs, delayMaxMs, random } = this.#timing;
    const backoffMs = failure.onKeptSocket
      ? 0
      : Math.min(firstDelayMs * 2 ** this.#retries, delayMaxMs) * (1 - jitter * random());
    // What upstream asks for is kept to; where it doesn't fit, a retry could only fail again.
    const delayMs = failure.retryAfterMs || backoffMs;
    return nowMs + delayMs <= Math.min(this.#sinceMs + totalMs, totalAtMs) ? delayMs : undefined;
  }
}
