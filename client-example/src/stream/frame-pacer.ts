/**
 * Calls back once a frame at most, and less often the longer its frames take: showing a long answer grow may use a third
 * of the page's time, and the reader has the rest.
 */

/** How much of the time goes by idle, as a multiple of what a frame took. */
const restFactor = 2;

export class FramePacer {
  readonly #show: () => void;
  #scheduled: { readonly cancel: () => void } | undefined;
  #restUntilMs = 0;

  constructor(show: () => void) {
    this.#show = show;
  }

  /** Shows at the next frame that is due; once, however often it is asked for before. */
  request(): void {
    if (this.#scheduled) return;
    const restMs = this.#restUntilMs - performance.now();
    if (restMs > 0) {
      const timer = setTimeout(() => this.#atNextFrame(), restMs);
      this.#scheduled = { cancel: () => clearTimeout(timer) };
    } else this.#atNextFrame();
  }

  /** Forgets what was requested. */
  cancel(): void {
    this.#scheduled?.cancel();
    this.#scheduled = undefined;
  }

  #atNextFrame(): void {
    const frame = requestAnimationFrame((beganMs) => {
      this.#scheduled = undefined;
      // A timer runs after the frame has been laid out and painted.
      setTimeout(() => {
        const nowMs = performance.now();
        this.#restUntilMs = nowMs + (nowMs - beganMs) * restFactor;
      });
      this.#show();
    });
    this.#scheduled = { cancel: () => cancelAnimationFrame(frame) };
  }
}
