/** What every stream log promises, whatever keeps it and wherever it is read. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import type { GenerationKey, LogBatch, LogPage, Producer, StreamLog } from '../src/stream-log/stream-log.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import {
  block,
  cancelled,
  done,
  expectExactly,
  key,
  nobody,
  open,
  plain,
  readAll,
  recordOf,
  text,
  thinking,
} from './support/log-events.ts';
import { logKinds, type Instances } from './support/stream-logs.ts';

finishesCleanly();

const KiB = 1024;
const { signal } = new AbortController();

/** A log with these events after its `start`, as its producer has it and as its viewers do. */
async function filled({ writer, reader }: Instances, events: readonly LlmEvent[], of = key(), producer = nobody) {
  const { log } = await open(writer, of, producer);
  for (const event of events) await log.append([event]);
  return { log, seen: writer === reader ? log : await found(reader, of) };
}

async function found(logs: Instances['reader'], of: GenerationKey): Promise<StreamLog> {
  const log = await logs.find(of);
  if (!log) throw new Error('no such log');
  return log;
}

/** Settles when a viewer would see the log this long. */
async function untilLastOffset(log: StreamLog, offset: number): Promise<void> {
  await expect.poll(async () => (await log.status()).lastOffset, { interval: 5 }).toBe(offset);
}

describe.each(logKinds)('in $name', (kind) => {
  kind.describe('reading', () => {
    it('gives everything after the cursor, under offsets that count from the start', async () => {
      await using logs = await kind.create();
      const { log, seen } = await filled(logs, [text('a'), block(1), done]);
      const [start, ...others] = plain(await readAll(seen));
      expect(start).toMatchObject([0, { type: 'start', generationId: log.record.generationId }]);
      expect(others).toEqual([
        [1, text('a')],
        [2, block(1)],
        [3, done],
      ]);
      expect(plain(await readAll(seen, 1))).toEqual([
        [2, block(1)],
        [3, done],
      ]);
      expect(await readAll(seen, 3)).toEqual([]);
    });

    it('merges adjacent text of one block under the last one’s id, and never across blocks or kinds', async () => {
      await using logs = await kind.create();
      const events = [
        ...[text('a'), text('b'), text('c', 1), text('d', 1)],
        ...[thinking('e', 1), thinking('f', 1), block(2), text('g', 1), text('h', 1)],
      ];
      const { seen } = await filled(logs, [...events, done]);
      expect(plain(await readAll(seen, 0))).toEqual([
        [2, text('ab')],
        [4, text('cd', 1)],
        [6, thinking('ef', 1)],
        [7, block(2)],
        [9, text('gh', 1)],
        [10, done],
      ]);
    });

    it('gives a live reader each event soon after it is appended, and a late one the same text', async () => {
      await using logs = await kind.create();
      const { log, seen } = await filled(logs, []);
      const reader = await seen.read(0, signal);
      for (const piece of ['a', 'b', 'c']) {
        const next = reader.next();
        await log.append([text(piece)]);
        expect((await next).value).toMatchObject([{ event: text(piece) }]);
      }
      await log.append([done]);
      expect((await reader.next()).value).toMatchObject([{ event: done, terminal: true }]);
      expect(await reader.next()).toEqual({ done: true, value: undefined });
      expect(reader.moved).toBe(false);
      expect(plain(await readAll(seen, 0))[0]).toEqual([3, text('abc')]);
    });

    it('keeps a batch within its bound, but for an event that is larger by itself', async () => {
      await using logs = await kind.create({ viewerBatchBytesMax: KiB });
      const pieces = [...Array.from({ length: 500 }, () => text('ö'.repeat(10))), text('x'.repeat(3 * KiB)), text('y')];
      const { log, seen } = await filled(logs, []);
      await log.append([...pieces, done]);
      const batches = await readAll(seen, 0);
      const sizes = batches.map((batch) => batch.map(({ event }) => ('text' in event ? event.text : '')).join(''));
      expect(sizes.filter((each) => Buffer.byteLength(each) > KiB)).toEqual(['x'.repeat(3 * KiB)]);
      expect(sizes.join('')).toBe(`${'ö'.repeat(5_000)}${'x'.repeat(3 * KiB)}y`);
    });

    it('loses nothing, doubles nothing and keeps the order, whatever is appended and wherever it begins', async () => {
      const piece = fc.record({
        type: fc.constantFrom('text' as const, 'thinking' as const),
        index: fc.nat(1),
        // Half surrogates too: upstream may cut a letter in two.
        text: fc.string({ unit: fc.constantFrom('a', 'é', '字', '"', '\\', '\n', '\ud83d', '\ude42'), maxLength: 20 }),
      });
      const event = fc.oneof({ weight: 9, arbitrary: piece }, { weight: 1, arbitrary: fc.nat(2).map(block) });
      const batches = fc.array(fc.array(event, { minLength: 1, maxLength: 20 }), { maxLength: 20 });
      await fc.assert(
        fc.asyncProperty(batches, fc.nat(), fc.integer({ min: 1, max: 200 }), async (appended, cursor, batchBytes) => {
          await using logs = await kind.create({ viewerBatchBytesMax: batchBytes });
          const { log, seen } = await filled(logs, []);
          const after = (cursor % (appended.flat().length + 2)) - 1;
          // One that reads along and one that comes when all is over.
          const along = after < 0 ? readAll(seen, after) : undefined;
          for (const each of appended) await log.append(each);
          await log.append([done]);
          const all: readonly LlmEvent[] = [...appended.flat(), done];
          for (const batch of [await along, await readAll(seen, after)]) {
            if (batch) expectExactly(batch, after, all);
          }
        }),
        { numRuns: kind.name === 'memory' ? 300 : 40 },
      );
    });

    it('ends at once when the signal aborts: waiting, before, and after', async () => {
      await using logs = await kind.create();
      const { seen } = await filled(logs, [text('a')]);
      await untilLastOffset(seen, 1);
      const leaving = new AbortController();
      const reader = await seen.read(1, leaving.signal);
      const waiting = reader.next();
      leaving.abort();
      expect((await waiting).done).toBe(true);
      expect((await reader.next()).done).toBe(true);
      expect(await readAll(seen, -1, AbortSignal.abort())).toEqual([]);
    });

    it('ends a wait when its reader returns', async () => {
      await using logs = await kind.create();
      const { log, seen } = await filled(logs, []);
      let closed = 0;
      const reader = await seen.read(0, signal, () => (closed += 1));
      const waiting = reader.next();
      await reader.return();
      expect((await waiting).done).toBe(true);
      await log.append([text('a')]);
      expect((await reader.next()).done).toBe(true);
      expect(closed).toBe(1);
    });

    it('refuses a cursor beyond the end', async () => {
      await using logs = await kind.create();
      const { log, seen } = await filled(logs, [text('a')]);
      await expect(seen.read(2, signal)).rejects.toMatchObject({ code: 'invalid_input' });
      await log.append([done]);
      await expect(seen.read(3, signal)).rejects.toMatchObject({ code: 'invalid_input' });
    });

    it('gives state and whole text at any time', async () => {
      await using logs = await kind.create();
      const { log, seen } = await filled(logs, [text('a'), thinking('hm'), text('b', 1)]);
      await untilLastOffset(seen, 3);
      expect(await seen.snapshot()).toMatchObject({ state: 'running', lastOffset: 3, terminal: undefined, text: 'ab' });
      await log.append([text('c', 1), done]);
      expect(await seen.snapshot()).toMatchObject({ state: 'done', lastOffset: 5, terminal: done, text: 'abc' });
      expect(await seen.status()).toMatchObject({ state: 'done', lastOffset: 5, terminal: done });
    });

    it('asks once for room for the whole text before it gives that, and gives none where there is no room', async () => {
      await using logs = await kind.create();
      const pieces = Array.from({ length: 1_200 }, (_, n) => text(`${n} é🙂,`));
      const { log } = await open(logs.writer, key());
      for (const piece of pieces) await log.append([piece]);
      await log.append([done]);
      const seen = await found(logs.reader, log.record);
      const asked: number[] = [];
      const room = async (bytes: number) => void asked.push(bytes);
      const whole = pieces.map((piece) => ('text' in piece ? piece.text : '')).join('');
      expect(await seen.snapshot(room)).toMatchObject({ state: 'done', lastOffset: 1_201, text: whole });
      expect(asked).toHaveLength(1);
      expect(asked[0]).toBeGreaterThanOrEqual(Buffer.byteLength(whole));
      const noRoom = () => Promise.reject(new Error('no room'));
      await expect(seen.snapshot(noRoom)).rejects.toThrow('no room');
    });

    it('has all that its producer has appended, text merged', async () => {
      await using logs = await kind.create();
      const { log } = await filled(logs, [text('a'), text('b'), block(1), thinking('c', 2), thinking('d', 2), done]);
      const { text: whole, events } = log.produced();
      expect(whole).toBe('ab');
      const [start, ...others] = events;
      expect(start).toMatchObject({ type: 'start', generationId: log.record.generationId });
      expect(others).toEqual([text('ab'), block(1), thinking('cd', 2), done]);
    });
  });

  kind.describe('one log for one generation', () => {
    it('is made once, however many ask for it at once', async () => {
      await using logs = await kind.create();
      const { writer, reader } = logs;
      const mine = key();
      const opened = await Promise.all([writer, reader, writer, reader].map((each) => open(each, mine)));
      expect(opened.filter(({ created }) => created)).toHaveLength(1);
      for (const { log } of opened) expect(log.record).toEqual(recordOf(mine));
    });

    it("is another one under another caller, who doesn't find or list it", async () => {
      await using logs = await kind.create();
      const first = key();
      const second = key();
      for (const each of [first, second]) await open(logs.writer, each);
      const theirs = { ...second, caller: 'bob' };
      expect(await logs.reader.find(theirs)).toBeUndefined();
      expect((await open(logs.writer, theirs)).created).toBe(true);
      const idsOf = async (caller: string) =>
        (await logs.reader.list(caller, { limit: 10 })).map(({ record }) => record.generationId);
      expect(await idsOf('alice')).toEqual([second.generationId, first.generationId]);
      expect(await idsOf('carol')).toEqual([]);
    });

    it('is listed in pages, newest first, and none after one that isn’t there', async () => {
      await using logs = await kind.create();
      const keys = Array.from({ length: 7 }, () => key());
      for (const each of keys) await filled(logs, [done], each);
      const newestFirst = keys.map(({ generationId }) => generationId).toReversed();
      const pages: string[] = [];
      for (let before: string | undefined; ;) {
        const page = await logs.reader.list('alice', { limit: 3, before });
        if (page.length === 0) break;
        pages.push(...page.map(({ record }) => record.generationId));
        before = pages.at(-1);
      }
      expect(pages).toEqual(newestFirst);
      const before = crypto.randomUUID();
      await expect(logs.reader.list('alice', { limit: 3, before })).rejects.toMatchObject({
        code: 'generation_not_found',
      });
    });

    it('is listed under the thread that it was opened with, in pages, and under no other', async () => {
      await using logs = await kind.create();
      const labelled = (thread?: string) => ({ ...key(), thread });
      // A lone surrogate has no bytes in UTF-8, and must not be taken for another one.
      const odd = ['\ud800', '\ud801', 'a/b', '..', 'é'.repeat(200)].map(labelled);
      const [first, second, unlabelled, third] = [labelled('chat'), labelled('chat'), labelled(), labelled('chat')];
      const theirs = { ...labelled('chat'), caller: 'bob' };
      for (const each of [...odd, first, second, unlabelled, third, theirs]) await open(logs.writer, each);
      const ids = async (caller: string, page: Partial<LogPage> = {}) =>
        (await logs.reader.list(caller, { limit: 10, ...page })).map(({ record }) => record.generationId);
      const newestFirst = [third, second, first].map(({ generationId }) => generationId);
      expect(await ids('alice', { thread: 'chat' })).toEqual(newestFirst);
      expect(await ids('alice', { thread: 'chat', limit: 1 })).toEqual(newestFirst.slice(0, 1));
      expect(await ids('alice', { thread: 'chat', before: third.generationId })).toEqual(newestFirst.slice(1));
      expect(await ids('alice', { thread: 'other' })).toEqual([]);
      expect(await ids('bob', { thread: 'chat' })).toEqual([theirs.generationId]);
      for (const each of odd) expect(await ids('alice', each), each.thread).toEqual([each.generationId]);
      await expect(ids('alice', { thread: 'chat', before: unlabelled.generationId })).rejects.toMatchObject({
        code: 'generation_not_found',
      });
      const again = await open(logs.reader, { ...first, thread: 'other' });
      expect([again.created, again.log.record.thread]).toEqual([false, 'chat']);
      expect(await ids('alice', { thread: 'other' })).toEqual([]);
    });

    it('takes nothing after its terminal event', async () => {
      await using logs = await kind.create();
      const { log, seen } = await filled(logs, [done]);
      await expect(log.append([text('late')])).rejects.toThrow('terminal');
      await expect(log.append([done])).rejects.toThrow('terminal');
      expect((await seen.status()).lastOffset).toBe(1);
    });

    it('takes no event that has no JSON, and goes on', async () => {
      await using logs = await kind.create();
      const { log, seen } = await filled(logs, []);
      const unstorable: LlmEvent = { type: 'block', index: 0, block: { type: 'new', value: 1n } };
      await expect(log.append([text('a'), unstorable])).rejects.toThrow('BigInt');
      await log.append([text('b'), done]);
      expect(plain(await readAll(seen, 0))).toEqual([
        [1, text('b')],
        [2, done],
      ]);
    });

    it('keeps an id barred that was never started, and only that', async () => {
      await using logs = await kind.create();
      const barred = key();
      expect(await logs.reader.bar(barred, 60_000)).toBeUndefined();
      await expect(open(logs.writer, barred)).rejects.toMatchObject({ code: 'generation_not_found' });
      const { log } = await filled(logs, []);
      expect((await logs.reader.bar(log.record, 60_000))?.record).toEqual(log.record);
      expect((await found(logs.reader, log.record)).record).toEqual(log.record);
    });

    it('is gone when its time is over, and its id stays spent', async () => {
      await using logs = await kind.create({ logRetentionMs: 0 });
      const { log } = await open(logs.writer, { ...key(), thread: 'chat' });
      await log.append([text('a'), done]);
      expect(await logs.reader.find(log.record)).toBeUndefined();
      expect(await logs.reader.list('alice', { limit: 10 })).toEqual([]);
      expect(await logs.reader.list('alice', { limit: 10, thread: 'chat' })).toEqual([]);
      await expect(open(logs.reader, log.record)).rejects.toMatchObject({ code: 'generation_not_found' });
      expect(await logs.reader.bar(log.record, 1)).toBeUndefined();
    });

    it('is read to its end by whoever reads it when its time is over', async () => {
      await using logs = await kind.create({ logRetentionMs: 0 });
      const { log, seen } = await filled(logs, [text('a')]);
      const reader = await seen.read(0, signal);
      await log.append([text('b'), done]);
      const batches: LogBatch[] = [];
      for (let next = await reader.next(); !next.done; next = await reader.next()) batches.push(next.value);
      expectExactly(batches, 0, [text('a'), text('b'), done]);
    });
  });

  kind.describe('a producer', () => {
    it('is asked to stop by a cancel, which settles with the end', async () => {
      await using logs = await kind.create();
      let stops = 0;
      const stop = () => {
        stops += 1;
        if (stops === 1) void Promise.resolve().then(() => log.append([text('last words'), cancelled]));
      };
      const producer: Producer = { ...nobody, cancel: stop };
      const { log, seen } = await filled(logs, [text('a')], key(), producer);
      expect(await seen.cancel()).toEqual(cancelled);
      expect(stops).toBeGreaterThan(0);
      expect(plain(await readAll(seen, 1))).toEqual([
        [2, text('last words')],
        [3, cancelled],
      ]);
      expect(await seen.cancel()).toEqual(cancelled);
    });
  });

  kind.describe('piping', () => {
    it('hands over all events in order, and ends with the log', async () => {
      await using logs = await kind.create();
      const { log, seen } = await filled(logs, [text('a'), text('b')]);
      const batches: LogBatch[] = [];
      const piped = (await seen.read(-1, signal)).pipe((batch) => void batches.push(batch));
      await log.append([text('c')]);
      await log.append([block(1), done]);
      await piped;
      expectExactly(batches, -1, [text('a'), text('b'), text('c'), block(1), done]);
    });

    it('ends for a sink that throws, and for nobody else', async () => {
      await using logs = await kind.create();
      const { log, seen } = await filled(logs, []);
      let closed = 0;
      const broken = (await seen.read(0, signal, () => (closed += 1))).pipe(() => {
        throw new Error('broken');
      });
      const batches: LogBatch[] = [];
      const piped = (await seen.read(0, signal)).pipe((batch) => void batches.push(batch));
      await log.append([text('a')]);
      await expect(broken).rejects.toThrow('broken');
      expect(closed).toBe(1);
      await log.append([done]);
      await piped;
      expectExactly(batches, 0, [text('a'), done]);
    });
  });

  kind.describe('a full log', () => {
    it('refuses a batch whole, and takes a terminal event on its own', async () => {
      await using logs = await kind.create({ logBytesMax: 8 * KiB });
      const { log, seen } = await filled(logs, [text('a'.repeat(4 * KiB))]);
      for (const batch of [
        [text('b'), text('c'.repeat(8 * KiB))],
        [text('c'.repeat(8 * KiB)), done],
      ]) {
        await expect(log.append(batch)).rejects.toMatchObject({ code: 'log_limit' });
      }
      const raw = { padding: 'x'.repeat(8 * KiB) };
      await log.append([{ ...done, usage: { ...done.usage, raw } }]);
      expect((await readAll(seen)).flat().map(({ event }) => event.type)).toEqual(['start', 'text', 'done']);
    });

    it('of many small events is full sooner than their text is long', async () => {
      await using logs = await kind.create({ logBytesMax: 64 * KiB });
      const { log } = await open(logs.writer, key());
      let events = 0;
      await expect(
        (async () => {
          for (; ; events += 1) await log.append([block(events)]);
        })(),
      ).rejects.toMatchObject({ code: 'log_limit' });
      expect(events * JSON.stringify(block(0)).length).toBeLessThan(64 * KiB);
    });
  });
});
