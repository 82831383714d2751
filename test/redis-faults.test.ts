/** What viewers see, and what a producer is told, when an instance or Redis fails: one test for each fault. */
import { expect, it } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import { connect, type Connection } from '../src/stream-log/redis/connection.ts';
import type { RedisStreamLogs } from '../src/stream-log/redis/redis-logs.ts';
import type { GenerationKey, LogBatch, Producer, StreamLog } from '../src/stream-log/stream-log.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { cancelled, done, expectExactly, key, nobody, open, readAll, text } from './support/log-events.ts';
import { startRedis, type TestRedis } from './support/redis.ts';
import { requires } from './support/skip.ts';
import { newPrefix, quickTiming, redisForAllTests, redisLogs, roomyLimits } from './support/stream-logs.ts';

finishesCleanly();

const { signal } = new AbortController();
const lost = { type: 'error', code: 'producer_lost', retryable: true };

/** An instance whose process can be stopped for a while, or killed. */
interface Instance extends AsyncDisposable {
  readonly logs: RedisStreamLogs;
  pause(): void;
  resume(): void;
  kill(): void;
}

function startInstance(
  redis: Pick<TestRedis, 'url'>,
  prefix: string,
  options: Parameters<typeof redisLogs>[2] = {},
): Instance {
  let release = () => {};
  let gate: Promise<void> | undefined;
  let connection: Connection | undefined;
  const logs = redisLogs(redis, prefix, {
    async connect(address, closing) {
      const real = await connect(address, closing);
      connection = real;
      return {
        clustered: real.clustered,
        run: async (...args) => (gate ? gate.then(() => real.run(...args)) : real.run(...args)),
        command: async (...args) => (gate ? gate.then(() => real.command(...args)) : real.command(...args)),
        subscribe: (channel, listener) =>
          real.subscribe(channel, (message) => (gate ? void gate.then(() => listener(message)) : listener(message))),
        onUp: (listener) => real.onUp(listener),
        onDown: (listener) => real.onDown(listener),
        close: () => real.close(),
      };
    },
    ...options,
  });
  return {
    logs,
    pause() {
      gate = new Promise((resolve) => (release = resolve));
    },
    resume() {
      gate = undefined;
      release();
    },
    kill: () => connection?.close(),
    async [Symbol.asyncDispose]() {
      release();
      await logs[Symbol.asyncDispose]();
    },
  };
}

/** A viewer that has everything it is given. */
class Viewer {
  readonly batches: LogBatch[] = [];
  readonly finished: Promise<void>;
  #until: (() => void)[] = [];

  constructor(log: StreamLog, after = -1) {
    this.finished = log.read(after, new AbortController().signal).then((reader) =>
      reader.pipe((batch) => {
        this.batches.push(batch);
        for (const check of this.#until) check();
        return undefined;
      }),
    );
  }

  get text(): string {
    return this.batches
      .flat()
      .map(({ event }) => ('text' in event ? event.text : ''))
      .join('');
  }

  get last(): LlmEvent | undefined {
    return this.batches.at(-1)?.at(-1)?.event;
  }

  async untilText(ending: string): Promise<void> {
    await new Promise<void>((resolve) => {
      const check = () => this.text.endsWith(ending) && resolve();
      this.#until.push(check);
      check();
    });
  }
}

async function found(logs: RedisStreamLogs, of: GenerationKey): Promise<StreamLog> {
  const log = await logs.find(of);
  if (!log) throw new Error('no such log');
  return log;
}

/** Settles when the producer is asked to stop. */
function stoppable(): { readonly producer: Producer; readonly stopped: Promise<void> } {
  let stop = () => {};
  const stopped = new Promise<void>((resolve) => (stop = resolve));
  return { producer: { ...nobody, cancel: () => stop() }, stopped };
}

requires('redis-server')('when an instance fails', () => {
  const redis = redisForAllTests();

  it('the viewers of a killed one see every event that it had acknowledged, and one producer_lost', async () => {
    const prefix = newPrefix();
    await using owner = startInstance(redis.current, prefix);
    await using other = startInstance(redis.current, prefix);
    const { log } = await open(owner.logs, key());
    const viewer = new Viewer(await found(other.logs, log.record));
    for (let n = 0; n < 50; n += 1) await log.append([text(`${n} `)]);
    await viewer.untilText('49 ');
    owner.kill();
    await viewer.finished;
    expect(viewer.last).toMatchObject({ ...lost, usage: { estimated: true, outputTokens: Math.ceil(140 / 4) } });
    const late = await readAll(await found(other.logs, log.record));
    expect(late.flat().at(-1)!.event).toEqual(viewer.last);
    expect(other.logs.counts.reaped).toBe(1);
    await expect(open(other.logs, log.record)).resolves.toMatchObject({ created: false });
  });

  it('one that is paused past its lease is refused when it goes on, and its viewers get the end of the log', async () => {
    const prefix = newPrefix();
    await using owner = startInstance(redis.current, prefix);
    await using other = startInstance(redis.current, prefix);
    const { producer, stopped } = stoppable();
    const { log } = await open(owner.logs, key(), producer);
    await log.append([text('a')]);
    const [here, there] = [new Viewer(log), new Viewer(await found(other.logs, log.record))];
    await Promise.all([here.untilText('a'), there.untilText('a')]);
    owner.pause();
    await there.finished;
    expect(there.last).toMatchObject(lost);
    owner.resume();
    await stopped;
    await here.finished;
    expect(here.last).toEqual(there.last);
    await expect(log.append([text('late')])).rejects.toMatchObject({ code: 'producer_lost' });
    expect((await log.status()).terminal).toEqual(there.last);
    expect(owner.logs.counts.fenced).toBe(1);
  });

  it('one that is slow, and beats in time, loses nothing', async () => {
    const prefix = newPrefix();
    await using owner = startInstance(redis.current, prefix);
    await using other = startInstance(redis.current, prefix);
    const { log } = await open(owner.logs, key());
    const viewer = new Viewer(await found(other.logs, log.record));
    for (let n = 0; n < 5; n += 1) {
      await log.append([text(`${n} `)]);
      owner.pause();
      await new Promise((resolve) => setTimeout(resolve, quickTiming.beatMs * 2));
      owner.resume();
    }
    await log.append([done]);
    await viewer.finished;
    expectExactly(viewer.batches, -1, [...[0, 1, 2, 3, 4].map((n) => text(`${n} `)), done]);
  });

  it('the disconnect clock gets the viewers of a dead instance off', async () => {
    const prefix = newPrefix();
    await using owner = startInstance(redis.current, prefix);
    await using other = startInstance(redis.current, prefix);
    let viewers = 0;
    let seen = 0;
    let allLeft = () => {};
    const left = new Promise<void>((resolve) => (allLeft = resolve));
    const producer: Producer = {
      ...nobody,
      viewerCame: () => void ((viewers += 1), (seen += 1)),
      viewerLeft: () => void ((viewers -= 1), viewers === 0 && allLeft()),
    };
    const { log } = await open(owner.logs, key(), producer);
    const viewer = new Viewer(await found(other.logs, log.record));
    await log.append([text('a')]);
    await viewer.untilText('a');
    await expect.poll(() => viewers).toBe(1);
    other.kill();
    await left;
    expect(seen).toBe(1);
    await log.recountViewers();
    expect(viewers).toBe(0);
    await log.append([done]);
    await other.logs[Symbol.asyncDispose]();
    await viewer.finished;
  });
});

requires('redis-server')('when a cancel comes from another instance', () => {
  const redis = redisForAllTests();

  it('and races the end, there is one end, and the answer to the cancel is that', async () => {
    const prefix = newPrefix();
    await using owner = startInstance(redis.current, prefix);
    await using other = startInstance(redis.current, prefix);
    const ends = new Set<string>();
    for (let turn = 0; turn < 40; turn += 1) {
      let closing = false;
      const end = async (event: LlmEvent) => {
        if (closing) return;
        closing = true;
        await log.append([event]);
      };
      const { log } = await open(owner.logs, key(), { ...nobody, cancel: () => void end(cancelled) });
      const viewer = new Viewer(log);
      const there = await found(other.logs, log.record);
      const cancelling = there.cancel();
      for (let wait = 0; wait < turn % 8; wait += 1) await new Promise(setImmediate);
      await end(done);
      const answer = await cancelling;
      await viewer.finished;
      expect(viewer.last).toEqual(answer);
      expect((await readAll(there)).flat().filter(({ terminal }) => terminal)).toHaveLength(1);
      ends.add(answer.type);
    }
    expect(ends.has('done')).toBe(true);
  });
});

requires('redis-server')('when Redis is killed and restarted', () => {
  it.each(['all', 'nothing'] as const)('and keeps %s, every viewer stalls and then goes on', async (keeps) => {
    await using redis = await startRedis({ keeps });
    const prefix = newPrefix();
    await using owner = startInstance(redis, prefix);
    await using other = startInstance(redis, prefix);
    const { producer } = stoppable();
    const { log } = await open(owner.logs, key(), producer);
    const viewers = [new Viewer(log), new Viewer(await found(other.logs, log.record))];
    const all: LlmEvent[] = [];
    const say = async (piece: string) => {
      all.push(text(piece));
      await log.append([text(piece)]);
    };
    for (let n = 0; n < 10; n += 1) await say(`${n} `);
    await Promise.all(viewers.map((viewer) => viewer.untilText('9 ')));
    await redis.kill();
    await say('while it was gone ');
    await redis.restart();
    await say('after that ');
    await Promise.all(viewers.map((viewer) => viewer.untilText('after that ')));
    await log.append([done]);
    await Promise.all(viewers.map(({ finished }) => finished));
    for (const { batches } of viewers) expectExactly(batches, -1, [...all, done]);
    expectExactly(await readAll(await found(other.logs, log.record)), -1, [...all, done]);
    expect(owner.logs.counts.reopened).toBe(keeps === 'all' ? 0 : 1);
  });

  it('from a dump, what it has forgotten is written again', async () => {
    await using redis = await startRedis();
    const prefix = newPrefix();
    await using owner = startInstance(redis, prefix);
    await using other = startInstance(redis, prefix);
    const { log } = await open(owner.logs, key());
    const ended = await open(owner.logs, key());
    const viewer = new Viewer(await found(other.logs, log.record));
    await log.append([text('kept ')]);
    await viewer.untilText('kept ');
    await redis.send('SAVE');
    await log.append([text('forgotten ')]);
    await ended.log.append([text('all of it'), done]);
    await viewer.untilText('forgotten ');
    await redis.kill();
    await redis.restart();
    await log.append([text('after that '), done]);
    await viewer.finished;
    const all = [text('kept '), text('forgotten '), text('after that '), done];
    expectExactly(viewer.batches, -1, all);
    expectExactly(await readAll(await found(other.logs, log.record)), -1, all);
    await expect.poll(async () => (await (await found(other.logs, ended.log.record)).status()).terminal).toEqual(done);
    expectExactly(await readAll(await found(other.logs, ended.log.record)), -1, [text('all of it'), done]);
  });

  it('an id that it has forgotten is run by nobody else while its owner lives', async () => {
    await using redis = await startRedis();
    const prefix = newPrefix();
    await using owner = startInstance(redis, prefix);
    await using other = startInstance(redis, prefix);
    const { log } = await open(owner.logs, key());
    await other.logs.find(key());
    await redis.kill();
    await redis.restart();
    const [again, there] = await Promise.all([open(other.logs, log.record), other.logs.find(log.record)]);
    expect(again.created).toBe(false);
    expect(there?.record).toEqual(log.record);
    await log.append([done]);
  });
});

requires('redis-server')('when Redis', () => {
  it('is out of reach for longer than the bound, the generation stops, its viewers are moved, and the log gets its end', async () => {
    await using redis = await startRedis({ keeps: 'all' });
    const prefix = newPrefix();
    const options = { outageMs: 300, timing: { ...quickTiming, patienceMs: 200, beatsMissedMax: 1_000 } };
    await using owner = startInstance(redis, prefix, options);
    await using other = startInstance(redis, prefix, { ...options, outageMs: 60_000 });
    const { producer, stopped } = stoppable();
    const { log } = await open(owner.logs, key(), producer);
    await log.append([text('a')]);
    const there = new Viewer(await found(other.logs, log.record));
    await there.untilText('a');
    const reader = await log.read(1, signal);
    const waiting = reader.next();
    expect(owner.logs.reachable).toBe(true);
    await redis.kill();
    await stopped;
    expect(owner.logs.reachable).toBe(false);
    expect((await waiting).done).toBe(true);
    expect(reader.moved).toBe(true);
    await expect(open(owner.logs, key())).rejects.toMatchObject({ code: 'at_capacity' });
    const usage = { ...cancelled.usage, outputTokens: 77 };
    await expect(log.append([{ ...cancelled, usage }])).rejects.toMatchObject({ code: 'producer_lost' });
    await redis.restart();
    await there.finished;
    expect(there.last).toMatchObject({ ...lost, usage });
    await expect.poll(() => owner.logs.reachable).toBe(true);
  });

  it('has no memory left, what runs ends as log_limit, and nothing new is taken', async () => {
    await using redis = await startRedis();
    await using owner = startInstance(redis, newPrefix());
    const { producer, stopped } = stoppable();
    const { log } = await open(owner.logs, key(), producer);
    await log.append([text('a')]);
    await expect.poll(async () => (await log.status()).lastOffset).toBe(1);
    await redis.send('CONFIG', 'SET', 'maxmemory', '1');
    await log.append([text('no room')]);
    await stopped;
    await expect(log.append([cancelled])).rejects.toMatchObject({ code: 'log_limit' });
    await expect(open(owner.logs, key())).rejects.toMatchObject({ code: 'at_capacity' });
    const end = { ...lostEvent, code: 'log_limit' } as LlmEvent;
    await log.append([end]);
    expectExactly(await readAll(await found(owner.logs, log.record)), -1, [text('a'), end]);
  });

  it('was never reached, requests are refused, and the instance can stop', async () => {
    const timing = { ...quickTiming, patienceMs: 50 };
    const logs = redisLogs({ url: 'unix:///nowhere/redis.sock' }, newPrefix(), { timing });
    await expect(open(logs, key())).rejects.toMatchObject({ code: 'at_capacity' });
    await expect(logs.find(key())).rejects.toMatchObject({ code: 'at_capacity' });
    expect(logs.reachable).toBe(false);
    await logs[Symbol.asyncDispose]();
  });

  it('would evict what is being written, it is refused', async () => {
    await using redis = await startRedis({ args: ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'] });
    await using owner = startInstance(redis, newPrefix());
    await expect(owner.logs.connect()).rejects.toThrow('allkeys-lru');
  });

  it('loses its scripts, they are sent again', async () => {
    await using redis = await startRedis();
    await using owner = startInstance(redis, newPrefix());
    const { log } = await open(owner.logs, key());
    await redis.send('SCRIPT', 'FLUSH');
    await log.append([text('a'), done]);
    expectExactly(await readAll(await found(owner.logs, log.record)), -1, [text('a'), done]);
  });

  it('serves a thousand viewers of an instance, it has two connections of it', async () => {
    await using redis = await startRedis();
    const prefix = newPrefix();
    await using owner = startInstance(redis, prefix);
    await using other = startInstance(redis, prefix, { limits: roomyLimits });
    const { log } = await open(owner.logs, key());
    const there = await found(other.logs, log.record);
    const viewers = Array.from({ length: 1_000 }, () => new Viewer(there));
    await log.append([text('a')]);
    await Promise.all(viewers.map((viewer) => viewer.untilText('a')));
    const clients = await redis.send('INFO', 'clients');
    // Two instances, and the one that asks.
    expect(/connected_clients:(\d+)/.exec(clients)?.[1]).toBe('5');
    await log.append([done]);
    await Promise.all(viewers.map(({ finished }) => finished));
  });
});

const lostEvent = {
  type: 'error',
  message: 'The answer is too long',
  retryable: false,
  ...{ usage: cancelled.usage, costUsd: null, timing: cancelled.timing, config: 'default', model: 'm' },
};
