/** A service under attack: a process of its own with a small heap, a probe beside it, and what each attack costs it. */
import { fork } from 'node:child_process';
import { once, setMaxListeners } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, vi } from 'vitest';
import { keysOf } from './attack-callers.ts';
import { startServiceProcess, type Held, type ServiceProcess, type ServiceProcessOptions } from './service-process.ts';

/** What the probe saw since it was asked last. */
export interface Health {
  readonly answered: number;
  readonly failed: number;
  /** The longest wait for an answer, also one that has not come yet. */
  readonly slowestMs: number;
  /** The most memory that the process ever had, as the system counts it; 0 where that is not known. */
  readonly peakBytes: number;
}

/** What an attack did. CPU times are those of one certain machine: they are measured against a fixed piece of work. */
export interface Toll<T> {
  readonly result: T;
  /** Heap and buffers more than before, while all of the attack's connections are still open. */
  readonly heldBytes: number;
  /** Memory of the process at its highest, as the system counts it. */
  readonly peakBytes: number;
  readonly longestTurnMs: number;
  readonly cpuMs: number;
  readonly slowestHealthMs: number;
  readonly after: Held;
}

export interface AttackTarget extends AsyncDisposable {
  readonly url: string;
  readonly service: ServiceProcess;
  /**
   * Runs an attack, and gives what it cost. The attack's signal aborts when all has been measured, whatever happened:
   * its connections are to be closed then.
   *
   * @throws Error as soon as the service has died, and when the attack or the service has not answered in time.
   */
  withstands<T>(name: string, attack: Attack<T>, withinMs?: number): Promise<Toll<T>>;
  /**
   * The same for attacks of one kind, one after the other.
   *
   * @throws Error as `withstands` does, which names the attack that was under way.
   */
  withstandsEach<T>(
    name: string,
    attacks: Readonly<Record<string, Attack<T>>>,
    withinMs?: number,
  ): Promise<Toll<Readonly<Record<string, EachToll<T>>>>>;
}

export type Attack<T> = (signal: AbortSignal) => Promise<T>;

export interface EachToll<T> {
  readonly result: T;
  readonly longestTurnMs: number;
}

export interface TargetOptions extends ServiceProcessOptions {
  /** Names of callers that have keys. None: everyone may ask. */
  readonly callers?: readonly string[];
}

/** How long one input may hold the event loop, in CPU time. Measured by ticks, with the threads of garbage collection. */
export const turnMsMax = 200;
/** What strangers may have the service hold, all together: buffers of their connections. */
export const strangersBytesMax = 16 << 20;

/** What `calibrate` gives on the machine on which bounds in milliseconds were chosen, when it is idle. */
const idleCalibrationMs = 10;
const withinMsDefault = 30_000;
/** A third of it is the service's own. */
const heapMiBDefault = 96;
/** Starting two processes on a machine that runs other tests. */
const startMsMax = 120_000;

export async function startTarget(options: TargetOptions): Promise<AttackTarget> {
  const { callers = [], heapMiB = heapMiBDefault } = options;
  const env = { ...keysOf(callers), ...options.env };
  const service = await startServiceProcess({ ...options, heapMiB, env });
  const { sockets: restSockets } = await service.measure();
  const probe = await startProbe(service);
  const died = service.ended.then((how) => {
    throw new Error(`the service died: ${how}`);
  });
  // Heard only while an attack runs.
  died.catch(() => {});

  /** What it holds once it has seen that the connections of the attack before are closed. */
  async function rest(): Promise<Held> {
    let held = await service.measure();
    for (let look = 1; held.sockets > restSockets && look < 20; look += 1) held = await service.measure();
    return held;
  }

  async function withstands<T>(name: string, attack: Attack<T>, withinMs = withinMsDefault): Promise<Toll<T>> {
    const over = new AbortController();
    setMaxListeners(0, over.signal);
    const late = deadline(withinMs);
    const inTime = <R>(promise: Promise<R>): Promise<R> => Promise.race([promise, died, late.passed]);
    let outcome = 'withstood';
    let toll: Toll<T> | undefined;
    try {
      const calibratedMs = await inTime(service.calibrate());
      const before = await inTime(rest());
      await inTime(service.effort());
      await probe.look();
      const attacking = attack(over.signal);
      attacking.catch(() => {});
      const result = await inTime(attacking);
      const { longestTurnMs, cpuMs } = await inTime(service.effort());
      const { slowestMs, peakBytes } = await probe.look();
      const after = await inTime(service.measure());
      // The machine may have become slower meanwhile.
      const slowness = Math.max(calibratedMs, await inTime(service.calibrate()), idleCalibrationMs) / idleCalibrationMs;
      toll = {
        result,
        after,
        peakBytes,
        heldBytes: after.bytes - before.bytes,
        longestTurnMs: longestTurnMs / slowness,
        cpuMs: cpuMs / slowness,
        slowestHealthMs: slowestMs,
      };
      return toll;
    } catch (error) {
      outcome = (error as Error).message.split('\n', 1)[0]!;
      if (late.isPassed()) await service.kill();
      throw error;
    } finally {
      late.cancel();
      over.abort();
      if (process.env['ATTACK_REPORT']) await report(name, outcome, toll);
    }
  }

  async function withstandsEach<T>(
    name: string,
    attacks: Readonly<Record<string, Attack<T>>>,
    withinMs = withinMsDefault,
  ): Promise<Toll<Readonly<Record<string, EachToll<T>>>>> {
    let current = '';
    let longestTurnMs = 0;
    const all = async (signal: AbortSignal) => {
      const tolls: Record<string, EachToll<T>> = {};
      for (const [what, attack] of Object.entries(attacks)) {
        current = what;
        const result = await attack(signal);
        const effort = await service.effort();
        longestTurnMs = Math.max(longestTurnMs, effort.longestTurnMs);
        tolls[what] = { result, longestTurnMs: effort.longestTurnMs };
      }
      return tolls;
    };
    try {
      const toll = await withstands(name, all, withinMs);
      return { ...toll, longestTurnMs: Math.max(toll.longestTurnMs, longestTurnMs) };
    } catch (error) {
      throw new Error(`${current}: ${(error as Error).message}`, { cause: error });
    }
  }

  async function report(name: string, outcome: string, toll: Toll<unknown> | undefined): Promise<void> {
    const { slowestMs, peakBytes } = toll
      ? { slowestMs: toll.slowestHealthMs, peakBytes: toll.peakBytes }
      : await probe.look();
    const told = toll ? JSON.stringify(toll.result) : '';
    const figures = toll
      ? ` | held ${MiB(toll.heldBytes)} | longest turn ${toll.longestTurnMs.toFixed(0)} ms | CPU ${toll.cpuMs.toFixed(0)} ms`
      : '';
    console.log(
      `| ${name} | ${outcome} ${told?.slice(0, 600) ?? ''} | peak ${MiB(peakBytes)} | slowest /healthz ${slowestMs.toFixed(0)} ms${figures} |`,
    );
  }

  return {
    url: service.url,
    service,
    withstands,
    withstandsEach,
    async [Symbol.asyncDispose]() {
      await probe[Symbol.asyncDispose]();
      await service[Symbol.asyncDispose]();
    },
  };
}

/** One target for the tests of a file or describe, started anew after a test that it did not survive. */
export function targetForTests(optionsOf: () => TargetOptions): { readonly current: AttackTarget } {
  let current: AttackTarget | undefined;
  let dead = false;
  const start = async () => {
    dead = false;
    current = await startTarget(optionsOf());
    void current.service.ended.then(() => (dead = true));
  };
  // Attacks have bounds of their own, which tell what was waited for.
  vi.setConfig({ testTimeout: 4 * withinMsDefault });
  beforeAll(start, startMsMax);
  afterEach(async () => {
    if (!dead) return;
    await current?.[Symbol.asyncDispose]();
    await start();
  }, startMsMax);
  afterAll(() => current?.[Symbol.asyncDispose]());
  return {
    get current() {
      if (!current) throw new Error('only within a test');
      return current;
    },
  };
}

interface Probe extends AsyncDisposable {
  look(): Promise<Health>;
}

async function startProbe({ url, pid }: ServiceProcess): Promise<Probe> {
  const child = fork(fileURLToPath(new URL('attack-probe.ts', import.meta.url)), [url, `${pid}`], {
    execArgv: ['--import', 'tsx'],
  });
  const ended = once(child, 'exit');
  await once(child, 'message');
  return {
    async look() {
      child.send('look');
      const [health] = (await once(child, 'message')) as [Health];
      return health;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function deadline(ms: number) {
  let over = false;
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      over = true;
      reject(new Error(`no end within ${ms} ms`));
    }, ms);
  });
  passed.catch(() => {});
  return { passed, isPassed: () => over, cancel: () => clearTimeout(timer) };
}

function MiB(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
