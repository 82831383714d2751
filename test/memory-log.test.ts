/** What the memory log does beyond what every stream log promises: in the same call, and within bounds over all logs. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import { MemoryStreamLogs, type MemoryLogsLimits } from '../src/stream-log/memory.ts';
import type { LogBatch, StreamLog } from '../src/stream-log/stream-log.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { block, done, expectExactly, key, open, plain, readAll, text } from './support/log-events.ts';
import { roomyLimits } from './support/stream-logs.ts';

finishesCleanly();

const KiB = 1024;
const secondMs = 1_000;
const roomy = roomyLimits;

/** A log with these events after its `start`. */
async function filled(logs: MemoryStreamLogs, events: readonly LlmEvent[], of = key()): Promise<StreamLog> {
  const { log } = await open(logs, of);
  if (events.length > 0) await log.append(events);
  return log;
}

describe('piping', () => {
  it('hands over the existing events, then each batch in the call that appends it, and ends with the log', async () => {
    const log = await filled(new MemoryStreamLogs(roomy), [text('a'), text('b')]);
    const seen: unknown[] = [];
    const reader = await log.read(-1, new AbortController().signal);
    const piped = reader.pipe((batch) => void seen.push(...plain([batch])));
    expect(seen).toEqual([
      [0, expect.objectContaining({ type: 'start' })],
      [2, text('ab')],
    ]);
    void log.append([text('c')]);
    expect(seen.at(-1)).toEqual([3, text('c')]);
    void log.append([text('d'), done]);
    expect(seen.slice(-2)).toEqual([
      [4, text('d')],
      [5, done],
    ]);
    await piped;
  });

  it('merges the events that arrive while a sink is busy, and stops when its signal aborts', async () => {
    const log = await filled(new MemoryStreamLogs(roomy), []);
    const leaving = new AbortController();
    const seen: unknown[] = [];
    let release = () => {};
    let left = 0;
    const reader = await log.read(0, leaving.signal, () => (left += 1));
    const piped = reader.pipe((batch) => {
      seen.push(...plain([batch]));
      return new Promise((resolve) => (release = resolve));
    });
    for (const piece of ['a', 'b', 'c']) void log.append([text(piece)]);
    expect(seen).toEqual([[1, text('a')]]);
    release();
    await new Promise(setImmediate);
    expect(seen).toEqual([
      [1, text('a')],
      [3, text('bc')],
    ]);
    leaving.abort();
    release();
    await piped;
    await log.append([text('late')]);
    expect(seen).toHaveLength(2);
    expect(left).toBe(1);
  });
});

describe('a full log', () => {
  it('refuses a batch whole, and takes a terminal event on its own', async () => {
    const logs = new MemoryStreamLogs({ ...roomy, logBytesMax: 8 * KiB, logRetentionMs: 0 });
    const log = await filled(logs, [text('a'.repeat(4 * KiB))]);
    const before = logs.bytes;
    for (const batch of [
      [text('b'), text('c'.repeat(8 * KiB))],
      [text('c'.repeat(8 * KiB)), done],
    ]) {
      await expect(log.append(batch)).rejects.toMatchObject({ code: 'log_limit' });
    }
    expect(logs.bytes).toBe(before);
    expect(await log.status()).toMatchObject({ state: 'running', lastOffset: 1 });
    const raw = { padding: 'x'.repeat(8 * KiB) };
    await log.append([{ ...done, usage: { ...done.usage, raw } }]);
    expect((await readAll(log)).flat().map(({ event }) => event.type)).toEqual(['start', 'text', 'done']);
    expect(logs.bytes).toBe(0);
  });

  it('of many small events is full sooner than their text is long', async () => {
    const logs = new MemoryStreamLogs({ ...roomy, logBytesMax: 64 * KiB });
    const { log } = await open(logs, key());
    let events = 0;
    await expect(
      (async () => {
        for (; ; events += 1) await log.append([block(events)]);
      })(),
    ).rejects.toMatchObject({ code: 'log_limit' });
    expect(events * JSON.stringify(block(0)).length).toBeLessThan(64 * KiB);
    expect(logs.bytes).toBeLessThanOrEqual(64 * KiB);
  });
});

describe('all logs together', () => {
  const size = 10 * KiB;
  const limits: MemoryLogsLimits = { ...roomy, logBytesMax: 2 * size, logsBytesMax: 4 * size };
  const full = [text('a'.repeat(size))];

  it('make room by dropping ended ones, the earliest end first, and never a running one', async () => {
    const logs = new MemoryStreamLogs(limits);
    const running = await filled(logs, full);
    const endsLast = await filled(logs, full);
    const endsFirst = await filled(logs, [...full, done]);
    await endsLast.append([done]);
    const another = await filled(logs, full);
    expect(await logs.find(endsFirst.record)).toBeUndefined();
    expect(await logs.find(endsLast.record)).toBe(endsLast);
    await filled(logs, full);
    expect(await logs.find(endsLast.record)).toBeUndefined();
    for (const kept of [running, another]) expect(await logs.find(kept.record)).toBe(kept);
    expect(logs.bytes).toBeLessThanOrEqual(limits.logsBytesMax);
  });

  it('refuse another one if all of them run, and accept it when one has ended', async () => {
    const logs = new MemoryStreamLogs({ ...limits, logsBytesMax: 2 * size + 2 * KiB });
    const running = await filled(logs, full);
    await filled(logs, [text('a'.repeat(size - KiB))]);
    const refused = key();
    await expect(open(logs, refused)).rejects.toMatchObject({ code: 'at_capacity', retryAfterMs: expect.any(Number) });
    expect(await logs.find(refused)).toBeUndefined();
    await running.append([done]);
    expect((await open(logs, refused)).created).toBe(true);
  });

  it('end a growing generation if there is nothing left to drop', async () => {
    const logs = new MemoryStreamLogs({ ...limits, logsBytesMax: 2 * size });
    const log = await filled(logs, full);
    const other = await filled(logs, []);
    await expect(other.append(full)).rejects.toMatchObject({ code: 'log_limit' });
    await other.append([done]);
    expect(await log.status()).toMatchObject({ state: 'running' });
  });

  it('let the readers of a dropped one read its whole text, and let nobody else find it', async () => {
    const logs = new MemoryStreamLogs({ ...limits, logsBytesMax: 2 * size, viewerBatchBytesMax: KiB });
    const pieces = Array.from({ length: 10 }, () => text('a'.repeat(KiB)));
    const log = await filled(logs, [...pieces, done]);
    const reader = await log.read(0, new AbortController().signal);
    const first = await reader.next();
    await filled(logs, full);
    expect(await logs.find(log.record)).toBeUndefined();
    await expect(open(logs, log.record)).rejects.toMatchObject({ code: 'generation_not_found' });
    const batches: LogBatch[] = [first.value!];
    for (let next = await reader.next(); !next.done; next = await reader.next()) batches.push(next.value);
    expectExactly(batches, 0, [...pieces, done]);
  });

  it('cost the caller that holds the most its oldest ones, and nobody else any', async () => {
    const logs = new MemoryStreamLogs({ ...limits, logsBytesMax: 6 * size });
    const first = await filled(logs, [...full, done], key('bob'));
    const many: StreamLog[] = [];
    for (let turn = 0; turn < 20; turn += 1) many.push(await filled(logs, [...full, done], key('eve')));
    expect(await logs.find(first.record)).toBe(first);
    const kept = await Promise.all(many.map(({ record }) => logs.find(record)));
    expect(kept.indexOf(many.at(-1))).toBe(19);
    expect(kept.filter((log) => log === undefined)).toEqual(kept.slice(0, kept.lastIndexOf(undefined) + 1));
    expect(logs.bytes).toBeLessThanOrEqual(6 * size);
  });

  it('leave room for others, whatever one caller runs or keeps', async () => {
    const logs = new MemoryStreamLogs({ ...limits, logsBytesMax: 8 * size, logsBytesPerCallerMax: 3 * size });
    const ended = await filled(logs, [...full, done], key('eve'));
    const running = await filled(logs, full, key('eve'));
    const another = await filled(logs, full, key('eve'));
    expect(await logs.find(ended.record)).toBeUndefined();
    await expect(another.append(full)).rejects.toMatchObject({ code: 'log_limit' });
    await running.append([text('a'.repeat(size - 3 * KiB))]);
    await expect(open(logs, key('eve'))).rejects.toMatchObject({
      code: 'rate_limited',
      retryAfterMs: expect.any(Number),
    });
    expect((await open(logs, key('bob'))).created).toBe(true);
  });

  it('are the same store for a caller whose last log made room for its next', async () => {
    const logs = new MemoryStreamLogs({ ...limits, logsBytesMax: size, logBytesMax: size });
    const before = await filled(logs, [text('a'.repeat(size - 2 * KiB)), done]);
    const after = await filled(logs, [text('a'.repeat(size - 2 * KiB)), done]);
    expect(await logs.find(before.record)).toBeUndefined();
    expect(await logs.list('alice', { limit: 10 })).toEqual([after]);
    expect(await logs.find(after.record)).toBe(after);
  });

  it('count nothing once they are dropped', async () => {
    const logs = new MemoryStreamLogs({ ...limits, logRetentionMs: 0 });
    for (let turn = 0; turn < 10; turn += 1) await filled(logs, [...full, block(turn), done]);
    expect(logs.bytes).toBe(0);
  });
});

describe('time', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('a log is kept for its time after its own end, and its id is spent for longer', async () => {
    const logs = new MemoryStreamLogs(roomy);
    const early = await filled(logs, [text('a'), done]);
    vi.advanceTimersByTime(20 * secondMs);
    const late = await filled(logs, [done]);
    const running = await filled(logs, []);
    vi.advanceTimersByTime(40 * secondMs - 1);
    expect(await logs.find(early.record)).toBe(early);
    vi.advanceTimersByTime(1);
    expect(await logs.find(early.record)).toBeUndefined();
    await expect(open(logs, early.record)).rejects.toMatchObject({ code: 'generation_not_found' });
    expect(await logs.find(late.record)).toBe(late);
    vi.advanceTimersByTime(20 * secondMs);
    expect(await logs.find(late.record)).toBeUndefined();
    vi.advanceTimersByTime(roomy.tombstoneMs);
    expect(await logs.find(running.record)).toBe(running);
    expect((await open(logs, early.record)).created).toBe(true);
  });

  it('with a retention of zero, a log is dropped at its end, and its readers read on', async () => {
    const logs = new MemoryStreamLogs({ ...roomy, logRetentionMs: 0 });
    const log = await filled(logs, [text('a')]);
    const reading = readAll(log, 0);
    await log.append([done]);
    expect(await logs.find(log.record)).toBeUndefined();
    expectExactly(await reading, 0, [text('a'), done]);
    expect(await logs.list('alice', { limit: 10 })).toEqual([]);
  });

  it('no more ids are remembered than the bound says, and the oldest are forgotten', async () => {
    const logs = new MemoryStreamLogs({ ...roomy, logRetentionMs: 0, tombstonesMax: 3 });
    const spent: StreamLog[] = [];
    for (let turn = 0; turn < 5; turn += 1) spent.push(await filled(logs, [done]));
    for (const { record } of spent.slice(2)) {
      await expect(open(logs, record)).rejects.toMatchObject({ code: 'generation_not_found' });
    }
    for (const { record } of spent.slice(0, 2)) expect((await open(logs, record)).created).toBe(true);
  });

  it('a bar holds for its time, and only if there is no log', async () => {
    const logs = new MemoryStreamLogs(roomy);
    const barred = key();
    expect(await logs.bar(barred, 10 * secondMs)).toBeUndefined();
    await expect(open(logs, barred)).rejects.toMatchObject({ code: 'generation_not_found' });
    expect((await open(logs, { ...barred, caller: 'bob' })).created).toBe(true);
    vi.advanceTimersByTime(10 * secondMs);
    const { log } = await open(logs, barred);
    expect(await logs.bar(barred, 10 * secondMs)).toBe(log);
    expect(await logs.find(barred)).toBe(log);
  });

  it('cancels of unknown ids free no spent id, and their number is bounded', async () => {
    const logs = new MemoryStreamLogs({
      ...roomy,
      logRetentionMs: 0,
      tombstonesMax: 2,
      barsMax: 4,
      barsPerCallerMax: 3,
    });
    const { record } = await filled(logs, [done]);
    const refused: unknown[] = [];
    for (let turn = 0; turn < 10; turn += 1) {
      await logs.bar(key('eve'), 10 * secondMs).catch((error: unknown) => refused.push(error));
    }
    expect(refused).toHaveLength(7);
    expect(refused[0]).toMatchObject({ code: 'rate_limited', retryAfterMs: 10 * secondMs });
    await expect(open(logs, record)).rejects.toMatchObject({ code: 'generation_not_found' });
    const barred = key('bob');
    await logs.bar(barred, 10 * secondMs);
    for (let turn = 0; turn < 5; turn += 1) await logs.bar(key('mallory'), 10 * secondMs).catch(() => {});
    await expect(open(logs, barred)).rejects.toMatchObject({ code: 'generation_not_found' });
    vi.advanceTimersByTime(10 * secondMs);
    expect(await logs.bar(key('eve'), secondMs)).toBeUndefined();
  });

  it('a bar does not shorten the time of a spent id', async () => {
    const logs = new MemoryStreamLogs({ ...roomy, logRetentionMs: 0 });
    const { record } = await filled(logs, [done]);
    await logs.bar(record, secondMs);
    vi.advanceTimersByTime(2 * secondMs);
    await expect(open(logs, record)).rejects.toMatchObject({ code: 'generation_not_found' });
  });

  it('disposing leaves no timer', async () => {
    const logs = new MemoryStreamLogs(roomy);
    await filled(logs, [done]);
    expect(vi.getTimerCount()).toBe(1);
    await logs[Symbol.asyncDispose]();
    expect(vi.getTimerCount()).toBe(0);
    expect(logs.bytes).toBe(0);
  });
});
