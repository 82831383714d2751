/**
 * Calls back at most once per frame, and less often if frames take long. So showing a long answer while it grows uses a
 * third of the page's time at most.
 */

/** How long the pacer rests after a frame, as a multiple of the time that the frame took. */
const restFactor = 2;

export class FramePacer {
  readonly #show: () => void;
  #scheduled: { readonly cancel: () => void } | undefined;
  #restUntilMs = 0;

  constructor(show: () => void) {
    this.#show = show;
  }

  /** Shows at the next frame that is due. More requests before that frame have no effect. */
  request(): void {
    if (this.#scheduled) return;
    const restMs = this.#restUntilMs - performance.now();
    if (restMs > 0) {
      const timer = setTimeout(() => this.#atNextFrame(), restMs);
      this.#scheduled = { cancel: () => clearTimeout(timer) };
    } else this.#atNextFrame();
  }

  /** Cancels the request. */
  cancel(): void {
    this.#scheduled?.cancel();
    this.#scheduled = undefined;
  }

  #atNextFrame(): void {
    const frame = requestAnimationFrame((beganMs) => {
      this.#scheduled = undefined;
      // This timer runs after the browser has laid out and painted the frame.
      setTimeout(() => {
        const nowMs = performance.now();
        this.#restUntilMs = nowMs + (nowMs - beganMs) * restFactor;
      });
      this.#show();
    });
    this.#scheduled = { cancel: () => cancelAnimationFrame(frame) };
  }
}
