/**
 * Notices that a connection has gone silent without having been closed. A sign of life costs one look at the clock; one
 * timer compares. It takes wall-clock time, since the other clocks of browsers stand still while a laptop sleeps.
 */

export interface SilenceOptions {
  /** Called once, where nothing was heard for the whole time. */
  readonly onSilent: (silenceMs: number) => void;
  /** Called when half of the time has passed, where the other side can be asked for a sign of life. */
  readonly ask?: () => void;
}

/**
 * How long to wait before silence is believed. A process that was busy or frozen finds its timers due before it has
 * read what arrived meanwhile.
 */
const secondLookMs = 50;

export class Silence {
  readonly #options: SilenceOptions;
  #heardAtMs = 0;
  /** After which sign of life the other side was asked last: once for each silence. */
  #askedAfterMs: number | undefined;
  #limitMs: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: SilenceOptions) {
    this.#options = options;
  }

  /** Begins to watch, or goes on with another limit. */
  watch(limitMs: number): void {
    this.#limitMs = limitMs;
    this.heard();
    this.#wait();
  }

  heard(): void {
    this.#heardAtMs = Date.now();
  }

  /** Looks at once, as after a sleep that no timer has noticed. */
  look(): void {
    if (this.#limitMs !== undefined && this.#silentMs() >= this.#limitMs) this.#lookAgain();
  }

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

  /** A clock that was put back counts as a sign of life. */
  #silentMs(): number {
    const silentMs = Date.now() - this.#heardAtMs;
    if (silentMs < 0) this.heard();
    return Math.max(0, silentMs);
  }
}
