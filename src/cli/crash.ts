/**
 * Notices an error that nobody has caught. What the process holds can't be relied on afterwards, so whoever listens here ends it, in a
 * bounded time. Without that, Node would end it at once, and each running answer would break off without its terminal event.
 */
import { exitCodes } from './exit-codes.ts';

/** How long the process has to end by itself. */
const graceMs = 10_000;

/** Listens from construction until disposal. */
export class Crash implements Disposable {
  /** Settles with the first such error. Never rejects. */
  readonly error: Promise<unknown>;
  #happened = false;
  #report!: (error: unknown) => void;

  constructor() {
    this.error = new Promise((resolve) => (this.#report = resolve));
    // A promise whose rejection nobody handles comes in here too.
    process.on('uncaughtException', this.#onError);
  }

  get happened(): boolean {
    return this.#happened;
  }

  /** Errors that follow from the first one are no news, and are left to the process that is ending. */
  [Symbol.dispose](): void {
    if (!this.#happened) process.off('uncaughtException', this.#onError);
  }

  readonly #onError = (error: unknown): void => {
    if (this.#happened) return;
    this.#happened = true;
    setTimeout(() => process.exit(exitCodes.failure), graceMs).unref();
    this.#report(error);
  };
}
