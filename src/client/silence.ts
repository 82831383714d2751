/**
 * Notices when a connection is silent for too long without being closed. A sign of life only reads the clock; one timer
 * compares. It uses the wall clock, since the other clocks of browsers stop while a laptop sleeps.
 */

export interface SilenceOptions {
  /** Called once, when nothing was heard for the whole time. */
  readonly onSilent: (silenceMs: number) => void;
  /**
   * Called when half of the time has passed in silence: asks the other side for a sign of life. Absent where it can't
   * be asked.
   */
  readonly ask?: () => void;
}

/**
 * How long to wait between noticing silence and acting on it. In a process that was busy or frozen, timers fire before
 * the bytes that arrived meanwhile are read.
 */
const secondLookMs = 50;

export class Silence {
  readonly #options: SilenceOptions;
  #heardAtMs = 0;
  /** The value of `#heardAtMs` when the other side was last asked, so that it is asked once for each silence. */
  #askedAfterMs: number | undefined;
  #limitMs: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: SilenceOptions) {
    this.#options = options;
  }

  /** Begins to watch, or changes the limit. Counts as a sign of life. */
  watch(limitMs: number): void {
    this.#limitMs = limitMs;
    this.heard();
    this.#wait();
  }

  /** To be called for each sign of life. */
  heard(): void {
    this.#heardAtMs = Date.now();
  }

  /** Checks at once, for instance after a sleep during which no timer ran. */
  look(): void {
    if (this.#limitMs !== undefined && this.#silentMs() >= this.#limitMs) this.#lookAgain();
  }

  /** Stops watching. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#limitMs = undefined;
  }

  #wait(): void {
    if (this.#limitMs === undefined) return;
    const silentMs = this.#silentMs();
    const half = this.#limitMs / 2;
    const next = silentMs < half ? half : this.#limitMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, next - silentMs));
  }

  #tick(): void {
    const limitMs = this.#limitMs;
    if (limitMs === undefined) return;
    const silentMs = this.#silentMs();
    if (silentMs >= limitMs) return this.#lookAgain();
    if (silentMs >= limitMs / 2 && this.#askedAfterMs !== this.#heardAtMs) {
      this.#askedAfterMs = this.#heardAtMs;
      this.#options.ask?.();
    }
    this.#wait();
  }

  #lookAgain(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#judge(), secondLookMs);
  }

  #judge(): void {
    const limitMs = this.#limitMs;
    if (limitMs === undefined) return;
    if (this.#silentMs() < limitMs) return this.#wait();
    this.stop();
    this.#options.onSilent(limitMs);
  }

  /** Where the clock was set back, the silence counts from now. */
  #silentMs(): number {
    const silentMs = Date.now() - this.#heardAtMs;
    if (silentMs < 0) this.heard();
    return Math.max(0, silentMs);
  }
}
