/** One worker of `serve --workers`, as the process that started it sees it. */
import cluster, { type Worker } from 'node:cluster';
import type { Readable } from 'node:stream';
import type { Output } from '../host.ts';
import { within } from '../../flow/within.ts';
import { numberVariable, type FromWorker, type ToWorker } from './member.ts';

/** How a process ended: by which exit code, or else by which signal. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How long a worker has to say what it has counted. */
const reportMs = 2_000;

export class WorkerProcess {
  readonly startedAtMs = performance.now();
  /** Settles with its address once it listens, or with undefined where it ends before. Never rejects. */
  readonly listening: Promise<string | undefined>;
  /** Settles when it has ended and all that it wrote is written. Never rejects. */
  readonly ended: Promise<Ending>;
  readonly #worker: Worker;
  readonly #reports = new Map<number, (counted: unknown) => void>();
  #listens = false;

  /**
   * Starts it.
   *
   * @param number Which of the workers it is.
   * @param port On which port it is to listen.
   * @param output Where its log lines go. Whole lines are written, so that those of several workers don't mix.
   */
  constructor(number: number, port: number, output: Output) {
    const worker = cluster.fork({ PORT: port, [numberVariable]: number });
    this.#worker = worker;
    // A message to a worker that has just died can't be sent.
    worker.on('error', () => {});
    const { stdout } = worker.process;
    const written = stdout ? copyLines(stdout, output) : Promise.resolve();
    const exited = new Promise<Ending>((resolve) => {
      worker.process.once('exit', (code, signal) => resolve({ code, signal }));
      // It can't be started: too many processes, for one. Other errors are of messages that it doesn't get.
      worker.process.on('error', () => worker.process.pid === undefined && resolve({ code: 1, signal: null }));
    });
    this.ended = Promise.all([exited, written]).then(([ending]) => ending);
    this.listening = Promise.race([
      new Promise<string>((resolve) => {
        worker.on('message', (message: FromWorker) => {
          if ('scrape' in message) this.onScrape(message.scrape);
          else if ('report' in message) this.#reports.get(message.report)?.(message.counted);
          else {
            this.#listens = true;
            resolve(message.listening);
          }
        });
      }),
      exited.then(() => undefined),
    ]);
  }

  get pid(): number | undefined {
    return this.#worker.process.pid;
  }

  /**
   * Has it take no more connections, and end in its own time. Node's `disconnect` would do the first too, but close the connections that
   * are just waiting for a request.
   */
  dismiss(): void {
    this.#send({ dismissed: true });
  }

  /** Called when it wants to know what all workers have counted. Does nothing at first. */
  onScrape: (scrape: number) => void = () => {};

  /** Sends it what all have counted. */
  scraped(scrape: number, reports: readonly unknown[]): void {
    this.#send({ scraped: scrape, reports });
  }

  /** What it has counted; undefined where it doesn't listen yet, or doesn't say. Never rejects. */
  async counted(scrape: number): Promise<unknown> {
    if (!this.#listens || !this.#worker.isConnected()) return undefined;
    const counted = new Promise<unknown>((resolve) => this.#reports.set(scrape, resolve));
    this.#send({ report: scrape });
    try {
      return await within(reportMs, counted);
    } finally {
      this.#reports.delete(scrape);
    }
  }

  #send(message: ToWorker): void {
    if (this.#worker.isConnected()) this.#worker.send(message);
  }

  /** Sends it a signal. Does nothing where it has ended. */
  signal(name: NodeJS.Signals): void {
    this.#worker.process.kill(name);
  }
}

/** Settles when the source has ended. Reads no faster than the output takes. */
async function copyLines(source: Readable, output: Output): Promise<void> {
  let unfinished = '';
  try {
    for await (const text of source.setEncoding('utf8') as AsyncIterable<string>) {
      const end = text.lastIndexOf('\n') + 1;
      if (end === 0) {
        unfinished += text;
        continue;
      }
      await output.write(unfinished + text.slice(0, end));
      unfinished = text.slice(end);
    }
  } catch {
    // It was killed in mid-line.
  }
  if (unfinished !== '') await output.write(`${unfinished}\n`);
}
