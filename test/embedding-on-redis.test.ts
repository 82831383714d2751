/** In somebody else's tRPC app, with `redisUrl`: instances share their generations as those of the service do. */
import { expect, it } from 'vitest';
import { LlmError, type LlmEvent } from '../src/index.ts';
import { startSimulator } from '../src/simulator.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startHostApp } from './support/host-app.ts';
import { requires } from './support/skip.ts';
import { redisForAllTests } from './support/stream-logs.ts';

finishesCleanly();

requires('redis-server')('of two apps that share a Redis', () => {
  const redis = redisForAllTests();

  it('one follows what the other runs; when it ends, its viewers learn that they can go on elsewhere', async () => {
    await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
    const options = {
      baseUrl: upstream.url,
      apiKey: 'any',
      redisUrl: redis.current.url,
      limits: { drainMs: 100 },
      env: { KEY_THAT_THROWS: 'any' },
    };
    await using runs = await startHostApp(options);
    await using leaves = await startHostApp(options);
    upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const context = { req: undefined, res: undefined, info: undefined, user: undefined } as never;
    const [here, there] = [runs, leaves].map(({ router }) => router.createCaller(context));
    type Events = AsyncIterable<{ readonly id: string; readonly data: LlmEvent }>;
    const ask = { config: 'default' as const, generationId, messages: [{ role: 'user' as const, content: 'hi' }] };
    const running = ((await here!.llm.stream(ask)) as unknown as Events)[Symbol.asyncIterator]();
    const started = await running.next();
    expect(started.value).toMatchObject({ id: `${generationId}:0`, data: { type: 'start' } });
    const request = await upstream.nextRequest();

    const following = ((await there!.llm.follow({ generationId })) as unknown as Events)[Symbol.asyncIterator]();
    expect((await following.next()).value).toEqual(started.value);
    const input = encodeURIComponent(JSON.stringify({ generationId }));
    const response = await fetch(`${leaves.url}/llm.follow?input=${input}`, {
      headers: { accept: 'text/event-stream' },
    });
    const overSse = response.text();
    await request.text('first');
    const first = { id: `${generationId}:1`, data: { type: 'text', text: 'first' } };
    expect((await following.next()).value).toMatchObject(first);

    const moved = following.next();
    const stopped = leaves.llm[Symbol.asyncDispose]();
    const error: unknown = await moved.catch((thrown: unknown) => thrown);
    expect((error as Error).cause).toBeInstanceOf(LlmError);
    expect((error as Error).cause).toMatchObject({ code: 'shutting_down', data: { retryable: true } });
    const body = await overSse;
    expect(body).toContain('first');
    expect(body).not.toMatch(/event: (return|serialized-error)/);
    await stopped;

    request.finish();
    let last: LlmEvent | undefined;
    for (let next = await running.next(); !next.done; next = await running.next()) last = next.value.data;
    expect(last?.type).toBe('done');
    expect(upstream.requestCount).toBe(1);
  });
});
