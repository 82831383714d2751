/**
 * `serve --workers`: several processes that serve one port over one Redis, so that one machine's cores are used. This process serves
 * nothing itself. It deals connections to its workers, starts another for one that dies, replaces them one after the other, passes
 * signals on, writes their log lines, and collects what they have counted.
 */
import cluster from 'node:cluster';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { readSettings } from '../../settings/settings.ts';
import { UsageError, type ExitCode } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { aborted, Interrupt } from '../interrupt.ts';
import { listening } from '../listen.ts';
import { noteDrain, noteSimulator } from '../serve.ts';
import { WorkerProcess, type Ending } from './worker-process.ts';

/** The wait before another worker takes the place of one that died. It doubles with each that dies young. */
const restartMs = 100;
const restartMsMax = 10_000;
/** A worker that lived for so long did not die of its start. */
const steadyMs = 10_000;

/** Settles once the workers were asked to end and have drained. */
export async function serveByWorkers(host: Host, wanted: number | 'auto'): Promise<void> {
  const settings = readSettings(host.env);
  if (settings.redisUrl === undefined) {
    throw new UsageError(
      '--workers needs REDIS_URL: without it each worker would keep its stream logs to itself, and a client that comes back would miss its answer at the others',
    );
  }
  // All workers listen on one port, also on a free one, and also those that are started later.
  const port = settings.port || (await listening(freePort(settings.host), { ...settings, portPrefix: 'PORT=' }));
  const workers = new Workers(host, wanted === 'auto' ? availableParallelism() : wanted, port);
  using interrupt = new Interrupt(host, {
    reload: () => workers.signal('SIGHUP'),
    replace: () => void workers.replace(),
    beforeExit: () => workers.signal('SIGKILL'),
  });
  const stopped = aborted(interrupt.signal).then(() => workers.stop());
  const url = await workers.start();
  if (url !== undefined) {
    host.note(`llm-service listens on ${url} with ${workers.count} ${workers.count === 1 ? 'worker' : 'workers'}`);
    noteSimulator(host, settings);
    await aborted(interrupt.signal);
    noteDrain(host);
  }
  if (interrupt.signal.aborted) await stopped;
}

/** A port that nobody listens on. Another program may take it before a worker does: then the start fails, and says so. */
async function freePort(host: string): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The place of one worker, which another takes when it dies or is replaced. */
interface Place {
  readonly number: number;
  worker: WorkerProcess;
  /** How many died in it one after the other without having lived long. */
  diedYoung: number;
  restart: NodeJS.Timeout | undefined;
}

class Workers {
  readonly count: number;
  readonly #host: Host;
  readonly #port: number;
  readonly #places: Place[] = [];
  /** All that haven't ended, those included that are being replaced. */
  readonly #alive = new Set<WorkerProcess>();
  #scrapes = 0;
  #started = false;
  #stopping = false;
  #replacing = false;
  #replaceAgain = false;

  constructor(host: Host, count: number, port: number) {
    this.#host = host;
    this.count = count;
    this.#port = port;
    // A person at a terminal reads lines that the workers write themselves, for they see that it is one.
    const stdout = host.stdout.isTerminal ? 'inherit' : 'pipe';
    cluster.setupPrimary({ args: ['serve'], stdio: ['ignore', stdout, 'inherit', 'ipc'] });
  }

  /**
   * Settles with the address once all listen. The first one goes ahead, so that what is wrong is said once: if it doesn't start,
   * the exit code is its own, and the result is undefined.
   */
  async start(): Promise<string | undefined> {
    const first = this.#fork(1);
    const url = await first.listening;
    if (url === undefined) {
      const { code } = await first.ended;
      if (!this.#stopping) this.#host.exitWith((code ?? 1) as ExitCode);
      return undefined;
    }
    this.#settle(1, first);
    if (this.#stopping) return undefined;
    const others = Array.from({ length: this.count - 1 }, (_, at) => this.#fork(at + 2));
    others.forEach((worker, at) => this.#settle(at + 2, worker));
    await Promise.all(others.map(({ listening: listens }) => listens));
    this.#started = true;
    return this.#stopping ? undefined : url;
  }

  /** Replaces all workers, one after the other: a new one listens before the old one is dismissed. Never rejects. */
  async replace(): Promise<void> {
    if (!this.#started || this.#stopping) return;
    this.#replaceAgain = true;
    if (this.#replacing) return;
    this.#replacing = true;
    while (this.#replaceAgain && !this.#stopping) {
      this.#replaceAgain = false;
      await this.#replaceEach();
    }
    this.#replacing = false;
  }

  signal(name: NodeJS.Signals): void {
    for (const worker of this.#alive) worker.signal(name);
  }

  /** Has all workers drain. Settles when they have ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { restart } of this.#places) clearTimeout(restart);
    this.signal('SIGTERM');
    await Promise.all([...this.#alive].map(({ ended }) => ended));
  }

  async #replaceEach(): Promise<void> {
    for (const place of this.#places) {
      const next = this.#fork(place.number);
      if ((await next.listening) === undefined) {
        if (!this.#stopping) this.#host.note('The new worker did not start; the workers stay as they are');
        return;
      }
      if (this.#stopping) return;
      const old = place.worker;
      clearTimeout(place.restart);
      place.worker = next;
      place.diedYoung = 0;
      this.#watch(place);
      this.#host.note(`Worker ${place.number}: process ${next.pid} takes over from ${old.pid}`);
      old.dismiss();
      await old.ended;
      if (this.#stopping) return;
    }
    this.#host.note('All workers are replaced');
  }

  #fork(number: number): WorkerProcess {
    const worker = new WorkerProcess(number, this.#port, this.#host.stdout);
    worker.onScrape = (scrape) => void this.#collect(scrape, worker);
    this.#alive.add(worker);
    void worker.ended.then(() => this.#alive.delete(worker));
    return worker;
  }

  /** A scrape has reached one of the workers, which shows what all of them have counted. */
  async #collect(scrape: number, asker: WorkerProcess): Promise<void> {
    this.#scrapes += 1;
    const id = this.#scrapes;
    const counted = await Promise.all([...this.#alive].map((worker) => worker.counted(id)));
    asker.scraped(
      scrape,
      counted.filter((each) => each !== undefined),
    );
  }

  /** Gives a worker its place. */
  #settle(number: number, worker: WorkerProcess): void {
    const place: Place = { number, worker, diedYoung: 0, restart: undefined };
    this.#places.push(place);
    this.#watch(place);
  }

  /** Starts another worker when the present one dies. */
  #watch(place: Place): void {
    const { worker } = place;
    void worker.ended.then((ending) => {
      if (this.#stopping || place.worker !== worker) return;
      const waitMs = Math.min(restartMsMax, restartMs * 2 ** place.diedYoung);
      place.diedYoung = performance.now() - worker.startedAtMs < steadyMs ? place.diedYoung + 1 : 0;
      const said = `Worker ${place.number}: process ${worker.pid} ended by ${inWords(ending)}`;
      this.#host.note(`${said}; another starts in ${waitMs / 1_000} s`);
      place.restart = setTimeout(() => {
        place.worker = this.#fork(place.number);
        this.#watch(place);
      }, waitMs);
    });
  }
}

function inWords({ code, signal }: Ending): string {
  return signal ?? `exit code ${code}`;
}
