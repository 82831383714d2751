/**
 * Notices when a generation has waited too long. Knows nothing of what it waits for. One timer serves a whole
 * generation. Each sign of life only reads the clock and moves a deadline. When the timer fires, it compares the clock
 * with the deadline, and is set again if the deadline has moved.
 */
import { timerMsMax } from '../flow/within.ts';

export type TimeoutName = 'first_byte_ms' | 'idle_ms' | 'total_ms';

/** It runs from its construction. Dispose it to stop its timer. */
export class Watchdog implements Disposable {
  /** When the time of the whole generation is up, rests not counted, on the clock of `performance.now()`. */
  totalAtMs: number;
  readonly #onTimeout: (name: TimeoutName) => void;
  #expected: Exclude<TimeoutName, 'total_ms'> = 'first_byte_ms';
  #expectedAtMs = Infinity;
  #expired = false;
  #restingSinceMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #verdict: NodeJS.Immediate | undefined;
  #firesAtMs = Infinity;

  /**
   * Calls `onTimeout` for each deadline that is missed, and for the total at most once. After the total it calls it no
   * more.
   */
  constructor(totalMs: number, onTimeout: (name: TimeoutName) => void) {
    this.totalAtMs = performance.now() + totalMs;
    this.#onTimeout = onTimeout;
    this.#arm(performance.now());
  }

  /** Whether the generation's time is up. */
  get expired(): boolean {
    return this.#expired;
  }

  /** Sets the deadline: something must happen within `ms`. Replaces the deadline that was set before. */
  expect(name: Exclude<TimeoutName, 'total_ms'>, ms: number): void {
    const nowMs = performance.now();
    this.#expected = name;
    this.#expectedAtMs = nowMs + ms;
    this.#arm(nowMs);
  }

  /** Removes the deadline. The total stays. */
  expectNothing(): void {
    this.#expectedAtMs = Infinity;
  }

  /** The time of the generation stands still until `resume`: it waits for a client, and not for upstream. */
  pause(): void {
    if (this.#expired || this.#restingSinceMs !== undefined) return;
    this[Symbol.dispose]();
    this.#restingSinceMs = performance.now();
  }

  /** The time goes on after `pause`. */
  resume(): void {
    if (this.#restingSinceMs === undefined) return;
    const nowMs = performance.now();
    this.totalAtMs += nowMs - this.#restingSinceMs;
    this.#restingSinceMs = undefined;
    this.#firesAtMs = Infinity;
    this.#arm(nowMs);
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
    // Rounded up, since a timer that fires before the deadline would be set again for a fraction of a millisecond.
    const delayMs = Math.min(Math.max(0, Math.ceil(dueAtMs - nowMs)), timerMsMax);
    this.#timer = setTimeout(() => this.#fire(), delayMs);
  }

  #fire(): void {
    this.#firesAtMs = Infinity;
    const nowMs = performance.now();
    if (nowMs < Math.min(this.#expectedAtMs, this.totalAtMs)) this.#arm(nowMs);
    // The process may have been busy, and upstream's bytes may have arrived meanwhile. Node reads them before
    // `setImmediate` runs.
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
    if (missed) this.expectNothing();
    this.#arm(nowMs);
    if (missed) this.#onTimeout(this.#expected);
  }
}
