/**
 * What asks a process to end: Ctrl-C, SIGTERM, SIGQUIT, the hang-up of its terminal, and the end of the npm that started
 * it. The first asks a command to end, a second signal ends the process. The one place that calls `process.exit`.
 */
import { isatty } from 'node:tty';
import { exitCodes } from './exit-codes.ts';
import type { Host } from './host.ts';

const signals = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const;

/** A terminal sends Ctrl-C to all its processes, and npm forwards its own: the same signal this soon is the same one. */
const sameMs = 200;

const parentCheckMs = 250;

export interface InterruptOptions {
  /** Runs at each SIGHUP while the terminal, if there is one, still stands. Absent: SIGHUP asks for the end. */
  readonly reload?: () => void;
}

/** Listens from its making until it is disposed. */
export class Interrupt implements Disposable {
  readonly #reload: (() => void) | undefined;
  readonly #first = new AbortController();
  readonly #terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));
  readonly #parentCheck: NodeJS.Timeout | undefined;
  #firstName: string | undefined;
  #firstMs = 0;

  constructor({ env }: Pick<Host, 'env'>, { reload }: InterruptOptions = {}) {
    this.#reload = reload;
    for (const each of signals) process.on(each, this.#onSignal);
    if (isStartedByNpm(env)) this.#parentCheck = this.#watchParent();
  }

  /** Aborts at the first request to end. */
  get signal(): AbortSignal {
    return this.#first.signal;
  }

  [Symbol.dispose](): void {
    for (const each of signals) process.off(each, this.#onSignal);
    clearInterval(this.#parentCheck);
  }

  readonly #onSignal = (name: NodeJS.Signals): void => {
    if (name === 'SIGHUP' && this.#reload && !this.#isHungUp()) {
      this.#reload();
    } else if (!this.signal.aborted) {
      this.#firstName = name;
      this.#firstMs = performance.now();
      this.#first.abort();
    } else if (name !== 'SIGHUP' && !this.#isSameAsFirst(name)) {
      process.exit(exitCodes.interrupted);
    }
  };

  #isSameAsFirst(name: string): boolean {
    return name === this.#firstName && performance.now() - this.#firstMs <= sameMs;
  }

  /**
   * Whether a SIGHUP says that the terminal was closed. The kernel cuts the terminal off before it sends the signal, so
   * that it is none any more by then. Windows has no other reason for this signal.
   */
  #isHungUp(): boolean {
    return process.platform === 'win32' || this.#terminals.some((descriptor) => !isatty(descriptor));
  }

  /** A process whose parent has died gets another one, at once and of the system's choosing. */
  #watchParent(): NodeJS.Timeout {
    const parent = process.ppid;
    return setInterval(() => {
      if (process.ppid !== parent) this.#first.abort();
    }, parentCheckMs).unref();
  }
}

/**
 * Whether npm or npx runs this very program as its script. They die of most signals without a word to the script, and
 * forward SIGINT and SIGTERM to its shell, which does likewise: the program would run on with nobody to end it. A script
 * that starts this program and goes away, to leave it in the background, bears another name.
 */
function isStartedByNpm(env: Host['env']): boolean {
  return /\b(llm-service|cli\.[jt]s)\b/.test(env['npm_lifecycle_script'] ?? '');
}

/** Settles when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
