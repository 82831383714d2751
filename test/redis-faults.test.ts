/**
 * What viewers see, and what a producer is told, when an instance or Redis fails: one test for each fault. `FAULT_RUNS=200`
 * repeats each story that has seeds, and prints how often which outcome came; `FAULT_SEED=7` runs one seed alone.
 */
import { expect, it } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import type { Producer } from '../src/stream-log/stream-log.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { cancelled, done, expectExactly, key, nobody, open, readAll, text } from './support/log-events.ts';
import { startRedis } from './support/redis.ts';
import { faultRows, lost } from './support/redis-fault-rows.ts';
import { found, startInstance, stoppable, Viewer } from './support/redis-instances.ts';
import { randomOf, seedsOf } from './support/seeded.ts';
import { requires } from './support/skip.ts';
import { newPrefix, quickTiming, redisForAllTests, redisLogs, roomyLimits } from './support/stream-logs.ts';

finishesCleanly();

const { signal } = new AbortController();
const runs = Number(process.env['FAULT_RUNS'] ?? 1);
const seeds = seedsOf(runs, process.env['FAULT_SEED']);

requires('redis-server')('a story with the outcome that is promised:', () => {
  it.each(faultRows)('$name', { timeout: 60_000 + runs * 15_000 }, async ({ name, outcomes, run }) => {
    const counts: Record<string, number> = {};
    for (const seed of seeds) {
      const outcome = await run(randomOf(seed)).catch((error: unknown) => {
        throw new Error(`FAULT_SEED=${seed}`, { cause: error });
      });
      expect(outcomes, `FAULT_SEED=${seed}`).toContain(outcome);
      counts[outcome] = (counts[outcome] ?? 0) + 1;
    }
    if (runs > 1) console.log(`${name}: ${JSON.stringify(counts)}`);
  });
});

requires('redis-server')('when an instance fails', () => {
  const redis = redisForAllTests();

  it('has shown its viewers nothing that Redis has not got', async () => {
    await using owner = startInstance(redis.current, newPrefix());
    const { log } = await open(owner.logs, key());
    const viewer = new Viewer(log);
    await log.append([text('a')]);
    await viewer.untilText('a');
    owner.pause();
    await log.append([text('b')]);
    for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);
    expect(viewer.text).toBe('a');
    owner.resume();
    await viewer.untilText('ab');
    await log.append([done]);
    await viewer.finished;
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

requires('redis-server')('when Redis is killed and restarted', () => {
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

requires('redis-server')('a viewer that moved to the owner', () => {
  it('may know an event to which Redis has not answered yet, and goes on after it', async () => {
    await using redis = await startRedis();
    await using owner = startInstance(redis, newPrefix());
    const { log } = await open(owner.logs, key());
    await log.append([text('a')]);
    // Nothing can have been answered within this turn.
    const reader = await log.read(1, signal);
    await log.append([text('b')]);
    expect((await reader.next()).value?.map(({ event }) => event)).toEqual([text('b')]);
    await reader.return();
  });
});

requires('redis-server')('when Redis', () => {
  it('is out of reach for longer than the bound, the generation stops, its viewers are moved, and the log gets its end', async () => {
    await using redis = await startRedis({ keeps: 'all' });
    const prefix = newPrefix();
    const options = { outageMs: 300, timing: { ...quickTiming, patienceMs: 200, beatsMissedMax: 1_000 } };
    await using owner = startInstance(redis, prefix, options);
    await using other = startInstance(redis, prefix, { ...options, outageMs: 60_000 });
    await Promise.all([owner.logs.connect(), other.logs.connect()]);
    const { producer, stopped } = stoppable();
    const { log } = await open(owner.logs, key(), producer);
    await log.append([text('a')]);
    const there = new Viewer(await found(other.logs, log.record));
    await there.untilText('a');
    const reader = await log.read(1, signal);
    const waiting = reader.next();
    // A busy machine may have let a beat wait for longer than the patience of this test.
    await expect.poll(() => owner.logs.reachable).toBe(true);
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

  it('serves a thousand viewers of an instance, it has as many connections of it as for one: two', async () => {
    await using redis = await startRedis();
    const prefix = newPrefix();
    await using owner = startInstance(redis, prefix);
    await using other = startInstance(redis, prefix, { limits: roomyLimits });
    const { log } = await open(owner.logs, key());
    const there = await found(other.logs, log.record);
    const viewers: Viewer[] = [];
    for (const [count, piece] of [
      [1, 'a'],
      [1_000, 'b'],
    ] as const) {
      while (viewers.length < count) viewers.push(new Viewer(there));
      await log.append([text(piece)]);
      await Promise.all(viewers.map((viewer) => viewer.untilText(piece)));
      const clients = await redis.send('CLIENT', 'LIST');
      // Those of two instances, and the one that asks.
      expect(clients.match(/^id=/gm)).toHaveLength(5);
    }
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
