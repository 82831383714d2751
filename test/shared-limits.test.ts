/** The limits of a caller that hold over all instances with one Redis, as README's table says. */
import { createHash } from 'node:crypto';
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../src/settings/redis-url.ts';
import { CallerCounts } from '../src/stream-log/redis/caller-counts.ts';
import { connect, type Connection } from '../src/stream-log/redis/connection.ts';
import { doors, readAll, refusalOf, terminalOf, type AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, startTestService, type TestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { newPrefix, quickTiming, redisForAllTests } from './support/stream-logs.ts';

finishesCleanly();

const [alice, bob] = ['key-of-alice', 'key-of-bob'];
const digest = (key: string) => createHash('sha256').update(key).digest('hex');
const limits = {
  LLM_API_KEYS: `alice:${digest(alice)},bob:${digest(bob)}`,
  LLM_GENERATIONS_PER_CALLER_MAX: '2',
  LLM_STARTS_PER_MINUTE_MAX: '4',
  LLM_BARS_PER_CALLER_MAX: '1',
};
const client = ({ url }: TestService) =>
  createTRPCClient<AnyConfigRouter>({
    links: [httpLink({ url: `${url}/trpc`, transformer: superjson, headers: { authorization: `Bearer ${alice}` } })],
  });

requires('redis-server')('the limits of a caller over two instances', () => {
  const redis = redisForAllTests();
  let a: TestService;
  let b: TestService;

  beforeEach(async () => {
    const env = { ...limits, REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}` };
    a = await startTestService({ env });
    b = await startTestService({ env: { ...env, ANTHROPIC_BASE_URL: a.upstream.url } });
  });
  afterEach(async () => {
    for (const service of [b, a]) {
      await service[Symbol.asyncDispose]();
      for (const [what, left] of Object.entries(service.leftovers())) expect(left, `${what} left over`).toBe(0);
    }
  });

  describe.each(doors)('over $name', (door) => {
    it('generations at once are counted on both, and one that ends on one makes room on the other', async () => {
      a.upstream.enqueue({ kind: 'manual' }, { kind: 'manual' }, { kind: 'manual' });
      const first = door.stream(a.url, ask('hi'), alice);
      await first.until(({ type }) => type === 'start');
      const firstRequest = await a.upstream.nextRequest();
      const second = door.stream(b.url, ask('hi'), alice);
      await second.until(({ type }) => type === 'start');
      const refused = { code: 'rate_limited', message: 'At most 2 generations at once', retryAfterMs: 1_000 };
      for (const { url } of [a, b]) expect(await refusalOf(door.stream(url, ask('hi'), alice))).toMatchObject(refused);

      const other = door.stream(b.url, ask('hi'), bob);
      await other.until(({ type }) => type === 'start');
      firstRequest.finish();
      await readAll(first);
      const third = await untilAdmitted(() => door.stream(b.url, ask('hi'), alice));
      for (const view of [second, other, third]) view.close();
    });

    it('starts are counted on both, and refused with the time after which one is taken again', async () => {
      for (const { url } of [a, b, a, b]) {
        const view = await untilAdmitted(() => door.stream(url, ask('hi'), alice));
        expect(terminalOf(await readAll(view)).type).toBe('done');
      }
      for (const { url } of [a, b]) {
        const refusal = await refusalOf(door.stream(url, ask('hi'), alice));
        expect(refusal).toMatchObject({ code: 'rate_limited', retryable: true });
        expect(refusal.message).toContain('4 generations may be started in a minute');
        expect(refusal.retryAfterMs).toBeGreaterThan(0);
        expect(refusal.retryAfterMs).toBeLessThanOrEqual(60_000);
      }
      expect(terminalOf(await readAll(door.stream(b.url, ask('hi'), bob))).type).toBe('done');
    });

    /** The place of a generation that has just ended is given back a moment later. */
    async function untilAdmitted(open: () => ReturnType<typeof door.stream>) {
      for (;;) {
        const view = open();
        const admitted = await view.until(() => true).catch(() => undefined);
        if (admitted) return view;
        const { message } = await refusalOf(view);
        if (message !== 'At most 2 generations at once') throw new Error(message);
      }
    }
  });

  it('ids that are barred are counted on both, and one more is not barred', async () => {
    const [barred, free] = [crypto.randomUUID(), crypto.randomUUID()];
    await expect(client(a).llm.cancel.mutate({ generationId: barred })).rejects.toThrow('No such generation');
    await expect(client(b).llm.cancel.mutate({ generationId: barred })).rejects.toThrow('No such generation');
    await expect(client(b).llm.cancel.mutate({ generationId: free })).rejects.toMatchObject({
      data: { llm: { code: 'rate_limited', retryable: true, retryAfterMs: expect.any(Number) as number } },
    });
    const [door] = doors;
    const ended = await readAll(door!.stream(a.url, ask('hi', { generationId: free }), alice));
    expect(terminalOf(ended).type).toBe('done');
    const refusal = await refusalOf(door!.stream(a.url, ask('hi', { generationId: barred }), alice));
    expect(refusal.code).toBe('generation_not_found');
  });
});

requires('redis-server')('what an instance has counted', () => {
  const redis = redisForAllTests();
  let connection: Connection;
  let prefix: string;
  beforeEach(async () => {
    prefix = newPrefix();
    connection = await connect(parseRedisUrl(redis.current.url), {
      signal: new AbortController().signal,
      callMs: 5_000,
      onError: () => undefined,
    });
  });
  afterEach(() => connection.close());
  const instance = (name: string) => {
    const counts = new CallerCounts(name, quickTiming);
    counts.connected(connection, prefix);
    return counts;
  };

  it('counts no more once it has been silent for its lease', async () => {
    const [dead, other] = [instance('dead'), instance('other')];
    expect(await dead.take('alice', 1)).toBe(true);
    expect(await other.take('alice', 1)).toBe(false);
    await expect.poll(() => other.take('alice', 1)).toBe(true);
  });

  it('is written again after Redis has forgotten it, and is gone when the instance leaves', async () => {
    const [one, other] = [instance('one'), instance('other')];
    expect(await one.take('alice', 1)).toBe(true);
    await redis.current.send('FLUSHALL');
    one.renew();
    // One connection: the renewal is there before this asks.
    expect(await other.take('alice', 1)).toBe(false);
    await one.leave();
    expect(await other.take('alice', 1)).toBe(true);
  });

  it('stays right whatever is taken and given at once', async () => {
    const [one, other] = [instance('one'), instance('other')];
    const taken = await Promise.all(Array.from({ length: 20 }, (_, at) => (at % 2 ? one : other).take('alice', 8)));
    const granted = taken.filter(Boolean).length;
    expect(granted).toBeGreaterThan(0);
    expect(granted).toBeLessThanOrEqual(8);
    taken.forEach((got, at) => got && (at % 2 ? one : other).give('alice'));
    await expect.poll(() => one.take('alice', 1)).toBe(true);
  });

  it('is all that counts while Redis is out of reach', async () => {
    const alone = new CallerCounts('alone', quickTiming);
    expect([await alone.take('alice', 2), await alone.take('alice', 2), await alone.take('alice', 2)]).toEqual([
      true,
      true,
      false,
    ]);
    alone.give('alice');
    expect(await alone.take('alice', 2)).toBe(true);
  });
});
