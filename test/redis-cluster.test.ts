/** On a cluster: what a standalone Redis promises, also while slots move and a primary is lost. `FAULT_RUNS=200` repeats these. */
import { expect, it } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import type { RedisStreamLogs } from '../src/stream-log/redis/redis-logs.ts';
import type { LogBatch, StreamLog } from '../src/stream-log/stream-log.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { cancelled, done, expectExactly, key, nobody, open, readAll, text } from './support/log-events.ts';
import { startCluster, type TestCluster } from './support/redis-cluster.ts';
import { requires } from './support/skip.ts';
import { newPrefix, quickTiming, redisLogs } from './support/stream-logs.ts';

finishesCleanly();

const runs = Number(process.env['FAULT_RUNS'] ?? 1);
/** Enough to have some on every node. */
const generations = 40;

async function startAll(writer: RedisStreamLogs, reader: RedisStreamLogs) {
  return Promise.all(
    Array.from({ length: generations }, async () => {
      const { log } = await open(writer, key());
      const batches: LogBatch[] = [];
      const there = (await reader.find(log.record)) as StreamLog;
      const view = await there.read(-1, new AbortController().signal);
      const watching = view.pipe((batch) => void batches.push(batch));
      return { log, batches, watching };
    }),
  );
}

async function loseNothing(fault: (cluster: TestCluster) => Promise<void>): Promise<void> {
  await using cluster = await startCluster();
  const prefix = newPrefix();
  // A failover takes longer than a test's lease.
  const options = { timing: { ...quickTiming, beatsMissedMax: 1_000, patienceMs: 60_000 } };
  await using writer = redisLogs(cluster, prefix, options);
  await using reader = redisLogs(cluster, prefix, options);
  const running = await startAll(writer, reader);
  const all: LlmEvent[] = [];
  const say = async (piece: string) => {
    all.push(text(piece));
    await Promise.all(running.map(async ({ log }) => log.append([text(piece)])));
  };
  for (let n = 0; n < 10; n += 1) await say(`${n} `);
  const faulty = fault(cluster);
  for (let n = 0; n < 10; n += 1) {
    await say(`meanwhile ${n} `);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await faulty;
  await say('after that');
  await Promise.all(running.map(async ({ log }) => log.append([done])));
  await Promise.all(running.map(({ watching }) => watching));
  for (const { batches, log } of running) {
    expectExactly(batches, -1, [...all, done]);
    expectExactly(await readAll((await reader.find(log.record))!), -1, [...all, done]);
  }
}

requires('redis-server', 'redis-cli')('a cluster', () => {
  it.each([
    ['that keeps still', async () => {}],
    ['whose slots move', async (cluster) => cluster.moveSlots()],
    ['that loses a primary', async (cluster) => cluster.killPrimary()],
  ] as [string, (cluster: TestCluster) => Promise<void>][])(
    '%s loses nothing of what runs',
    { timeout: 240_000 + runs * 60_000 },
    async (name, fault) => {
      for (let run = 0; run < runs; run += 1) await loseNothing(fault);
      if (runs > 1) console.log(`a cluster ${name}: ${runs} times exact`);
    },
  );

  it('is found behind one address, and cancels and lists across its nodes', async () => {
    await using cluster = await startCluster();
    const [url = ''] = cluster.url.split(',');
    const prefix = newPrefix();
    await using writer = redisLogs({ url }, prefix);
    await using reader = redisLogs(cluster, prefix);
    const keys = Array.from({ length: 10 }, () => key());
    for (const each of keys) {
      const { log } = await open(writer, each, { ...nobody, cancel: () => void log.append([cancelled]) });
      expect(await (await reader.find(each))!.cancel()).toEqual(cancelled);
    }
    const listed = await reader.list('alice', { limit: 100 });
    expect(listed.map(({ record }) => record.generationId)).toEqual(
      keys.map(({ generationId }) => generationId).toReversed(),
    );
  });
});
