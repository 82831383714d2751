/**
 * What can happen to instances and to Redis, as stories whose outcome is promised. A seed decides how much is written before,
 * when the fault comes, and who watches. Each returns its outcome in a word, or throws.
 */
import { expect } from 'vitest';
import type { LlmEvent } from '../../src/protocol.ts';
import { END } from '../../src/stream-log/redis/scripts/end.ts';
import type { StreamLog } from '../../src/stream-log/stream-log.ts';
import { cancelled, done, expectExactly, key, nobody, open, readAll, text } from './log-events.ts';
import { startRedis, type TestRedis } from './redis.ts';
import { found, startInstance, stoppable, Viewer, type Instance } from './redis-instances.ts';
import { between, type Random } from './seeded.ts';
import { newPrefix, quickTiming, type redisLogs } from './stream-logs.ts';

export interface FaultRow {
  readonly name: string;
  /** The outcomes that are promised. */
  readonly outcomes: readonly string[];
  run(random: Random): Promise<string>;
}

export const lost = { type: 'error', code: 'producer_lost', retryable: true };

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Two instances on a Redis of their own, and a generation that the first of them runs. */
interface Stage extends AsyncDisposable {
  readonly redis: TestRedis;
  readonly owner: Instance;
  readonly other: Instance;
  readonly log: StreamLog;
  /** The log as the other instance has it. */
  readonly there: StreamLog;
  /** All events that were appended. */
  readonly all: LlmEvent[];
  /** Settles when the producer was asked to stop. */
  readonly stopped: Promise<void>;
  /** Appends a piece of text. */
  say(piece: string): Promise<void>;
  /** Appends some pieces, at once or slowly, and returns the last one. */
  saySome(): Promise<string>;
}

async function setStage(
  random: Random,
  keeps: 'all' | 'nothing' = 'nothing',
  options: Parameters<typeof redisLogs>[2] = {},
): Promise<Stage> {
  const redis = await startRedis({ keeps });
  const prefix = newPrefix();
  const owner = startInstance(redis, prefix, options);
  const other = startInstance(redis, prefix, options);
  // A machine that is busy takes longer to load the client than some of these instances wait for Redis.
  await Promise.all([owner.logs.connect(), other.logs.connect()]);
  const { producer, stopped } = stoppable();
  const { log } = await open(owner.logs, key(), producer);
  const there = await found(other.logs, log.record);
  const all: LlmEvent[] = [];
  const say = async (piece: string) => {
    all.push(text(piece));
    await log.append([text(piece)]);
  };
  return {
    redis,
    owner,
    other,
    log,
    there,
    all,
    stopped,
    say,
    async saySome() {
      const paceMs = random() < 0.5 ? 0 : random() * 5;
      for (let left = between(random, 1, 40); left > 0; left -= 1) {
        await say(`${all.length},`);
        if (paceMs > 0) await sleep(paceMs);
      }
      return `${all.length - 1},`;
    },
    async [Symbol.asyncDispose]() {
      await owner[Symbol.asyncDispose]();
      await other[Symbol.asyncDispose]();
      await redis[Symbol.asyncDispose]();
    },
  };
}

const textOf = (events: readonly LlmEvent[]) =>
  events.map((event) => (event.type === 'text' ? event.text : '')).join('');

/** Some viewers on each of the logs. */
function watchBoth(random: Random, ...logs: readonly StreamLog[]): Viewer[] {
  return logs.flatMap((log) => Array.from({ length: between(random, 1, 3) }, () => new Viewer(log)));
}

/** Each has a true beginning of what was written, then one `producer_lost`, and all of them the same. */
function expectLost(viewers: readonly Viewer[], all: readonly LlmEvent[], atLeast = ''): void {
  for (const viewer of viewers) {
    expect(textOf(all).startsWith(viewer.text)).toBe(true);
    expect(viewer.text.startsWith(atLeast)).toBe(true);
    expect(viewer.ends).toBe(1);
    expect(viewer.last).toEqual(viewers[0]!.last);
    expect(viewer.last).toMatchObject(lost);
    expect(viewer.text).toBe(viewers[0]!.text);
  }
}

/** Each has all that was written, once and in order. */
async function expectAll(viewers: readonly Viewer[], { all, there }: Pick<Stage, 'all' | 'there'>): Promise<void> {
  await Promise.all(viewers.map(({ finished }) => finished));
  for (const { batches } of viewers) expectExactly(batches, -1, all);
  expectExactly(await readAll(there), -1, all);
}

async function finish(stage: Stage): Promise<void> {
  stage.all.push(done);
  await stage.log.append([done]);
}

function redisRestarts(keeps: 'all' | 'nothing' | 'a dump') {
  return async (random: Random): Promise<string> => {
    await using stage = await setStage(random, keeps === 'all' ? 'all' : 'nothing');
    const { redis, log, there, owner } = stage;
    const viewers = watchBoth(random, log, there);
    const before = await stage.saySome();
    await Promise.all(viewers.map((viewer) => viewer.untilText(before)));
    if (keeps === 'a dump') {
      await redis.send('SAVE');
      const forgotten = await stage.saySome();
      await Promise.all(viewers.map((viewer) => viewer.untilText(forgotten)));
    }
    // In mid-flight, or when all is said.
    const saying = random() < 0.5 ? stage.saySome() : undefined;
    await redis.kill();
    await stage.say('while it was gone,');
    await sleep(random() * 200);
    await redis.restart();
    await saying;
    await stage.saySome();
    await finish(stage);
    await expectAll(viewers, stage);
    expect(owner.logs.counts.fenced).toBe(0);
    return 'exact';
  };
}

export const faultRows: readonly FaultRow[] = [
  {
    name: 'the owner is killed: every acknowledged event, then one producer_lost',
    outcomes: ['exact'],
    async run(random) {
      await using stage = await setStage(random);
      const { owner, other, log, there, all } = stage;
      const [here, ...remote] = [new Viewer(log), ...watchBoth(random, there)] as [Viewer, ...Viewer[]];
      const last = await stage.saySome();
      if (random() < 0.5) await Promise.all(remote.map((viewer) => viewer.untilText(last)));
      owner.kill();
      // What its own viewers have seen when it dies is what it had acknowledged.
      const acknowledged = here.text;
      await Promise.all(remote.map(({ finished }) => finished));
      const late = new Viewer(await found(other.logs, log.record));
      await late.finished;
      expectLost([...remote, late], all, acknowledged);
      expect(other.logs.counts.reaped).toBe(1);
      expect(await open(other.logs, log.record)).toMatchObject({ created: false });
      return 'exact';
    },
  },
  {
    name: 'the owner is paused past its lease: it is refused, and its viewers get the end of the log',
    outcomes: ['exact'],
    async run(random) {
      await using stage = await setStage(random);
      const { owner, log, there, all, stopped } = stage;
      const viewers = watchBoth(random, log, there);
      const last = await stage.saySome();
      if (random() < 0.5) await Promise.all(viewers.map((viewer) => viewer.untilText(last)));
      owner.pause();
      void stage.say('into the void,').catch(() => {});
      await new Viewer(there).finished;
      owner.resume();
      await stopped;
      await Promise.all(viewers.map(({ finished }) => finished));
      expectLost(viewers, all);
      await expect(log.append([text('late')])).rejects.toMatchObject({ code: 'producer_lost' });
      expect(owner.logs.counts.fenced).toBe(1);
      return 'exact';
    },
  },
  {
    name: 'the owner wakes up just before it would be ended: it lives on',
    outcomes: ['exact'],
    async run(random) {
      await using stage = await setStage(random);
      const { owner, other, log, there } = stage;
      const viewers = watchBoth(random, log, there);
      await stage.saySome();
      const judged = new Promise<unknown>((resolve) => {
        other.around(END, async (call) => {
          owner.resume();
          // Sent after the beat that was held back.
          await owner.logs.find(key());
          const answer = await call();
          resolve(answer);
          return answer;
        });
      });
      owner.pause();
      // By its beat, whatever else has come meanwhile: events that were held back make the log longer than it was, too.
      expect(await judged).toBe('L');
      await stage.saySome();
      await finish(stage);
      await expectAll(viewers, stage);
      expect([owner.logs.counts.fenced, other.logs.counts.reaped]).toEqual([0, 0]);
      return 'exact';
    },
  },
  {
    name: 'Redis is killed and restarted with all its data: a stall, the exact continuation',
    outcomes: ['exact'],
    run: redisRestarts('all'),
  },
  {
    name: 'Redis is killed and restarted without data: a stall, the exact continuation',
    outcomes: ['exact'],
    run: redisRestarts('nothing'),
  },
  {
    name: 'Redis is killed and restarted from a dump: a stall, the exact continuation',
    outcomes: ['exact'],
    run: redisRestarts('a dump'),
  },
  {
    name: 'Redis answers nothing for a while (CLIENT PAUSE): a stall, the exact continuation',
    outcomes: ['exact'],
    async run(random) {
      await using stage = await setStage(random, 'nothing', { timing: { ...quickTiming, callMs: 150 } });
      const viewers = watchBoth(random, stage.log, stage.there);
      await stage.saySome();
      for (let pauses = between(random, 1, 3); pauses > 0; pauses -= 1) {
        await stage.redis.send('CLIENT', 'PAUSE', String(between(random, 1, 400)), 'ALL');
        await stage.saySome();
      }
      await finish(stage);
      await expectAll(viewers, stage);
      return 'exact';
    },
  },
  {
    name: 'connections are cut, also in the middle of a script: a stall, the exact continuation',
    outcomes: ['exact'],
    async run(random) {
      await using stage = await setStage(random);
      const viewers = watchBoth(random, stage.log, stage.there);
      for (let cuts = between(random, 1, 6); cuts > 0; cuts -= 1) {
        const saying = stage.saySome();
        const type = random() < 0.6 ? 'normal' : 'pubsub';
        await stage.redis.send('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
        await saying;
      }
      await finish(stage);
      await expectAll(viewers, stage);
      return 'exact';
    },
  },
  {
    name: 'Redis is gone for longer than the outage bound: one producer_lost, with the true account',
    outcomes: ['exact'],
    async run(random) {
      const timing = { ...quickTiming, patienceMs: 100, beatsMissedMax: 1_000 };
      await using stage = await setStage(random, 'all', { outageMs: 200, timing });
      const { redis, log, there, owner, all, stopped } = stage;
      const here = new Viewer(log);
      const last = await stage.saySome();
      await here.untilText(last);
      await redis.kill();
      if (random() < 0.5) await stage.say('nobody sees this yet,');
      await stopped;
      // Moved, not ended: another instance may see Redis.
      await here.finished;
      expect(here.ends).toBe(0);
      const usage = { ...cancelled.usage, outputTokens: 77 };
      await expect(log.append([{ ...cancelled, usage }])).rejects.toMatchObject({ code: 'producer_lost' });
      await redis.restart();
      await expect.poll(async () => (await there.status()).state).toBe('error');
      const viewers = [new Viewer(there), new Viewer(there)];
      await Promise.all(viewers.map(({ finished }) => finished));
      expectLost(viewers, all, here.text);
      expect(viewers[0]!.last).toMatchObject({ usage });
      expect(owner.logs.counts.fenced).toBe(0);
      return 'exact';
    },
  },
  {
    name: 'a viewer moves at every event: the next one, on whichever instance',
    outcomes: ['exact'],
    async run(random) {
      await using stage = await setStage(random);
      const { log, there, all } = stage;
      const saying = (async () => {
        await stage.saySome();
        await finish(stage);
      })();
      let seen = '';
      let after = -1;
      for (let hop = 0, over = false; !over; hop += 1) {
        const reader = await (hop % 2 === 0 ? log : there).read(after, new AbortController().signal);
        const { value } = await reader.next();
        await reader.return();
        for (const { id, event, terminal } of value ?? []) {
          after = Number(id.split(':')[1]);
          if (event.type === 'text') seen += event.text;
          over = terminal;
        }
      }
      await saying;
      expect(seen).toBe(textOf(all));
      return 'exact';
    },
  },
  {
    name: 'a cancel races the end: there is one, and the answer to the cancel is that',
    outcomes: ['done', 'cancelled'],
    async run(random) {
      await using redis = await startRedis();
      const prefix = newPrefix();
      await using owner = startInstance(redis, prefix);
      await using other = startInstance(redis, prefix);
      let closing = false;
      const end = async (event: LlmEvent) => {
        if (closing) return;
        closing = true;
        await log.append([event]);
      };
      const { log } = await open(owner.logs, key(), { ...nobody, cancel: () => void end(cancelled) });
      const there = await found(other.logs, log.record);
      const viewers = watchBoth(random, log, there);
      const cancelling = there.cancel();
      for (let turns = between(random, 0, 30); turns > 0; turns -= 1) await new Promise(setImmediate);
      await end(done);
      const answer = await cancelling;
      await Promise.all(viewers.map(({ finished }) => finished));
      for (const viewer of viewers) expect([viewer.ends, viewer.last]).toEqual([1, answer]);
      return answer.type;
    },
  },
  {
    name: 'not kept: data is lost, the owner silent past its lease, and the id asked elsewhere: a second run, and the first is fenced',
    outcomes: ['run twice, the first fenced'],
    async run(random) {
      await using stage = await setStage(random);
      const { redis, owner, other, log, stopped } = stage;
      await stage.saySome();
      await other.logs.find(key());
      owner.pause();
      await redis.kill();
      await redis.restart();
      const again = await open(other.logs, log.record);
      expect(again.created).toBe(true);
      owner.resume();
      await stopped;
      await expect(log.append([text('late')])).rejects.toMatchObject({ code: 'producer_lost' });
      await again.log.append([text('the second run'), done]);
      expectExactly(await readAll(await found(owner.logs, log.record)), -1, [text('the second run'), done]);
      return 'run twice, the first fenced';
    },
  },
  {
    name: 'not kept: producer_lost was seen, then lost by a failover, and its owner was only paused: others see the real end',
    outcomes: ['some have seen producer_lost, others the real end'],
    async run(random) {
      await using stage = await setStage(random);
      const { redis, owner, other, log, there } = stage;
      await stage.saySome();
      await expect.poll(async () => (await there.status()).lastOffset, { interval: 5 }).toBe(stage.all.length);
      await redis.send('SAVE');
      const early = new Viewer(there);
      owner.pause();
      await early.finished;
      expect(early.last).toMatchObject(lost);
      await redis.kill();
      await redis.restart();
      owner.resume();
      await finish(stage);
      const late = new Viewer(await found(other.logs, log.record));
      await late.finished;
      expectExactly(late.batches, -1, stage.all);
      return 'some have seen producer_lost, others the real end';
    },
  },
];
