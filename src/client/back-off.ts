/**
 * Counts the failed attempts of one operation, and decides whether and when there is another attempt. It only
 * computes the delay; its caller waits.
 */
import type { LlmClientError } from './error.ts';
import type { ReconnectLimits } from './reconnect-link.ts';
import { isOffline } from './returns.ts';

/** The client waits at most this long, even if the service asks for more. */
const retryAfterMsMax = 60_000;

/** The wait before the next attempt. */
export interface Wait {
  readonly delayMs: number;
  /**
   * Whether the service asked for the wait. Otherwise it may be cut short, for instance when the browser is online
   * again.
   */
  readonly asked: boolean;
  readonly offline: boolean;
}

export class BackOff {
  readonly #limits: ReconnectLimits;
  #failures = 0;
  /** The failures that count against `attemptsMax`: those at which the browser was not offline. */
  #counted = 0;

  constructor(limits: ReconnectLimits) {
    this.#limits = limits;
  }

  /** Failures in a row, since the last `reset`. */
  get failures(): number {
    return this.#failures;
  }

  /** An event has arrived, or the browser is back: the next failure is the first one again. */
  reset(): void {
    this.#failures = 0;
    this.#counted = 0;
  }

  /**
   * Counts a failure. Returns the wait before the next attempt, or undefined where no other attempt is made.
   *
   * @param begun Whether the operation has seen an event. Then it also waits out a refusal that is retryable; before
   *   that, whether to try a refused request again is the app's decision.
   */
  after(error: LlmClientError, begun: boolean): Wait | undefined {
    const { attemptsMax, delayMs, delayMsMax } = this.#limits;
    const offline = isOffline();
    this.#failures += 1;
    if (!offline) this.#counted += 1;
    const worthIt = error.retryable && (begun || error.code === 'unreachable' || error.code === 'unauthorized');
    if (!worthIt || !(offline || this.#counted < attemptsMax)) return undefined;
    const ownMs = Math.min(delayMsMax, delayMs * 2 ** (this.#failures - 1)) * (1 - Math.random() / 2);
    const askedMs = Math.min(error.retryAfterMs ?? 0, retryAfterMsMax);
    return { delayMs: Math.max(ownMs, askedMs), asked: askedMs > 0, offline };
  }
}
