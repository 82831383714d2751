import { describe, expect, it, vi } from 'vitest';
import { doors, readAll, refusalOf, terminalOf, textOf } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { openSocket } from './support/raw-websocket.ts';
import { watchServerSockets } from './support/server-sockets.ts';
import { ask, serviceForEachTest, startTestService } from './support/service.ts';
import { sleepers, tooMuch } from './support/sleepers.ts';

finishesCleanly();

describe('within the drain time', () => {
  const test = serviceForEachTest({ env: { LLM_DRAIN_MS: '60000' } });

  it.each(doors)(
    'over $name: running generations end and can be attached to, and no new ones are accepted',
    async (door) => {
      const { url, upstream, service } = test.current;
      upstream.enqueue({ kind: 'manual' });
      const asked = ask('hi', { generationId: crypto.randomUUID() });
      const view = door.stream(url, asked);
      const request = await upstream.nextRequest();
      await request.text('before ');
      const { id: lastEventId } = await view.until(({ type }) => type === 'text');

      const stopped = service[Symbol.asyncDispose]();
      expect(await refusalOf(door.stream(url, ask('new')))).toMatchObject({ code: 'shutting_down', retryable: true });
      expect((await send(`${url}/readyz`)).status).toBe(503);
      const attached = door.follow(url, { generationId: asked.generationId!, lastEventId });
      const again = door.stream(url, asked);
      await again.until(({ type }) => type === 'text');
      await request.text('after');
      await attached.until(({ type }) => type === 'text');
      request.finish();

      const whole = await Promise.all([view, again, attached].map(readAll));
      expect(whole.map(textOf)).toEqual(['before after', 'before after', 'after']);
      for (const seen of whole) expect(terminalOf(seen).type).toBe('done');
      await stopped;
      await expect(send(`${url}/healthz`)).rejects.toThrow('ECONNREFUSED');
      expect(upstream.requestCount).toBe(1);
      await eventually(() => expect(upstream.openSockets).toBe(0));
    },
  );
});

it('a request that waits for its place when the drain begins is refused, and starts nothing', async () => {
  const service = await startTestService();
  const { access, generations } = service.service.core;
  let admit = () => {};
  const admitted = new Promise<void>((resolve) => (admit = resolve));
  const real = access.admitGeneration.bind(access);
  vi.spyOn(access, 'admitGeneration').mockImplementation(async (...asked) => {
    await admitted;
    return real(...asked);
  });
  const { signal } = new AbortController();
  const waiting = generations.stream({ name: 'ann' }, ask('hi'), signal).next();
  const drained = generations.drain(0);
  admit();
  await expect(waiting).rejects.toMatchObject({ code: 'shutting_down' });
  await drained;
  expect(service.upstream.requestCount).toBe(0);
  await service[Symbol.asyncDispose]();
  for (const [what, left] of Object.entries(service.leftovers())) expect(left, `${what} left over`).toBe(0);
});

describe('after the drain time', () => {
  const test = serviceForEachTest({ env: { LLM_DRAIN_MS: '10' } });

  it('generations that still run end as cancelled: shutdown, for every viewer at every door', async () => {
    const { url, upstream, service } = test.current;
    upstream.respondWith({ kind: 'manual' });
    const asked = doors.map(() => ask('hi', { generationId: crypto.randomUUID() }));
    const views = doors.flatMap((door) => asked.map((each) => door.stream(url, each)));
    const requests = [await upstream.nextRequest(), await upstream.nextRequest(), await upstream.nextRequest()];
    for (const request of requests) await request.text('as far as ');
    for (const view of views) await view.until(({ type }) => type === 'text');

    await service[Symbol.asyncDispose]();
    for (const view of views) {
      const seen = await readAll(view);
      expect(textOf(seen)).toBe('as far as ');
      expect(terminalOf(seen)).toMatchObject({ type: 'cancelled', reason: 'shutdown', usage: { estimated: true } });
    }
    for (const request of requests) expect(await request.outcome).toBe('client_closed');
    expect(upstream.requestCount).toBe(3);
    await eventually(() => expect(upstream.openSockets).toBe(0));
  });

  it.each(sleepers)(
    'over $name: a viewer that is far behind and reads on gets all of it, and its end',
    async ({ fall }) => {
      const { url, upstream, service } = test.current;
      upstream.enqueue({ kind: 'manual' });
      using sleeper = await fall(url, ask('hi'));
      const request = await upstream.nextRequest();
      for (const block of tooMuch) request.startBlock(block);
      request.startBlock();
      await request.text('last words');
      const other = doors[0]!.follow(url, { generationId: await onlyGeneration() });
      await other.until((event) => event.type === 'text');

      const stopped = service[Symbol.asyncDispose]();
      const seen = await sleeper.read();
      const types = ['start', ...tooMuch.map(() => 'block'), 'text', 'cancelled'];
      expect(seen.map(({ type }) => type)).toEqual(types);
      await stopped;

      async function onlyGeneration(): Promise<string> {
        const [generation] = await service.core.generations.list({ name: 'anonymous' });
        return generation!.generationId;
      }
    },
  );

  it.each(sleepers)(
    'over $name: what is on its way when the last viewer has been served still arrives',
    async ({ fall }) => {
      const { url, upstream, service } = test.current;
      using sockets = watchServerSockets(url);
      upstream.enqueue({ kind: 'manual' });
      const asked = ask('hi', { generationId: crypto.randomUUID() });
      using sleeper = await fall(url, asked);
      const other = doors[0]!.stream(url, asked);
      const request = await upstream.nextRequest();
      // Until the operating system takes no more for the stopped reader, and the service holds the remaining bytes.
      let number = 0;
      for (; sockets.open[0]!.writableLength === 0; number += 1) {
        request.startBlock({ type: 'test_data', number, data: 'x'.repeat(8_192) });
        if (number > 0) await other.until((event) => event.type === 'block' && event.block['number'] === number - 1);
      }
      request.finish();
      await readAll(other);
      await eventually(() => expect(service.core.access.load.viewers).toBe(0));
      expect(sockets.open[0]!.writableLength).toBeGreaterThan(0);

      const stopped = service[Symbol.asyncDispose]();
      const seen = await sleeper.read();
      expect(seen.filter(({ type }) => type === 'block')).toHaveLength(number);
      expect(seen.at(-1)?.type).toBe('done');
      await stopped;
    },
  );

  it('clients that never read do not keep it from stopping', async () => {
    const { url, upstream, service } = test.current;
    upstream.respondWith({ kind: 'blocks', blocks: tooMuch, stopReason: 'end_turn' });
    const fallen = await Promise.all(sleepers.map(({ fall }) => fall(url, ask('hi'))));
    for (const _each of fallen) await (await upstream.nextRequest()).outcome;
    await service[Symbol.asyncDispose]();
    await expect(send(`${url}/healthz`)).rejects.toThrow('ECONNREFUSED');
    for (const sleeper of fallen) sleeper[Symbol.dispose]();
  });

  it('idle sockets are closed with the code for a shutdown', async () => {
    const { url, service } = test.current;
    using socket = await openSocket(url);
    const stopped = service[Symbol.asyncDispose]();
    expect(await socket.closed).toBe(1001);
    await stopped;
  });
});
