/**
 * Turns requests to end into an AbortSignal: Ctrl-C, SIGTERM, SIGQUIT, the hang-up of the terminal, and the end of the npm that
 * started the process. The first request asks the command to end, a second signal ends the process. No other file listens to
 * signals, and beside crash.ts none calls `process.exit`.
 */
import { isatty } from 'node:tty';
import { exitCodes } from './exit-codes.ts';
import type { Host } from './host.ts';

const signals = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const;

/** A terminal sends Ctrl-C to all of its processes, and npm forwards its copy. The same signal within this time is such a copy. */
const sameMs = 200;

const parentCheckMs = 250;

export interface InterruptOptions {
  /** Called at each SIGHUP, unless the terminal was closed. Absent: every SIGHUP is a request to end. */
  readonly reload?: () => void;
  /** Called at each SIGUSR2. Absent: SIGUSR2 ends the process, as it does where nothing listens to it. */
  readonly replace?: () => void;
  /** Called before a second signal ends the process. */
  readonly beforeExit?: () => void;
  /** Whether a second signal does nothing, since the process that started this one ends it. Default: false. */
  readonly onlyOnce?: boolean;
}

/** Listens from construction until disposal. */
export class Interrupt implements Disposable {
  readonly #options: InterruptOptions;
  readonly #first = new AbortController();
  readonly #terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));
  readonly #parentCheck: NodeJS.Timeout | undefined;
  #firstName: string | undefined;
  #firstMs = 0;

  constructor({ env }: Pick<Host, 'env'>, options: InterruptOptions = {}) {
    this.#options = options;
    for (const each of signals) process.on(each, this.#onSignal);
    if (options.replace) process.on('SIGUSR2', options.replace);
    if (isStartedByNpm(env)) this.#parentCheck = this.#watchParent();
  }

  /** Aborts at the first request to end. */
  get signal(): AbortSignal {
    return this.#first.signal;
  }

  [Symbol.dispose](): void {
    for (const each of signals) process.off(each, this.#onSignal);
    if (this.#options.replace) process.off('SIGUSR2', this.#options.replace);
    clearInterval(this.#parentCheck);
  }

  readonly #onSignal = (name: NodeJS.Signals): void => {
    const { reload, beforeExit, onlyOnce = false } = this.#options;
    if (name === 'SIGHUP' && reload && !this.#isHungUp()) {
      reload();
    } else if (!this.signal.aborted) {
      this.#firstName = name;
      this.#firstMs = performance.now();
      this.#first.abort();
    } else if (name !== 'SIGHUP' && !onlyOnce && !this.#isSameAsFirst(name)) {
      beforeExit?.();
      process.exit(exitCodes.interrupted);
    }
  };

  #isSameAsFirst(name: string): boolean {
    return name === this.#firstName && performance.now() - this.#firstMs <= sameMs;
  }

  /**
   * Whether a SIGHUP was sent because the terminal was closed. The kernel detaches the terminal before it sends the signal, so
   * its descriptors are no terminals any more. Windows sends the signal for no other reason.
   */
  #isHungUp(): boolean {
    return process.platform === 'win32' || this.#terminals.some((descriptor) => !isatty(descriptor));
  }

  /**
   * Checks four times a second whether the parent has died, and aborts then. POSIX systems give an orphan another parent at
   * once. Windows does not, so there the death of the parent is not noticed.
   */
  #watchParent(): NodeJS.Timeout {
    const parent = process.ppid;
    return setInterval(() => {
      if (process.ppid !== parent) this.#first.abort();
    }, parentCheckMs).unref();
  }
}

/**
 * Whether npm or npx runs this program as its script. They die of most signals without forwarding them, and forward SIGINT and
 * SIGTERM only to the script's shell, which dies of them in the same way. The program would then run on, and nobody would end
 * it. A script that starts this program in the background and ends itself has another name.
 */
function isStartedByNpm(env: Host['env']): boolean {
  return /\b(llm-service|cli\.[jt]s)\b/.test(env['npm_lifecycle_script'] ?? '');
}

/** Settles when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
