/**
 * Random histories of three instances on one Redis, which is killed, cut off and paused, as the instances are. While a history
 * runs, generations are written, watched, cancelled, and their viewers hop from instance to instance. A checker holds what
 * every viewer sees against what was written.
 */
import { isTerminal, parseEventId, type LlmEvent, type TerminalEvent } from '../../src/protocol.ts';
import type { RedisStreamLogs } from '../../src/stream-log/redis/redis-logs.ts';
import type { GenerationKey, LogBatch, StreamLog } from '../../src/stream-log/stream-log.ts';
import { gatedConnection } from './gated-connection.ts';
import { cancelled, done, key, nobody, open, text } from './log-events.ts';
import { startRedis, type TestRedis } from './redis.ts';
import { randomOf } from './seeded.ts';
import { newPrefix, quickTiming, redisLogs } from './stream-logs.ts';

/** What Redis keeps when it is killed. `rolled back` is a dump from a moment before. */
export type Persistence = 'everything' | 'nothing' | 'rolled back';
export const persistences: readonly Persistence[] = ['everything', 'nothing', 'rolled back'];

/** What came of a history. */
export interface Outcome {
  /** Each a sentence. None if every promise was kept. */
  readonly violations: readonly string[];
  /** How often what happened. */
  readonly counts: Readonly<Record<string, number>>;
}

const steps = 60;
/** A history in which something waits for ever is given up after this. */
const settleMs = 20_000;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export async function runHistory(seed: number, persistence: Persistence): Promise<Outcome> {
  await using history = await History.begin(seed, persistence);
  return await history.run();
}

interface Instance {
  readonly name: string;
  readonly logs: RedisStreamLogs;
  dead: boolean;
  /** Whether it ever was. */
  paused: boolean;
  /** Settles when it is killed. */
  readonly died: Promise<void>;
  /** Holds all that it sends and gets for a while. */
  pause(ms: number): void;
  /** As `kill -9` does. */
  crash(): void;
}

interface Viewer {
  lastOffset: number;
  end: string | undefined;
  finished: boolean;
  instance: Instance | undefined;
  leave: () => void;
}

interface Generation {
  readonly key: GenerationKey;
  readonly owner: Instance;
  readonly log: StreamLog;
  /** The texts that were handed to the log, by offset less one. */
  readonly texts: string[];
  readonly viewers: Viewer[];
  /** The type of the terminal event that the log has acknowledged. */
  acknowledged: string | undefined;
  cancelling: boolean;
}

class History implements AsyncDisposable {
  readonly #persistence: Persistence;
  readonly #redis: TestRedis;
  readonly #instances: readonly Instance[];
  readonly #random: () => number;
  readonly #generations: Generation[] = [];
  readonly #violations: string[] = [];
  readonly #counts: Record<string, number> = {};
  readonly #running: Promise<void>[] = [];
  readonly #seed: number;
  #over = false;

  private constructor(seed: number, persistence: Persistence, redis: TestRedis, instances: readonly Instance[]) {
    this.#seed = seed;
    this.#persistence = persistence;
    this.#redis = redis;
    this.#instances = instances;
    this.#random = randomOf(seed);
  }

  static async begin(seed: number, persistence: Persistence): Promise<History> {
    const redis = await startRedis({ keeps: persistence === 'everything' ? 'all' : 'nothing' });
    const prefix = newPrefix();
    const instances = await Promise.all(['A', 'B', 'C'].map((name) => startInstance(name, redis, prefix)));
    return new History(seed, persistence, redis, instances);
  }

  async run(): Promise<Outcome> {
    for (let step = 0; step < steps; step += 1) {
      const dice = this.#random();
      if (dice < 0.35) this.#running.push(this.#start());
      else if (dice < 0.65) this.#hop();
      else if (dice < 0.72) this.#running.push(this.#cancel());
      else if (dice < 0.78) await this.#fault();
      await sleep(this.#random() * 60);
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => (timer = setTimeout(() => resolve('late'), settleMs)));
    const settled = await Promise.race([this.#settled(), late]);
    clearTimeout(timer);
    if (settled === 'late') this.#blameWhoHangs();
    this.#over = true;
    for (const generation of this.#generations) this.#check(generation);
    for (const { logs } of this.#instances) {
      for (const [what, times] of Object.entries(logs.counts)) this.#count(what, times);
    }
    return { violations: this.#violations, counts: this.#counts };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    for (const { viewers } of this.#generations) for (const viewer of viewers) viewer.leave();
    for (const instance of this.#instances) instance.crash();
    await Promise.all(this.#instances.map(({ logs }) => logs[Symbol.asyncDispose]()));
    await this.#redis[Symbol.asyncDispose]();
  }

  async #settled(): Promise<'settled'> {
    // What runs may start more: a generation its viewers.
    for (let count = -1; count < this.#running.length;) {
      count = this.#running.length;
      await Promise.all(this.#running);
    }
    return 'settled';
  }

  // ------------------------------------------------------------------------------------------------ what happens

  async #start(): Promise<void> {
    const [here, there] = [this.#anInstance(), this.#anInstance()];
    const of = key('a');
    let stop = false;
    let wake = () => {};
    const producer = {
      ...nobody,
      cancel() {
        stop = true;
        wake();
      },
    };
    // Two instances may be asked for the same at once.
    const asked = here !== there && this.#random() < 0.5 ? [here, there] : [here];
    const answers = await Promise.all(
      asked.map(async (instance) => {
        const opened = await open(instance.logs, of, producer).catch(() => undefined);
        return { instance, opened };
      }),
    );
    const made = answers.filter(({ opened }) => opened?.created);
    if (made.length > 1) {
      // Not promised: Redis has lost the log, and whoever ran it was silent for longer than a lease.
      const excused =
        this.#persistence !== 'everything' && made.some(({ instance }) => instance.dead || instance.paused);
      if (excused) return this.#count('made twice');
      this.#blame(`${made.length} instances made one log`);
    }
    const [first] = made;
    if (!first?.opened) return this.#count('not opened');
    const { instance: owner, opened } = first;
    const generation: Generation = {
      key: of,
      owner,
      log: opened.log,
      texts: [],
      viewers: [],
      acknowledged: undefined,
      cancelling: false,
    };
    this.#generations.push(generation);
    for (let count = 0; count < 3; count += 1) this.#running.push(this.#watch(generation, this.#random() * 200));
    const batches = 5 + Math.floor(this.#random() * 60);
    const paceMs = this.#random() * 20;
    try {
      for (let batch = 0; batch < batches && !stop; batch += 1) {
        if (owner.dead) return;
        const events = Array.from({ length: 1 + Math.floor(this.#random() * 3) }, () => {
          const piece = `${generation.texts.length},`;
          generation.texts.push(piece);
          return text(piece);
        });
        await Promise.race([opened.log.append(events), owner.died]);
        await Promise.race([sleep(paceMs), new Promise<void>((resolve) => (wake = resolve))]);
      }
      if (owner.dead) return;
      const end = stop ? cancelled : done;
      await Promise.race([opened.log.append([end]), owner.died]);
      if (!owner.dead) generation.acknowledged = end.type;
    } catch {
      this.#count('producer lost');
    }
  }

  async #watch(generation: Generation, afterMs: number): Promise<void> {
    const viewer: Viewer = {
      lastOffset: -1,
      end: undefined,
      finished: false,
      instance: undefined,
      leave: () => {},
    };
    generation.viewers.push(viewer);
    await sleep(afterMs);
    // Redis may have lost it with its owner: then it is found nowhere any more.
    for (let misses = 0; misses < 60 && viewer.end === undefined && !this.#over;) {
      const instance = this.#anInstance();
      const leaving = new AbortController();
      viewer.instance = instance;
      viewer.leave = () => leaving.abort();
      try {
        const log = await instance.logs.find(generation.key);
        if (log) {
          const reader = await log.read(viewer.lastOffset, leaving.signal);
          await reader.pipe((batch) => this.#see(generation, viewer, batch));
        } else {
          misses += 1;
          await sleep(50);
        }
      } catch {
        await sleep(50);
      }
    }
    viewer.finished = true;
  }

  #hop(): void {
    const generation = this.#pick(this.#generations);
    this.#pick(generation?.viewers ?? [])?.leave();
  }

  async #cancel(): Promise<void> {
    const generation = this.#pick(this.#generations);
    const instance = this.#anInstance();
    if (!generation || generation.cancelling || instance === generation.owner) return;
    generation.cancelling = true;
    const log = await instance.logs.find(generation.key).catch(() => undefined);
    // Whoever asks an instance that is killed gets no answer.
    const end = await Promise.race([log?.cancel().catch(() => undefined), instance.died]);
    if (end) this.#count(`a cancel answered by ${nameOf(end)}`);
  }

  async #fault(): Promise<void> {
    const alive = this.#instances.filter(({ dead }) => !dead);
    const instance = this.#pick(alive)!;
    const dice = Math.floor(this.#random() * 5);
    if (dice === 0 && alive.length > 1) {
      this.#count('instance killed');
      instance.crash();
      for (const { viewers } of this.#generations) {
        for (const viewer of viewers) if (viewer.instance === instance) viewer.leave();
      }
    } else if (dice === 1) {
      this.#count('instance paused');
      instance.pause(100 + this.#random() * 1_000);
    } else if (dice === 2) {
      this.#count('Redis killed');
      if (this.#persistence === 'rolled back') {
        await this.#redis.send('SAVE');
        await sleep(50 + this.#random() * 300);
      }
      await this.#redis.kill();
      await sleep(this.#random() * 600);
      await this.#redis.restart();
    } else if (dice === 3) {
      this.#count('connections cut');
      for (const type of ['normal', 'pubsub']) {
        if (this.#random() < 0.7) await this.#redis.send('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
      }
    } else if (dice === 4) {
      this.#count('Redis paused');
      await this.#redis.send('CLIENT', 'PAUSE', String(Math.floor(this.#random() * 500)), 'ALL');
    }
  }

  // -------------------------------------------------------------------------------------------------- the checker

  #see({ texts, key: of }: Generation, viewer: Viewer, batch: LogBatch): undefined {
    for (const { id, event, terminal } of batch) {
      const offset = parseEventId(id)!.offset;
      const at = `at ${viewer.lastOffset}..${offset} of ${of.generationId} on ${viewer.instance?.name}`;
      if (viewer.end !== undefined) this.#blame(`an event after the end ${at}`);
      if (offset <= viewer.lastOffset) this.#blame(`an event twice ${at}`);
      if (event.type === 'text') {
        const expected = texts.slice(Math.max(0, viewer.lastOffset), offset).join('');
        if (event.text !== expected) this.#blame(`"${event.text}" for "${expected}" ${at}`);
      } else if (offset !== viewer.lastOffset + 1) {
        this.#blame(`a hole before ${event.type} ${at}`);
      }
      viewer.lastOffset = offset;
      if (terminal !== isTerminal(event)) this.#blame(`an end that isn't one ${at}`);
      if (isTerminal(event)) viewer.end = nameOf(event);
    }
    return undefined;
  }

  #check({ key: { generationId }, viewers, acknowledged, owner }: Generation): void {
    const ends = new Set(viewers.flatMap(({ end }) => (end === undefined ? [] : [end])));
    const of = `of ${generationId}, owner ${owner.name}${owner.dead ? ', dead' : ''}`;
    if (ends.size > 1) this.#blame(`ends that differ, ${[...ends].join(' and ')}, ${of}`);
    const [end] = ends;
    if (acknowledged !== undefined && end !== undefined && end !== acknowledged) {
      this.#blame(`${acknowledged} acknowledged, ${end} seen ${of}`);
    }
    this.#count(`ended ${end ?? 'unseen'}`);
  }

  #blameWhoHangs(): void {
    for (const {
      key: { generationId },
      viewers,
      texts,
      owner,
      acknowledged,
    } of this.#generations) {
      for (const viewer of viewers) {
        if (viewer.finished) continue;
        this.#blame(
          `a viewer of ${generationId} on ${viewer.instance?.name} waits at ${viewer.lastOffset} of ${texts.length}, owner ${owner.name}${owner.dead ? ', dead' : ''}, acknowledged ${acknowledged}`,
        );
      }
    }
    if (this.#violations.length === 0) this.#blame('something waits for ever that is no viewer');
  }

  #blame(violation: string): void {
    if (!this.#over) this.#violations.push(`seed ${this.#seed}, ${this.#persistence}: ${violation}`);
  }

  #count(what: string, times = 1): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + times;
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.#random() * from.length)];
  }

  #anInstance(): Instance {
    return this.#pick(this.#instances.filter(({ dead }) => !dead))!;
  }
}

async function startInstance(name: string, redis: TestRedis, prefix: string): Promise<Instance> {
  const { connect, pause, resume, cut } = gatedConnection();
  // Half the hold of a lease would do for those that write again; the machine may be busy.
  const logs = redisLogs(redis, prefix, { connect, timing: { ...quickTiming, beatMs: 150, patienceMs: 2_000 } });
  await logs.connect();
  let die = () => {};
  let pausing = false;
  const instance: Instance = {
    name,
    logs,
    dead: false,
    paused: false,
    died: new Promise((resolve) => (die = resolve)),
    pause(ms) {
      instance.paused = true;
      if (pausing) return;
      pausing = true;
      pause();
      void sleep(ms).then(() => {
        pausing = false;
        resume();
      });
    },
    crash() {
      instance.dead = true;
      die();
      cut();
    },
  };
  return instance;
}

function nameOf(end: LlmEvent & TerminalEvent): string {
  if (end.type === 'error') return `error ${end.code}`;
  return end.type;
}
