/**
 * Tells when a generation has waited for too long. Knows nothing of what it waits for. One timer serves a whole
 * generation: expecting something anew moves a number, and the timer finds out when it fires.
 */
import { timerMsMax } from '../flow/within.ts';

export type TimeoutName = 'first_byte_ms' | 'idle_ms' | 'total_ms';

/** Runs from construction on; dispose it to stop its timer. */
export class Watchdog implements Disposable {
  /** When the whole generation must have ended, on the clock of `performance.now()`. */
  readonly totalAtMs: number;
  readonly #onTimeout: (name: TimeoutName) => void;
  #expected: Exclude<TimeoutName, 'total_ms'> = 'first_byte_ms';
  #expectedAtMs = Infinity;
  #expired = false;
  #timer: NodeJS.Timeout | undefined;
  #verdict: NodeJS.Immediate | undefined;
  #firesAtMs = Infinity;

  /** Calls `onTimeout` for each expectation that isn't met, and once for the total, after which it is at rest for good. */
  constructor(totalMs: number, onTimeout: (name: TimeoutName) => void) {
    this.totalAtMs = performance.now() + totalMs;
    this.#onTimeout = onTimeout;
    this.#arm(performance.now());
  }

  /** Whether the total is over. */
  get expired(): boolean {
    return this.#expired;
  }

  /** Something is due within `ms`; replaces what was expected before. */
  expect(name: Exclude<TimeoutName, 'total_ms'>, ms: number): void {
    const nowMs = performance.now();
    this.#expected = name;
    this.#expectedAtMs = nowMs + ms;
    this.#arm(nowMs);
  }

  /** Nothing is expected of upstream; the total goes on. */
  rest(): void {
    this.#expectedAtMs = Infinity;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#verdict);
    this.#firesAtMs = -Infinity;
  }

  #arm(nowMs: number): void {
    const dueAtMs = Math.min(this.#expectedAtMs, this.totalAtMs);
    if (dueAtMs >= this.#firesAtMs) return;
    clearTimeout(this.#timer);
    this.#firesAtMs = dueAtMs;
    // Rounded up, since a timer that fires early would find nothing due and fire again at once.
    const delayMs = Math.min(Math.max(0, Math.ceil(dueAtMs - nowMs)), timerMsMax);
    this.#timer = setTimeout(() => this.#fire(), delayMs);
  }

  #fire(): void {
    this.#firesAtMs = Infinity;
    const nowMs = performance.now();
    if (nowMs < Math.min(this.#expectedAtMs, this.totalAtMs)) this.#arm(nowMs);
    // What came while the process was busy is read first: it isn't upstream that was late then.
    else this.#verdict = setImmediate(() => this.#judge());
  }

  #judge(): void {
    const nowMs = performance.now();
    if (nowMs >= this.totalAtMs) {
      this.#expired = true;
      this[Symbol.dispose]();
      this.#onTimeout('total_ms');
      return;
    }
    const missed = nowMs >= this.#expectedAtMs;
    if (missed) this.rest();
    this.#arm(nowMs);
    if (missed) this.#onTimeout(this.#expected);
  }
}
