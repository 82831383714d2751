/** With Redis: clients whose connection is cut after every event, and who find another instance each time, miss nothing. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readAll, terminalOf, textOf } from './support/doors.ts';
import { lastingDoors } from './support/every-door.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, startTestService, type TestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { newPrefix, redisForAllTests } from './support/stream-logs.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();

const hops = 40;

requires('redis-server')('a client that is cut off at every event, and sent to the other instance each time,', () => {
  const redis = redisForAllTests();
  let a: TestService;
  let b: TestService;

  beforeEach(async () => {
    const env = { REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}` };
    a = await startTestService({ env });
    b = await startTestService({ env: { ...env, ANTHROPIC_BASE_URL: a.upstream.url } });
  });
  afterEach(async () => {
    await b[Symbol.asyncDispose]();
    await a[Symbol.asyncDispose]();
    for (const service of [a, b]) {
      for (const [what, left] of Object.entries(service.leftovers())) expect(left, `${what} left over`).toBe(0);
    }
  });

  it.each(lastingDoors)('gets the text byte for byte over $name, and upstream is called once', async (door) => {
    await using proxy = await startTcpProxy(a.url);
    a.upstream.enqueue({ kind: 'manual' });
    const view = door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() }));
    const request = await a.upstream.nextRequest();
    let sent = '';
    for (let hop = 0; hop < hops; hop += 1) {
      const piece = `${hop} é🙂\n\n“`;
      sent += piece;
      await request.text(piece);
      await view.until((event) => event.type === 'text' && event.text.endsWith(piece));
      proxy.retarget(hop % 2 === 0 ? b.url : a.url);
      proxy.cut();
    }
    request.finish();
    const seen = await readAll(view);
    expect(textOf(seen)).toBe(sent);
    expect(terminalOf(seen).type).toBe('done');
    expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length);
    expect(proxy.connections).toBeGreaterThan(hops);
    expect(a.upstream.requestCount).toBe(1);
  });
});
