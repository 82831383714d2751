/**
 * Decides what is tried after a failure: the same config again after a wait, its fallback, or nothing. It only decides;
 * Attempts acts. It is asked only while the present message has no output, since output that viewers have seen can't be
 * taken back.
 */
import type { Config } from '../configs/configs.ts';
import type { UpstreamFailure } from './failures.ts';

export interface RetryTiming {
  /** The wait before the first retry. Each further retry doubles it, up to `delayMaxMs`. */
  readonly firstDelayMs: number;
  readonly delayMaxMs: number;
  /**
   * Returns a number from 0 up to 1, by which a wait is shortened by up to a quarter. Otherwise all generations that
   * failed in one outage would retry at the same moment.
   */
  readonly random: () => number;
}

export const defaultRetryTiming: RetryTiming = { firstDelayMs: 500, delayMaxMs: 8_000, random: Math.random };

const jitter = 0.25;

/** The attempt to be made next. */
export interface NextAttempt {
  readonly config: Config;
  readonly delayMs: number;
}

export class RetryPlan {
  readonly #timing: RetryTiming;
  readonly #mayFallBack: boolean;
  readonly #tried: Set<Config>;
  #config: Config;
  #retries = 0;
  /** When the first attempt with this config began. `retries.totalMs` is counted from here. */
  #sinceMs: number;

  /** @param mayFallBack False from the second message on: the config that wrote the first one writes all. */
  constructor(config: Config, timing: RetryTiming, nowMs: number, mayFallBack = true) {
    this.#mayFallBack = mayFallBack;
    this.#config = config;
    this.#timing = timing;
    this.#tried = new Set([config]);
    this.#sinceMs = nowMs;
  }

  /** Returns the next attempt, or undefined where there is none. `totalAtMs` is when the generation's time is up. */
  after(failure: UpstreamFailure, nowMs: number, totalAtMs: number): NextAttempt | undefined {
    if (failure.final) return undefined;
    const delayMs = this.#retryDelayMs(failure, nowMs, totalAtMs);
    if (delayMs !== undefined) {
      this.#retries += 1;
      return { config: this.#config, delayMs };
    }
    const fallback = this.#mayFallBack ? this.#config.fallback : undefined;
    // A request that one upstream refuses as invalid, the fallback's upstream would refuse too. Every other failure
    // concerns only this config's upstream or model.
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
    // Where upstream asks for a longer wait than the time allows, there is no retry: an earlier one would only fail
    // again.
    const delayMs = failure.retryAfterMs || backoffMs;
    return nowMs + delayMs <= Math.min(this.#sinceMs + totalMs, totalAtMs) ? delayMs : undefined;
  }
}
