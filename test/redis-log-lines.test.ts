/** With Redis: what an operator reads in the log about it. */
import { expect, it } from 'vitest';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { done, key, open, text } from './support/log-events.ts';
import { startRedis } from './support/redis.ts';
import { found, startInstance, Viewer } from './support/redis-instances.ts';
import { requires } from './support/skip.ts';
import { newPrefix, quickTiming } from './support/stream-logs.ts';

finishesCleanly();

/** Log lines as objects, without their times. */
function recorder() {
  const lines: Record<string, unknown>[] = [];
  const destination = {
    write(line: string) {
      const { time: _time, ...facts } = JSON.parse(line) as Record<string, unknown>;
      lines.push(facts);
    },
  };
  const named = (message: string) => lines.filter(({ msg }) => msg === message);
  return { lines: new Telemetry({ logLevel: 'info', logContent: false, destination }), all: lines, named };
}

requires('redis-server')('the log says', () => {
  it('once that Redis is out of reach and why, and once that it is back, however much fails meanwhile', async () => {
    await using redis = await startRedis({ keeps: 'all' });
    const { lines, named, all } = recorder();
    const timing = { ...quickTiming, patienceMs: 150, beatsMissedMax: 10_000 };
    await using owner = startInstance(redis, newPrefix(), { timing, lines });
    await owner.logs.connect();
    const logs = await Promise.all(Array.from({ length: 20 }, async () => (await open(owner.logs, key())).log));
    await redis.kill();
    for (const log of logs) void log.append([text('a')]);
    await expect.poll(() => named('Redis is out of reach')).toHaveLength(1);
    await redis.restart();
    await expect.poll(() => named('Redis is back')).toHaveLength(1);
    expect(named('Redis is back')[0]!['outOfReachMs']).toBeGreaterThan(0);
    await Promise.all(logs.map(async (log) => log.append([done])));
    const failing = named('calls to Redis fail, and are repeated').map(({ kind }) => kind);
    expect(failing.length).toBeGreaterThan(0);
    expect(new Set(failing).size).toBe(failing.length);
    await expect
      .poll(() => named('calls to Redis fail no more').map(({ kind }) => kind))
      .toEqual(expect.arrayContaining(failing));
    expect(named('Redis is out of reach')).toHaveLength(1);
    expect(JSON.stringify(all)).not.toContain('redis.sock');
  });

  it('that generations of an instance that is gone were ended, and whose they were where it comes back', async () => {
    await using redis = await startRedis();
    const prefix = newPrefix();
    const [ownersLog, othersLog] = [recorder(), recorder()];
    await using owner = startInstance(redis, prefix, { lines: ownersLog.lines });
    await using other = startInstance(redis, prefix, { lines: othersLog.lines });
    const opened = await Promise.all(Array.from({ length: 5 }, () => open(owner.logs, key())));
    const viewers = await Promise.all(opened.map(async ({ log }) => new Viewer(await found(other.logs, log.record))));
    owner.pause();
    await Promise.all(viewers.map(({ finished }) => finished));
    const reaped = () =>
      othersLog
        .named('generations of an instance that is gone were ended')
        .reduce((sum, { generations }) => sum + Number(generations), 0);
    await expect.poll(reaped).toBe(5);
    owner.resume();
    const fenced = () =>
      ownersLog
        .named('generations of this instance were ended by another, which took it for gone')
        .reduce((sum, { generations }) => sum + Number(generations), 0);
    await expect.poll(fenced).toBe(5);
  });

  it('that Redis had forgotten logs, which were written again', async () => {
    await using redis = await startRedis();
    const { lines, named } = recorder();
    await using owner = startInstance(redis, newPrefix(), { lines });
    const { log } = await open(owner.logs, key());
    await log.append([text('a')]);
    const viewer = new Viewer(log);
    await viewer.untilText('a');
    await redis.kill();
    await redis.restart();
    await expect.poll(() => named('Redis had forgotten parts of logs, which were written again')).not.toEqual([]);
    expect(named('Redis had forgotten parts of logs, which were written again')[0]).toMatchObject({ reopened: 1 });
    await log.append([done]);
    await viewer.finished;
  });
});
