/** With Redis: what was done counts, also where its answer was lost or does not come. */
import { expect, it } from 'vitest';
import { OPEN } from '../src/stream-log/redis/scripts/open.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { done, expectExactly, key, nobody, open, readAll, recordOf, startOf, text } from './support/log-events.ts';
import { startRedis } from './support/redis.ts';
import { found, startInstance, Viewer } from './support/redis-instances.ts';
import { requires } from './support/skip.ts';
import { newPrefix, quickTiming, redisForAllTests } from './support/stream-logs.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();

const asLost = async (call: () => Promise<unknown>) => {
  await call();
  throw new Error('the answer is lost');
};

requires('redis-server')('where the answer to an OPEN is lost', () => {
  const redis = redisForAllTests();

  it('the log is this instance’s own', async () => {
    const prefix = newPrefix();
    await using owner = startInstance(redis.current, prefix);
    await using other = startInstance(redis.current, prefix);
    owner.around(OPEN, asLost);
    const { log, created } = await open(owner.logs, key());
    expect(created).toBe(true);
    await log.append([text('a'), done]);
    expectExactly(await readAll(await found(other.logs, log.record)), -1, [text('a'), done]);
  });

  /** An instance on which the first request for an id was refused, since it repeats nothing. */
  async function askedOnce(prefix: string, beatMs: number) {
    const owner = startInstance(redis.current, prefix, { timing: { ...quickTiming, beatMs, patienceMs: 0 } });
    const of = key();
    await owner.logs.connect();
    owner.around(OPEN, asLost);
    await expect(open(owner.logs, of)).rejects.toMatchObject({ code: 'at_capacity' });
    return { owner, of };
  }

  it('and the request comes again, it goes on with that log and its own start', async () => {
    const prefix = newPrefix();
    const beatMs = 3_600_000;
    await using other = startInstance(redis.current, prefix, { timing: { ...quickTiming, beatMs } });
    const { owner, of } = await askedOnce(prefix, beatMs);
    await using _ = owner;
    const startedAt = '2026-11-24T00:00:00.000Z';
    const again = await owner.logs.open({ ...recordOf(of), startedAt }, { ...startOf(of), startedAt }, nobody);
    expect(again.created).toBe(true);
    await again.log.append([text('a'), done]);
    const [here, there] = [await readAll(again.log), await readAll(await found(other.logs, of))];
    expect(there.flat().map(({ json }) => json)).toEqual(here.flat().map(({ json }) => json));
    expect(again.log.record.startedAt).toBe((await found(other.logs, of)).record.startedAt);
  });

  it('and another request takes the id, nothing of the two is mixed, and the first one’s log gets an end', async () => {
    const prefix = newPrefix();
    await using other = startInstance(redis.current, prefix);
    const { owner, of } = await askedOnce(prefix, quickTiming.beatMs);
    await using _ = owner;
    const requestHash = 'cd'.repeat(32);
    const again = await owner.logs.open({ ...recordOf(of), requestHash }, startOf(of), nobody);
    expect(again.created).toBe(false);
    expect(again.log.record.requestHash).toBe(recordOf(of).requestHash);
    await expect.poll(async () => (await (await found(other.logs, of)).status()).state).toBe('error');
  });
});

requires('redis-server')('where a network swallows what Redis answers', () => {
  it('requests are refused, and what runs goes on when answers come again', async () => {
    await using redis = await startRedis({ port: 'plain' });
    await using proxy = await startTcpProxy(redis.url.replace('redis:', 'http:'));
    const prefix = newPrefix();
    const url = proxy.url.replace('http:', 'redis:');
    const timing = { ...quickTiming, callMs: 200, patienceMs: 300, beatsMissedMax: 10_000 };
    await using owner = startInstance({ url }, prefix, { timing });
    await using other = startInstance(redis, prefix, { timing });
    await Promise.all([owner.logs.connect(), other.logs.connect()]);
    const { log } = await open(owner.logs, key());
    const viewer = new Viewer(await found(other.logs, log.record));
    await log.append([text('before,')]);
    await viewer.untilText('before,');
    proxy.pause();
    await log.append([text('meanwhile,')]);
    await expect(open(owner.logs, key())).rejects.toMatchObject({ code: 'at_capacity' });
    await expect(owner.logs.find(key())).rejects.toMatchObject({ code: 'at_capacity' });
    expect(owner.logs.reachable).toBe(false);
    proxy.resume();
    await log.append([text('after'), done]);
    await viewer.finished;
    expectExactly(viewer.batches, -1, [text('before,'), text('meanwhile,'), text('after'), done]);
    await expect.poll(() => owner.logs.reachable).toBe(true);
  });
});
