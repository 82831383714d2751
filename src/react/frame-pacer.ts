/**
 * Calls back at most once per frame, and less often if frames take long. So showing a long answer while it grows uses a
 * third of the page's time at most. Where no frame comes, because the page is hidden or the runtime has none, a timer calls back.
 */

/** How long the pacer rests after a frame, as a multiple of the time that the frame took. */
const restFactor = 2;
/** How long it waits for a frame. Browsers draw none for a hidden page, and slow the timers of one down to one in a second. */
const frameMsMax = 250;

interface Frames {
  readonly requestAnimationFrame?: (callback: () => void) => number;
  readonly cancelAnimationFrame?: (handle: number) => void;
}

export class FramePacer {
  readonly #show: () => void;
  #cancel: (() => void) | undefined;
  #restUntilMs = 0;

  constructor(show: () => void) {
    this.#show = show;
  }

  /** Shows at the next frame that is due. More requests before that frame have no effect. */
  request(): void {
    if (this.#cancel) return;
    const restMs = this.#restUntilMs - performance.now();
    if (restMs <= 0) return this.#atNextFrame();
    const timer = setTimeout(() => this.#atNextFrame(), restMs);
    this.#cancel = () => clearTimeout(timer);
  }

  /** Cancels the request. */
  cancel(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #atNextFrame(): void {
    const { requestAnimationFrame, cancelAnimationFrame } = globalThis as Frames;
    const frame = requestAnimationFrame?.(() => this.#showNow());
    const timer = setTimeout(() => this.#showNow(), frame === undefined ? 0 : frameMsMax);
    this.#cancel = () => {
      clearTimeout(timer);
      if (frame !== undefined) cancelAnimationFrame?.(frame);
    };
  }

  #showNow(): void {
    this.cancel();
    const beganMs = performance.now();
    this.#show();
    // This timer runs after the browser has laid out and painted the frame.
    setTimeout(() => {
      const nowMs = performance.now();
      this.#restUntilMs = nowMs + (nowMs - beganMs) * restFactor;
    });
  }
}
