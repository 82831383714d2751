/**
 * A service under attack, in a process of its own with a small heap, with a probe beside it. Measures what each attack
 * costs the service.
 */
import { fork } from 'node:child_process';
import { once, setMaxListeners } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, vi } from 'vitest';
import { startFeatures } from './attack-features.ts';
import { startServiceProcess, type Held, type ServiceProcess, type ServiceProcessOptions } from './service-process.ts';

/** What the probe has seen since the last question. */
export interface Health {
  readonly answered: number;
  readonly failed: number;
  /** The longest wait for an answer, including one that has not arrived yet. */
  readonly slowestMs: number;
  /** The peak memory of the process, as the system counts it; 0 if it can't be read. */
  readonly peakBytes: number;
}

/**
 * What an attack did. CPU times are converted to those of one fixed machine: they are compared with a fixed piece of
 * work.
 */
export interface Toll<T> {
  readonly result: T;
  /** The growth of heap and buffers, while all connections of the attack are still open. */
  readonly heldBytes: number;
  /** The peak memory of the process, as the system counts it. */
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
   * Runs an attack, and returns what it cost. The attack's signal aborts when everything has been measured, whatever
   * happened; the attack must then close its connections.
   *
   * @throws Error as soon as the service has died, and if the attack or the service has not answered in time.
   */
  withstands<T>(name: string, attack: Attack<T>, withinMs?: number): Promise<Toll<T>>;
  /**
   * Runs attacks of one kind, one after the other.
   *
   * @throws Error as `withstands` does; it names the attack that was running.
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
  /** Names of callers that have keys. Without any, everyone may ask. */
  readonly callers?: readonly string[];
}

/**
 * How long one input may block the event loop, in CPU time. It is measured by ticks, and includes the garbage
 * collection threads.
 */
export const turnMsMax = 200;
/** How much all strangers together may make the service hold: the buffers of their connections. */
export const strangersBytesMax = 16 << 20;

/** The result of `calibrate` on an idle machine of the kind on which the bounds in milliseconds were chosen. */
const idleCalibrationMs = 10;
const withinMsDefault = 30_000;
/** A third of it is what the service itself needs. */
const heapMiBDefault = 96;
/** For starting two processes on a machine that also runs other tests. */
const startMsMax = 120_000;

export async function startTarget(options: TargetOptions): Promise<AttackTarget> {
  const { callers = [], heapMiB = heapMiBDefault } = options;
  const features = await startFeatures(callers);
  const env = { ...features.env, ...options.env };
  const service = await startServiceProcess({ ...options, heapMiB, env });
  const { sockets: restSockets } = await service.measure();
  const probe = await startProbe(service);
  const died = service.ended.then((how) => {
    throw new Error(`the service died: ${how}`);
  });
  // Only used while an attack runs.
  died.catch(() => {});

  /** What the service holds after it has noticed that the connections of the previous attack are closed. */
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
      // The machine may have become slower since the last calibration.
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
      await features[Symbol.asyncDispose]();
    },
  };
}

/** One target for the tests of a file or describe. It is started anew after a test that killed it. */
export function targetForTests(optionsOf: () => TargetOptions): { readonly current: AttackTarget } {
  let current: AttackTarget | undefined;
  let dead = false;
  const start = async () => {
    dead = false;
    current = await startTarget(optionsOf());
    void current.service.ended.then(() => (dead = true));
  };
  // Attacks have time limits of their own, whose errors say what the test was waiting for.
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
