/** With Redis: the logs that a process writes or copies take no more of its memory than the limits say. */
import { expect, it } from 'vitest';
import { WATCH } from '../src/stream-log/redis/scripts/watch.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { done, expectExactly, key, open, readAll, text } from './support/log-events.ts';
import { found, startInstance, Viewer } from './support/redis-instances.ts';
import { requires } from './support/skip.ts';
import { newPrefix, redisForAllTests, roomyLimits } from './support/stream-logs.ts';

finishesCleanly();

const KiB = 1024;
const { signal } = new AbortController();
const small = { ...roomyLimits, logBytesMax: 64 * KiB, logsBytesMax: 64 * KiB, logsBytesPerCallerMax: 48 * KiB };
const piece = (n: number) => `${n},`.padStart(KiB, 'x');

requires('redis-server')('with Redis, a process', () => {
  const redis = redisForAllTests();

  it('holds what it writes within the limits of all callers and of each, and takes new answers when there is room again', async () => {
    await using owner = startInstance(redis.current, newPrefix(), { limits: small });
    const logs = [];
    for (const caller of ['ann', 'bob']) {
      const { log } = await open(owner.logs, key(caller));
      logs.push(log);
      const viewer = new Viewer(log);
      const refused = (async () => {
        for (let n = 0; ; n += 1) {
          await log.append([text(piece(n))]);
          await viewer.untilText(`x${n},`);
        }
      })();
      await expect(refused).rejects.toMatchObject({ code: 'log_limit' });
      expect(owner.logs.bytes).toBeLessThanOrEqual(small.logsBytesMax);
      if (caller === 'ann') {
        expect(owner.logs.bytes).toBeLessThanOrEqual(small.logsBytesPerCallerMax);
        expect(owner.logs.bytes).toBeGreaterThan(small.logsBytesPerCallerMax / 2);
      }
    }
    await expect(open(owner.logs, key('ann'))).rejects.toMatchObject({ code: 'rate_limited' });
    await expect(open(owner.logs, key('cat'))).rejects.toMatchObject({ code: 'at_capacity' });
    // The end always fits, and what is kept only in case Redis forgot it makes room.
    for (const log of logs) await log.append([done]);
    const { log } = await open(owner.logs, key('cat'));
    await log.append([text(piece(0))]);
    await log.append([done]);
    expect((await (await found(owner.logs, logs[0]!.record)).status()).terminal).toEqual(done);
  });

  it('counts an event that Redis has not acknowledged with all that it takes in memory', async () => {
    await using owner = startInstance(redis.current, newPrefix(), { limits: roomyLimits });
    const { log } = await open(owner.logs, key());
    await log.append([text('first')]);
    const viewer = new Viewer(log);
    await viewer.untilText('first');
    const before = owner.logs.bytes;
    owner.pause();
    for (let n = 0; n < 1_000; n += 1) void log.append([text('a')]);
    expect(owner.logs.bytes - before).toBeGreaterThan(100 * KiB);
    owner.resume();
    await log.append([done]);
    expect(owner.logs.bytes - before).toBeLessThan(32 * KiB);
    await viewer.finished;
  });

  it('refuses a viewer of an answer whose copy does not fit, moves those of one that outgrows the room, and gives the room back', async () => {
    const prefix = newPrefix();
    await using owner = startInstance(redis.current, prefix);
    await using other = startInstance(redis.current, prefix, { limits: small });
    const { log } = await open(owner.logs, key('ann'));
    const there = await found(other.logs, log.record);
    const viewer = new Viewer(there);
    await log.append([text('begin')]);
    await viewer.untilText('begin');
    for (let n = 0; n < 60; n += 1) await log.append([text(piece(n))]);
    await viewer.finished;
    expect(viewer.ends).toBe(0);
    await expect.poll(() => other.logs.bytes).toBe(0);
    await expect.poll(async () => (await there.status()).lastOffset).toBe(61);
    await expect(there.read(-1, signal)).rejects.toMatchObject({ code: 'rate_limited' });
    expect(other.logs.bytes).toBe(0);
    await log.append([done]);
    const moved = Number(viewer.batches.at(-1)!.at(-1)!.id.split(':')[1]);
    const all = [text('begin'), ...Array.from({ length: 60 }, (_, n) => text(piece(n))), done];
    expectExactly([...viewer.batches, ...(await readAll(log, moved))], -1, all);
  });

  it('keeps few of the messages that come while it reads a log, and loses none of their events', async () => {
    const prefix = newPrefix();
    await using owner = startInstance(redis.current, prefix);
    await using other = startInstance(redis.current, prefix);
    const { log } = await open(owner.logs, key());
    const there = await found(other.logs, log.record);
    const all = [text('begin')];
    await log.append(all);
    // The answer to the first WATCH is held back until many messages have come.
    const watched = new Promise<() => void>((resolve) => {
      other.around(WATCH, async (call) => {
        const answer = await call();
        await new Promise<void>((goOn) => resolve(goOn));
        return answer;
      });
    });
    const viewer = new Viewer(there);
    const goOn = await watched;
    const here = new Viewer(log);
    for (let n = 0; n < 100; n += 1) {
      all.push(text(`${n},`));
      await log.append([text(`${n},`)]);
      await here.untilText(`${n},`);
    }
    goOn();
    await log.append([done]);
    await viewer.finished;
    expectExactly(viewer.batches, -1, [...all, done]);
    await here.finished;
  });
});
