/** What a caller may use up in a day: counted when a generation ends, and no start after it is used up. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Access } from '../src/access/access.ts';
import { DayBudgets } from '../src/access/budgets.ts';
import { HeldBytes } from '../src/access/held-bytes.ts';
import { places, racingConfigs, racingEnv, spentAtWorst, spentInRace } from './support/budget-race.ts';
import { doors, readAll, refusalOf, terminalOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { keyFileForEachTest, sha256 } from './support/key-file.ts';
import { defaultLimits } from './support/limits.ts';
import { ask, plainConfig, startTestService, type TestService } from './support/service.ts';

finishesCleanly();
const file = keyFileForEachTest();
const dayMs = 24 * 60 * 60_000;

/** With a price by which each answer below costs a dollar. */
const priced = { ...plainConfig, price: { input: 0, output: 1_000_000, cache_write: 0, cache_read: 0 } };

async function start(
  env: Readonly<Record<string, string>>,
  configs: Readonly<Record<string, unknown>> = { default: priced },
): Promise<TestService> {
  await file.write([
    { name: 'alice', sha256: sha256('of-alice') },
    { name: 'bob', sha256: sha256('of-bob') },
    { name: 'rich', sha256: sha256('of-rich'), limits: { LLM_TOKENS_PER_CALLER_PER_DAY_MAX: 1_000_000 } },
    { name: 'poor', sha256: sha256('of-poor'), limits: { cost_per_caller_per_day_max: 0.5 } },
    { name: 'once', sha256: sha256('of-once'), limits: { startsPerMinuteMax: 1 } },
    { name: 'single', sha256: sha256('of-single'), limits: { generations_per_caller_max: 1 } },
  ]);
  return startTestService({ configs, env: { LLM_API_KEYS_FILE: file.path, ...env } });
}

const spent = (outputTokens: number, costUsd: number | null) => ({
  usage: { inputTokens: 0, outputTokens, cacheReadInputTokens: 0, cacheCreationInputTokens: 0 },
  costUsd,
});

const tokens = (input: number, output: number) => ({
  kind: 'text' as const,
  text: 'an answer',
  usage: { input_tokens: input, output_tokens: output, cache_read_input_tokens: 3, cache_creation_input_tokens: 4 },
});

describe.each(doors)('over $name', (door) => {
  const run = async ({ url }: TestService, key: string) => readAll(door.stream(url, ask('hi'), key));
  const refusal = ({ url }: TestService, key: string) => refusalOf(door.stream(url, ask('hi'), key));

  it('tokens of every kind count, and a start beyond them is refused until the day is over', async () => {
    await using service = await start({ LLM_TOKENS_PER_CALLER_PER_DAY_MAX: '30' });
    service.upstream.enqueue(tokens(10, 5), tokens(1, 0), tokens(10, 5), tokens(20, 5));
    await run(service, 'of-alice');
    await run(service, 'of-alice');
    // 22 and 8 tokens.
    const refused = await refusal(service, 'of-alice');
    expect(refused).toMatchObject({ code: 'rate_limited', retryable: true });
    expect(refused.message).toBe('The budget of 30 tokens a day is used up');
    expect(refused.retryAfterMs).toBeGreaterThan(0);
    expect(refused.retryAfterMs).toBeLessThanOrEqual(dayMs);
    expect(service.upstream.requestCount).toBe(2);
    // Others have budgets of their own, of the size that their keys say.
    await run(service, 'of-bob');
    await run(service, 'of-rich');
    await run(service, 'of-rich');
  });

  it('dollars count, and a key may have another budget', async () => {
    await using service = await start({ LLM_COST_PER_CALLER_PER_DAY_MAX: '1.50' });
    for (let each = 0; each < 3; each += 1) service.upstream.enqueue(tokens(0, 1));
    await run(service, 'of-poor');
    expect((await refusal(service, 'of-poor')).message).toBe('The budget of 0.5 US dollars a day is used up');
    await run(service, 'of-alice');
    await run(service, 'of-alice');
    expect((await refusal(service, 'of-alice')).message).toBe('The budget of 1.5 US dollars a day is used up');
    expect(service.upstream.requestCount).toBe(3);
  });

  it('an attach is no start: it is served when the budget is used up', async () => {
    await using service = await start({ LLM_COST_PER_CALLER_PER_DAY_MAX: '1' });
    service.upstream.enqueue(tokens(0, 1));
    const generationId = crypto.randomUUID();
    const asked = ask('hi', { generationId });
    const seen = await readAll(door.stream(service.url, asked, 'of-alice'));
    expect(await readAll(door.stream(service.url, asked, 'of-alice'))).toEqual(seen);
    expect((await refusal(service, 'of-alice')).code).toBe('rate_limited');
  });
});

const [sse] = doors;

it('what a cancelled generation has cost by estimate counts', async () => {
  await using service = await start({ LLM_COST_PER_CALLER_PER_DAY_MAX: '1' });
  service.upstream.enqueue({ kind: 'manual' });
  const generationId = crypto.randomUUID();
  const view = sse!.stream(service.url, ask('hi', { generationId }), 'of-alice');
  const request = await service.upstream.nextRequest();
  await request.text('some words that upstream never counted');
  await view.until((event) => event.type === 'text');
  await service.service.core.generations.cancel({ name: 'alice' }, generationId);
  expect(terminalOf(await readAll(view))).toMatchObject({ type: 'cancelled', usage: { estimated: true } });
  expect((await refusalOf(sse!.stream(service.url, ask('hi'), 'of-alice'))).code).toBe('rate_limited');
});

describe('a hundred starts at once against a budget of one dollar, with ten places and answers of 25 cents', () => {
  it('spend less than the dollar and what runs in the places', async () => {
    await using service = await start(racingEnv, racingConfigs);
    const racers = { services: [service], upstream: service.upstream, key: 'of-alice' };
    const dollars = await spentInRace(racers);
    expect(dollars).toBeGreaterThanOrEqual(1);
    expect(dollars).toBeLessThan(1 + places * 0.25);
  });

  it('spend 3.25 dollars at worst: 75 cents, and ten answers that were admitted before one of them ended', async () => {
    await using service = await start(racingEnv, racingConfigs);
    const racers = { services: [service], upstream: service.upstream, key: 'of-alice' };
    expect(await spentAtWorst(racers)).toBe(3.25);
    const { message } = await refusalOf(sse!.stream(service.url, ask('hi'), 'of-alice'));
    expect(message).toBe('The budget of 1 US dollars a day is used up');
  });
});

it('a start that waited for its place is refused where the budget was used up meanwhile', async () => {
  const limits = { ...defaultLimits, tokensPerCallerPerDayMax: 10 };
  const budgets = new DayBudgets(limits, { exchangeUsed: async () => ({ tokens: 0, costUsd: 0 }), onBack() {} });
  let given = 0;
  const access = new Access({
    keys: undefined,
    budgets,
    allowedOrigins: [],
    allowedHosts: [],
    loopback: true,
    limits,
    held: new HeldBytes(limits),
    shared: {
      async take() {
        // The generation that had the place ends while Redis is asked for it.
        budgets.spend('alice', spent(10, null));
        return true;
      },
      give: () => void (given += 1),
      eval: () => Promise.reject(new Error('no start was to be counted')),
    },
  });
  await expect(access.admitGeneration({ name: 'alice' }, 0)).rejects.toMatchObject({ code: 'rate_limited' });
  expect(given).toBe(1);
});

it('a key may have other limits of starts and of generations at once', async () => {
  await using service = await start({});
  await readAll(sse!.stream(service.url, ask('hi'), 'of-once'));
  await service.upstream.nextRequest();
  expect((await refusalOf(sse!.stream(service.url, ask('hi'), 'of-once'))).message).toBe(
    'At most 1 generations may be started in a minute',
  );
  service.upstream.enqueue({ kind: 'manual' });
  const view = sse!.stream(service.url, ask('hi'), 'of-single');
  const request = await service.upstream.nextRequest();
  expect((await refusalOf(sse!.stream(service.url, ask('hi'), 'of-single'))).message).toBe(
    'At most 1 generations at once',
  );
  request.finish();
  await readAll(view);
});

describe('a day', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2030-05-05T22:00:00Z') }));
  afterEach(() => void vi.useRealTimers());

  it('is one of UTC: a refusal says how long it goes on, and the next one begins with nothing used', () => {
    const budgets = new DayBudgets({ tokensPerCallerPerDayMax: 10, costPerCallerPerDayMax: Infinity });
    budgets.spend('alice', spent(10, null));
    expect(() => budgets.check({ name: 'alice' })).toThrow(
      expect.objectContaining({ code: 'rate_limited', retryAfterMs: 2 * 60 * 60_000 }),
    );
    vi.setSystemTime('2030-05-05T23:59:59.999Z');
    expect(() => budgets.check({ name: 'alice' })).toThrow(expect.objectContaining({ retryAfterMs: 1 }));
    vi.setSystemTime('2030-05-06T00:00:00Z');
    expect(() => budgets.check({ name: 'alice' })).not.toThrow();
  });

  it('remembers a hundred thousand callers, and forgets first whoever has spent nothing for the longest time', () => {
    const budgets = new DayBudgets({ tokensPerCallerPerDayMax: 1, costPerCallerPerDayMax: Infinity });
    const isUsedUp = (name: string) => {
      try {
        budgets.check({ name });
        return false;
      } catch {
        return true;
      }
    };
    budgets.spend('first', spent(1, 0));
    budgets.spend('second', spent(1, 0));
    budgets.spend('first', spent(1, 0));
    for (let at = 0; at < 99_999; at += 1) budgets.spend(`caller-${at}`, spent(1, 0));
    expect(['first', 'second', 'caller-0', 'caller-99998'].map(isUsedUp)).toEqual([true, false, true, true]);
  });
});
