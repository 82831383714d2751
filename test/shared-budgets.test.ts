/** What a caller may use up in a day, over all instances with one Redis: it outlasts their restarts, and what Redis forgets. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DayBudgets, type SharedSpending } from '../src/access/budgets.ts';
import { parseRedisUrl } from '../src/settings/redis-url.ts';
import { CallerCounts } from '../src/stream-log/redis/caller-counts.ts';
import { connect, type Connection } from '../src/stream-log/redis/connection.ts';
import { places, racingConfigs, racingEnv, spentAtWorst, spentInRace } from './support/budget-race.ts';
import { doors, readAll, refusalOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { sha256 } from './support/key-file.ts';
import { ask, startTestService, type TestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { newPrefix, quickTiming, redisForAllTests } from './support/stream-logs.ts';

finishesCleanly();

const usedUp = 'The budget of 1 US dollars a day is used up';
const callers = ['alice', ...doors.map(({ name }) => name)];
const keyOf = (name: string) => `key-of-${name}`;
const answer = { kind: 'text' as const, text: 'an answer', usage: { output_tokens: 4 } };
const dayMs = 24 * 60 * 60_000;

requires('redis-server')('on two instances', () => {
  const redis = redisForAllTests();
  let a: TestService;
  let b: TestService;
  let env: Readonly<Record<string, string>>;

  beforeEach(async () => {
    const LLM_API_KEYS = callers.map((name) => `${name}:${sha256(keyOf(name))}`).join(',');
    env = { ...racingEnv, LLM_API_KEYS, REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}` };
    a = await startTestService({ configs: racingConfigs, env });
    b = await startTestService({ configs: racingConfigs, env: { ...env, ANTHROPIC_BASE_URL: a.upstream.url } });
  });
  afterEach(async () => {
    for (const service of [b, a]) await service[Symbol.asyncDispose]();
  });

  it('a dollar that was spent on one is refused on both, at every door', async () => {
    for (const door of doors) {
      a.upstream.enqueue(answer);
      await readAll(door.stream(a.url, ask('hi'), keyOf(door.name)));
      for (const { url } of [b, a]) {
        const refusal = await refusalOf(door.stream(url, ask('hi'), keyOf(door.name)));
        expect(refusal, door.name).toMatchObject({ code: 'rate_limited', message: usedUp, retryable: true });
        expect(refusal.retryAfterMs).toBeGreaterThan(0);
        expect(refusal.retryAfterMs).toBeLessThanOrEqual(dayMs);
      }
    }
    expect(a.upstream.requestCount).toBe(doors.length);
  });

  it('a hundred starts at once spend less than the dollar and what runs in the places of both', async () => {
    const dollars = await spentInRace({ services: [a, b], upstream: a.upstream, key: keyOf('alice') });
    expect(dollars).toBeGreaterThan(0);
    expect(dollars).toBeLessThan(1 + places * 0.25);
  });

  it('they spend 3.25 dollars at worst, as on one', async () => {
    expect(await spentAtWorst({ services: [a, b], upstream: a.upstream, key: keyOf('alice') })).toBe(3.25);
    for (const { url } of [a, b]) {
      expect((await refusalOf(doors[0]!.stream(url, ask('hi'), keyOf('alice')))).message).toBe(usedUp);
    }
  });

  it('what was spent outlasts the instance that spent it', async () => {
    a.upstream.enqueue(answer);
    await readAll(doors[0]!.stream(a.url, ask('hi'), keyOf('alice')));
    await a[Symbol.asyncDispose]();
    a = await startTestService({ configs: racingConfigs, env });
    expect((await refusalOf(doors[0]!.stream(a.url, ask('hi'), keyOf('alice')))).message).toBe(usedUp);
    expect(a.upstream.requestCount).toBe(0);
  });
});

describe('an instance', () => {
  const limits = { tokensPerCallerPerDayMax: 10, costPerCallerPerDayMax: Infinity };
  const alice = { name: 'alice' };
  const spent = (outputTokens: number) => ({
    usage: { inputTokens: 0, outputTokens, cacheReadInputTokens: 0, cacheCreationInputTokens: 0 },
    costUsd: null,
  });
  const refused = expect.objectContaining({ code: 'rate_limited' }) as Error;

  it('goes on with what it last knew of the others while it can’t ask', async () => {
    let answers: () => Promise<{ tokens: number; costUsd: number }> = async () => ({ tokens: 6, costUsd: 0 });
    const budgets = new DayBudgets(limits, { exchangeUsed: () => answers(), onBack() {} });
    await budgets.checkAll(alice);
    answers = () => Promise.reject(new Error('out of reach'));
    budgets.spend('alice', spent(3));
    await budgets.checkAll(alice);
    budgets.spend('alice', spent(1));
    await expect(budgets.checkAll(alice)).rejects.toEqual(refused);
    // A store that comes back without its data takes nothing back.
    answers = async () => ({ tokens: 0, costUsd: 0 });
    await expect(budgets.checkAll(alice)).rejects.toEqual(refused);
  });

  it('asks nobody about a caller without a budget', () => {
    const asked: SharedSpending = { exchangeUsed: () => expect.fail('asked'), onBack() {} };
    const unlimited = { tokensPerCallerPerDayMax: Infinity, costPerCallerPerDayMax: Infinity };
    expect(new DayBudgets(unlimited, asked).checkAll(alice)).toBeUndefined();
  });
});

requires('redis-server')('what an instance has written', () => {
  const redis = redisForAllTests();
  const day = Math.floor(Date.now() / dayMs);
  let connection: Connection;
  let prefix: string;
  beforeEach(async () => {
    prefix = newPrefix();
    connection = await open();
  });
  afterEach(() => connection.close());
  const open = () =>
    connect(parseRedisUrl(redis.current.url), {
      signal: new AbortController().signal,
      callMs: 5_000,
      onError: () => undefined,
    });
  const instance = (name: string, on = connection) => {
    const counts = new CallerCounts(name, quickTiming);
    counts.connected(on, prefix);
    return counts;
  };
  const nothing = { tokens: 0, costUsd: 0 };

  it('is a sum that only grows, so that a call may be repeated or come late', async () => {
    const [one, other] = [instance('one'), instance('other')];
    const now = { tokens: 12, costUsd: 3e-7 };
    for (const here of [{ tokens: 5, costUsd: 1e-7 }, now, now, { tokens: 5, costUsd: 1e-7 }]) {
      expect(await one.exchangeUsed('alice', day, here)).toEqual(nothing);
    }
    expect(await other.exchangeUsed('alice', day, { tokens: 1, costUsd: 0 })).toEqual(now);
    expect(await instance('third').exchangeUsed('alice', day, nothing)).toEqual({ tokens: 13, costUsd: 3e-7 });
    expect(await other.exchangeUsed('alice', day + 1, nothing)).toEqual(nothing);
    expect(await other.exchangeUsed('bob', day, nothing)).toEqual(nothing);
  });

  it('is kept until the day is over, and not for ever', async () => {
    await instance('one').exchangeUsed('alice', day, { tokens: 1, costUsd: 0 });
    const [key] = /\S+:used:\d+/.exec(await redis.current.send('KEYS', `${prefix}:*:used:*`))!;
    const leftMs = Number((await redis.current.send('PTTL', key)).slice(1));
    expect(leftMs).toBeGreaterThan((day + 1) * dayMs - Date.now());
    expect(leftMs).toBeLessThanOrEqual(dayMs + 60 * 60_000);
  });

  it('is written again when Redis is back and has forgotten it', async () => {
    const [one, other] = [instance('one'), instance('other')];
    const limits = { tokensPerCallerPerDayMax: 10, costPerCallerPerDayMax: Infinity };
    const budgets = new DayBudgets(limits, one);
    const usage = { inputTokens: 0, outputTokens: 10, cacheReadInputTokens: 0, cacheCreationInputTokens: 0 };
    for (const name of ['alice', 'bob']) budgets.spend(name, { usage, costUsd: 0.5 });
    await expect.poll(async () => (await other.exchangeUsed('bob', day, nothing)).tokens).toBe(10);
    await redis.current.send('FLUSHALL');
    expect(await other.exchangeUsed('alice', day, nothing)).toEqual(nothing);
    one.back();
    for (const name of ['alice', 'bob']) {
      const used = async () => other.exchangeUsed(name, day, nothing);
      await expect.poll(used).toEqual({ tokens: 10, costUsd: 0.5 });
    }
  });

  it('is in Redis when the instance has left, also what it wrote last', async () => {
    const leaving = await open();
    const one = instance('one', leaving);
    const writing = one.exchangeUsed('alice', day, { tokens: 7, costUsd: 1 });
    await one.leave();
    leaving.close();
    await writing;
    expect(await instance('other').exchangeUsed('alice', day, nothing)).toEqual({ tokens: 7, costUsd: 1 });
  });
});
