import { describe, expect, it } from 'vitest';
import { doors } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { ask, serviceForEachTest, startTestService } from './support/service.ts';

finishesCleanly();

describe('with keys, and as many generations as may run', () => {
  const test = serviceForEachTest({ env: { LLM_API_KEYS: `alice:${'0'.repeat(64)}`, LLM_GENERATIONS_MAX: '1' } });

  it.each(['/healthz', '/readyz'])('%s is answered to anyone, GET and HEAD', async (path) => {
    const url = test.current.url + path;
    for (const headers of [{}, { origin: 'https://elsewhere.example' }]) {
      const answer = await send(url, { headers });
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.text)).toEqual({ status: path === '/healthz' ? 'ok' : 'ready' });
      expect((await send(url, { method: 'HEAD', headers })).status).toBe(200);
    }
  });
});

describe('while a generation runs', () => {
  const test = serviceForEachTest();

  it('a service that drains is alive and not ready', async () => {
    const { url, upstream, service } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const view = doors[0]!.stream(url, ask('hi'));
    await view.until(({ type }) => type === 'start');
    expect((await send(`${url}/readyz`)).status).toBe(200);
    const request = await upstream.nextRequest();
    const drained = service.core.generations.drain(60_000);
    const ready = await send(`${url}/readyz`);
    expect(ready.status).toBe(503);
    expect(JSON.parse(ready.text)).toEqual({ status: 'shutting_down' });
    expect((await send(`${url}/healthz`)).status).toBe(200);
    request.finish();
    await drained;
    expect((await send(`${url}/readyz`)).status).toBe(503);
  });
});

it('a service whose Redis does not answer listens, is alive and not ready', async () => {
  await using service = await startTestService({ env: { REDIS_URL: 'unix:///nowhere/redis.sock' } });
  expect((await send(`${service.url}/healthz`)).status).toBe(200);
  const ready = await send(`${service.url}/readyz`);
  expect([ready.status, JSON.parse(ready.text)]).toEqual([503, { status: 'logs_unreachable' }]);
});
