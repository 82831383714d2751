/** What clients see of two instances that share a Redis: the same as of one. */
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { doors, readAll, refusalOf, terminalOf, textOf, type AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, plainConfig, startTestService, type TestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { newPrefix, redisForAllTests } from './support/stream-logs.ts';

finishesCleanly();

const client = (url: string) =>
  createTRPCClient<AnyConfigRouter>({ links: [httpLink({ url: `${url}/trpc`, transformer: superjson })] });
const configs = { default: plainConfig, leaves: { ...plainConfig, on_disconnect: { cancel_after_ms: 150 } } };

requires('redis-server')('of two instances', () => {
  const redis = redisForAllTests();
  let a: TestService;
  let b: TestService;

  beforeEach(async () => {
    const env = { REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}` };
    a = await startTestService({ configs, env });
    b = await startTestService({ configs, env: { ...env, ANTHROPIC_BASE_URL: a.upstream.url } });
  });
  afterEach(async () => {
    await b[Symbol.asyncDispose]();
    await a[Symbol.asyncDispose]();
    for (const service of [a, b]) {
      for (const [what, left] of Object.entries(service.leftovers())) expect(left, `${what} left over`).toBe(0);
    }
  });

  describe.each(doors)('over $name', (door) => {
    it('a viewer that moves to the other one after every event gets the next, and upstream is called once', async () => {
      a.upstream.enqueue({ kind: 'manual' });
      const generationId = crypto.randomUUID();
      const views = [door.stream(a.url, ask('hi', { generationId }))];
      const request = await a.upstream.nextRequest();
      const pieces: string[] = [];
      for (let k = 0; k < 20; k += 1) {
        const piece = `${k} é“ `;
        pieces.push(piece);
        await request.text(piece);
        await views.at(-1)!.until((event) => event.type === 'text' && event.text.endsWith(piece));
        const { url } = k % 2 === 0 ? b : a;
        const lastEventId = `${generationId}:${k}`;
        const follows = k % 3 === 0;
        views.push(
          follows
            ? door.follow(url, { generationId, lastEventId })
            : door.stream(url, ask('hi', { generationId, lastEventId })),
        );
      }
      request.finish();
      const seen = await Promise.all(views.map(readAll));
      seen.forEach((each, at) => {
        expect(textOf(each)).toBe(pieces.slice(Math.max(0, at - 1)).join(''));
        expect(terminalOf(each)).toEqual(terminalOf(seen[0]!));
      });
      expect(terminalOf(seen[0]!).type).toBe('done');
      expect(a.upstream.requestCount).toBe(1);
    });

    it('a cancel through the other one closes upstream, and reports what was used', async () => {
      a.upstream.enqueue({ kind: 'manual' });
      const generationId = crypto.randomUUID();
      const view = door.stream(a.url, ask('hi', { generationId }));
      const request = await a.upstream.nextRequest();
      await request.text('half of it ');
      await view.until((event) => event.type === 'text');
      expect((await client(b.url).llm.cancel.mutate({ generationId })).outcome).toBe('cancelled');
      expect(await request.outcome).toBe('client_closed');
      const end = { type: 'cancelled', reason: 'requested', usage: { estimated: true, outputTokens: 3 } };
      expect(terminalOf(await readAll(view))).toMatchObject(end);
      expect((await client(b.url).llm.cancel.mutate({ generationId })).outcome).toBe('already_ended');
    });

    it('a cancel that overtook its start holds on the other one', async () => {
      const generationId = crypto.randomUUID();
      await expect(client(b.url).llm.cancel.mutate({ generationId })).rejects.toThrow('No such generation');
      const refusal = await refusalOf(door.stream(a.url, ask('hi', { generationId })));
      expect(refusal).toMatchObject({ code: 'generation_not_found' });
      expect(a.upstream.requestCount).toBe(0);
    });

    it('the disconnect clock counts the viewers of both', async () => {
      a.upstream.enqueue({ kind: 'manual' });
      const generationId = crypto.randomUUID();
      const here = door.stream(a.url, ask('hi', { config: 'leaves', generationId }));
      const request = await a.upstream.nextRequest();
      await request.text('x');
      await here.until((event) => event.type === 'text');
      const there = door.follow(b.url, { generationId });
      await there.until((event) => event.type === 'text');
      here.close();
      // Twice the time of the clock.
      await new Promise((resolve) => setTimeout(resolve, 300));
      await request.text('still ');
      await there.until((event) => event.type === 'text' && event.text.includes('still'));
      there.close();
      expect(await request.outcome).toBe('client_closed');
      await expect
        .poll(() => client(b.url).llm.generation.query({ generationId }))
        .toMatchObject({ state: 'cancelled', terminal: { reason: 'disconnected' } });
    });

    it('the one that leaves moves the viewers of the other one’s generations, which go on there', async () => {
      a.upstream.enqueue({ kind: 'manual' });
      const generationId = crypto.randomUUID();
      const owner = door.stream(a.url, ask('hi', { generationId }));
      const request = await a.upstream.nextRequest();
      const moved = door.follow(b.url, { generationId });
      await request.text('first ');
      await moved.until((event) => event.type === 'text');
      const draining = b.service.core.generations.drain(60_000);
      if (door.name === 'rest') await moved.completed;
      await draining;
      moved.close();
      const again = door.follow(a.url, { generationId, lastEventId: moved.seen.at(-1)!.id });
      await request.text('second');
      request.finish();
      expect(textOf(await readAll(again))).toBe('second');
      expect(textOf(await readAll(owner))).toBe('first second');
    });
  });

  it('both give the same snapshot and list, and refuse alike', async () => {
    const generationId = crypto.randomUUID();
    const [door] = doors;
    await readAll(door!.stream(a.url, ask('hi', { generationId })));
    const [here, there] = await Promise.all(
      [a, b].map(({ url }) => client(url).llm.generation.query({ generationId })),
    );
    expect(there).toEqual(here);
    expect(await client(b.url).llm.generations.query()).toEqual(await client(a.url).llm.generations.query());
    const refusals = [
      door!.stream(b.url, ask('other', { generationId })),
      door!.follow(b.url, { generationId, lastEventId: `${generationId}:9999` }),
      door!.follow(b.url, { generationId: crypto.randomUUID() }),
    ];
    const codes = await Promise.all(refusals.map(refusalOf));
    expect(codes.map(({ code }) => code)).toEqual(['conflict', 'invalid_input', 'generation_not_found']);
  });
});
