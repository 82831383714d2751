/** With Redis: an instance that is asked to end finishes what it runs, and sends the viewers of all else to another instance. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { EndedGeneration } from '../src/index.ts';
import { readAll, terminalOf, textOf } from './support/doors.ts';
import { lastingDoors } from './support/every-door.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { openSocket, subscription } from './support/raw-websocket.ts';
import { startRedis } from './support/redis.ts';
import { ask, startTestService, type TestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { newPrefix, quickTiming, redisForAllTests } from './support/stream-logs.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();

requires('redis-server')('an instance that is asked to end, beside another one,', () => {
  const redis = redisForAllTests();
  let stays: TestService;
  let leaves: TestService;

  beforeEach(async () => {
    const env = { REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}`, LLM_DRAIN_MS: '60000' };
    stays = await startTestService({ env });
    leaves = await startTestService({ env: { ...env, ANTHROPIC_BASE_URL: stays.upstream.url } });
    stays.upstream.respondWith({ kind: 'manual' });
  });
  afterEach(async () => {
    await leaves[Symbol.asyncDispose]();
    await stays[Symbol.asyncDispose]();
    for (const service of [stays, leaves]) {
      for (const [what, left] of Object.entries(service.leftovers())) expect(left, `${what} left over`).toBe(0);
    }
  });

  /** A generation that the staying one runs, with its first words said. */
  async function othersGeneration() {
    const generationId = crypto.randomUUID();
    const view = lastingDoors[0]!.stream(stays.url, ask('hi', { generationId }));
    const request = await stays.upstream.nextRequest();
    await request.text('first ');
    await view.until(({ type }) => type === 'text');
    return { generationId, request, view };
  }

  it.each(lastingDoors)(
    'over $name: finishes its own generations, and viewers of others’ go on at the other one',
    async (door) => {
      await using proxy = await startTcpProxy(leaves.url);
      const { generationId, request, view } = await othersGeneration();
      const moving = door.follow(proxy.url, { generationId });
      await moving.until(({ type }) => type === 'text');
      const own = door.stream(leaves.url, ask('own'));
      const ownRequest = await stays.upstream.nextRequest();
      await ownRequest.text('begun ');
      await own.until(({ type }) => type === 'text');

      proxy.retarget(stays.url);
      const { connections } = proxy;
      const stopped = leaves.service[Symbol.asyncDispose]();
      await ownRequest.text('and finished');
      ownRequest.finish();
      const seen = await readAll(own);
      expect(textOf(seen)).toBe('begun and finished');
      expect(terminalOf(seen).type).toBe('done');
      await until(() => proxy.connections > connections);
      await stopped;
      await request.text('second');
      request.finish();
      for (const each of [moving, view]) {
        const all = await readAll(each);
        expect(textOf(all)).toBe('first second');
        expect(terminalOf(all).type).toBe('done');
      }
      expect(stays.upstream.requestCount).toBe(2);
    },
  );

  it('cuts such viewers without an end: SSE without `return`, WebSocket by `reconnect`, REST just ends', async () => {
    const { generationId, request, view } = await othersGeneration();
    const input = encodeURIComponent(JSON.stringify({ json: { generationId } }));
    const [sse, rest] = await Promise.all([
      fetch(`${leaves.url}/trpc/llm.follow?input=${input}`, { headers: { accept: 'text/event-stream' } }),
      fetch(`${leaves.url}/api/llm/generations/${generationId}/events`),
    ]);
    using socket = await openSocket(leaves.url);
    socket.send(subscription(1, 'llm.follow', { generationId }));
    expect((await socket.next()).result?.type).toBe('started');
    while ((await socket.next()).result?.id !== `${generationId}:1`);
    const bodies = [sse.text(), rest.text()];
    await leaves.service[Symbol.asyncDispose]();
    const [overSse, overRest] = await Promise.all(bodies);
    expect(overSse).toContain('first ');
    expect(overSse).not.toMatch(/event: return|"done"|"error"|"cancelled"/);
    expect(overRest).toContain('first ');
    expect(overRest).not.toMatch(/event: (done|error|cancelled)/);
    expect(await socket.next()).toEqual({ id: null, method: 'reconnect' });
    request.finish();
    expect(terminalOf(await readAll(view)).type).toBe('done');
  });
});

requires('redis-server')('an instance that is asked to end while Redis is out of reach', () => {
  it.each([
    ['for a moment', 30_000],
    ['for so long that it is not ready', 50],
  ])('%s, ends when its drain time is over, and hands over all that was produced', async (_, patienceMs) => {
    await using redis = await startRedis();
    const ended: EndedGeneration[] = [];
    const service = await startTestService({
      env: { REDIS_URL: redis.url, LLM_DRAIN_MS: '100', LLM_REDIS_OUTAGE_MS: '86400000' },
      redisTiming: { ...quickTiming, patienceMs },
      onGenerationEnd: (generation) => void ended.push(generation),
    });
    const { upstream, service: running } = service;
    upstream.respondWith({ kind: 'manual' });
    const view = lastingDoors[0]!.stream(service.url, ask('hi'));
    const request = await upstream.nextRequest();
    await request.text('before ');
    await view.until(({ type }) => type === 'text');
    await redis.kill();
    const { bytes } = running.core.logs;
    const meanwhile = 'meanwhile '.repeat(1_000);
    await request.text(meanwhile);
    await until(() => running.core.logs.bytes > bytes);
    await service[Symbol.asyncDispose]();
    view.close();
    expect(await request.outcome).toBe('client_closed');
    expect(ended).toHaveLength(1);
    const [{ text, events, terminal }] = ended as [EndedGeneration];
    expect(text).toBe(`before ${meanwhile}`);
    expect(events.map(({ type }) => type)).toEqual(['start', 'text', 'error']);
    expect(events.at(-1)).toBe(terminal);
    expect(terminal).toMatchObject({ type: 'error', code: 'producer_lost', usage: { estimated: true } });
    expect(terminal.usage.outputTokens).toBeGreaterThan(0);
    for (const [what, left] of Object.entries(service.leftovers())) expect(left, `${what} left over`).toBe(0);
  });
});
