/**
 * Ctrl-C, and SIGTERM as well: the first asks a command to end, the second ends the process. The one place that calls
 * `process.exit`.
 */
import { exitCodes } from './exit-codes.ts';

/** Ctrl-C goes to all processes of a terminal, and npm hands on its own: what comes this soon is the same one. */
const sameMs = 200;

const signals = ['SIGINT', 'SIGTERM'] as const;

/** Listens from its making until it is disposed. */
export class Interrupt implements Disposable {
  readonly #first = new AbortController();
  #firstMs = 0;

  constructor() {
    for (const each of signals) process.on(each, this.#onSignal);
  }

  /** Aborts at the first one; the reason is its name. */
  get signal(): AbortSignal {
    return this.#first.signal;
  }

  [Symbol.dispose](): void {
    for (const each of signals) process.off(each, this.#onSignal);
  }

  readonly #onSignal = (name: NodeJS.Signals): void => {
    if (!this.signal.aborted) {
      this.#firstMs = performance.now();
      this.#first.abort(name);
    } else if (performance.now() - this.#firstMs > sameMs) {
      process.exit(exitCodes.interrupted);
    }
  };
}

/** Settles when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
