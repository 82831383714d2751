/** Metrics are served to programs of this machine, or on a listener of their own, and to nobody else. */
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { samplesIn } from './support/prometheus.ts';
import { send, upgrade, type RawAnswer } from './support/raw-http.ts';
import { serviceForEachTest } from './support/service.ts';

finishesCleanly();

function expectMetrics({ status, headers, text }: RawAnswer): void {
  expect(status).toBe(200);
  expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  const names = [...samplesIn(text).keys()].map((key) => key.replace(/\{.*/, ''));
  expect(names).toEqual(
    expect.arrayContaining([
      'llm_generations_running',
      'nodejs_eventloop_lag_p99_seconds',
      'process_resident_memory_bytes',
      'nodejs_active_handles_total',
    ]),
  );
}

/** As a browser or a proxy of the same machine sends them on. */
const reachable = (url: string) => url.replace('0.0.0.0', '127.0.0.1');

describe('on loopback', () => {
  const test = serviceForEachTest({
    env: { LLM_ALLOWED_HOSTS: 'llm.example', LLM_ALLOWED_ORIGINS: 'https://app.example' },
  });

  it('the main listener serves them without a key', async () => {
    const { url, service } = test.current;
    expect(service.metricsUrl).toBe(`${url}/metrics`);
    expectMetrics(await send(`${url}/metrics`));
    expectMetrics(await send(`${url}/metrics`, { headers: { host: 'localhost:3000' } }));
  });

  it.each([
    ['the name that a proxy passes on', { host: 'llm.example' }],
    ['a proxy’s X-Forwarded-For', { 'x-forwarded-for': '203.0.113.9' }],
    ['a proxy’s Forwarded', { forwarded: 'for=203.0.113.9' }],
    ['a proxy’s Via', { via: '1.1 edge' }],
  ])('a request that bears %s finds no such route', async (_what, headers) => {
    const { status, text } = await send(`${test.current.url}/metrics`, { headers });
    expect(status).toBe(404);
    expect(text).toContain('No such route');
  });

  it.each([
    ['a name that was rebound', { host: 'evil.example' }],
    ['an origin of another site', { origin: 'https://evil.example' }],
    ['a fetch from another site', { 'sec-fetch-site': 'cross-site' }],
  ])('a request with %s is refused as at every route', async (_what, headers) => {
    expect((await send(`${test.current.url}/metrics`, { headers })).status).toBe(403);
  });

  it('only GET reads them', async () => {
    for (const method of ['HEAD', 'POST', 'PUT', 'DELETE']) {
      expect((await send(`${test.current.url}/metrics`, { method })).status, method).toBe(404);
    }
  });
});

describe('beyond loopback, without a port of their own', () => {
  const test = serviceForEachTest({ env: { HOST: '0.0.0.0', LLM_AUTH: 'none' } });

  it('nobody serves them', async () => {
    expect(test.current.service.metricsUrl).toBeUndefined();
    expect((await send(`${reachable(test.current.url)}/metrics`)).status).toBe(404);
  });
});

describe.each([
  ['loopback', {}],
  ['an address beyond it', { HOST: '0.0.0.0', LLM_AUTH: 'none' }],
])('with a port of their own, and the service on %s', (_what, env) => {
  const test = serviceForEachTest({ env: { ...env, LLM_METRICS_PORT: '0', LLM_ALLOWED_HOSTS: 'llm.example' } });

  it('they are served there, and at no other listener', async () => {
    const { url, service } = test.current;
    expect(new URL(service.metricsUrl!)).toMatchObject({ hostname: '127.0.0.1', pathname: '/metrics' });
    expectMetrics(await send(service.metricsUrl!));
    expectMetrics(await send(service.metricsUrl!, { headers: { host: 'llm.example' } }));
    expect((await send(`${reachable(url)}/metrics`)).status).toBe(404);
  });

  it.each(['/', '/healthz', '/readyz', '/openapi.json', '/api/llm/configs', '/trpc/llm.configs', '/metrics/', '/%'])(
    'that listener has no route %s',
    async (path) => {
      const { origin } = new URL(test.current.service.metricsUrl!);
      for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
        const body = method === 'POST' ? '{}' : undefined;
        const { status, headers } = await send(origin + path, { method, ...(body ? { body } : {}) });
        expect(status, method).toBeGreaterThanOrEqual(400);
        expect(headers['x-request-id']).toMatch(/^[\da-f-]{36}$/);
      }
    },
  );

  it('that listener opens no WebSocket, and looks at Host and Origin as the main one does', async () => {
    const { metricsUrl = '' } = test.current.service;
    expect((await upgrade(metricsUrl.replace('/metrics', '/trpc'))).status).toBe(404);
    for (const headers of [
      { host: 'evil.example' },
      { origin: 'https://evil.example' },
      { 'sec-fetch-site': 'cross-site' },
    ]) {
      expect((await send(metricsUrl, { headers })).status).toBe(403);
    }
  });

  it('whoever sends a body there loses the connection', async () => {
    const { metricsUrl = '' } = test.current.service;
    const request = { headers: { 'transfer-encoding': 'chunked' }, body: 'nobody reads this' };
    for (const [path, status] of [
      ['/metrics', 200],
      ['/nothing', 404],
    ] as const) {
      const answer = await send(metricsUrl.replace('/metrics', path), request);
      expect([answer.status, answer.headers.connection]).toEqual([status, 'close']);
    }
    expect((await send(metricsUrl, { headers: { connection: 'keep-alive' } })).headers.connection).toBe('keep-alive');
  });

  it('a connection that asks for many at once loses it, and one that asks for two gets both', async () => {
    const { hostname, port } = new URL(test.current.service.metricsUrl!);
    const answersTo = async (requests: number) => {
      const socket = connect({ host: hostname, port: Number(port) });
      let text = '';
      socket.setEncoding('latin1').on('data', (more: string) => (text += more));
      const last = 'GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n';
      socket.write('GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(requests - 1) + last);
      socket.on('error', () => {});
      await new Promise((resolve) => socket.once('close', resolve));
      return text.match(/HTTP\/1\.1 200/g)?.length ?? 0;
    };
    expect(await answersTo(2)).toBe(2);
    expect(await answersTo(1_000)).toBeLessThan(10);
  });

  it('they are served until the service has drained', async () => {
    const { metricsUrl = '', core } = test.current.service;
    await core.generations.drain(0);
    expectMetrics(await send(metricsUrl));
  });
});

describe('with a listener beyond loopback', () => {
  const env = { LLM_METRICS_PORT: '0', LLM_METRICS_HOST: '0.0.0.0' };
  const named = serviceForEachTest({ env: { ...env, LLM_ALLOWED_HOSTS: 'llm.example' } });

  it('a scraper may use an address or a name of the service', async () => {
    const metricsUrl = reachable(named.current.service.metricsUrl!);
    for (const host of ['10.0.0.7:9464', 'llm.example', 'localhost']) {
      expectMetrics(await send(metricsUrl, { headers: { host } }));
    }
    expect((await send(metricsUrl, { headers: { host: 'evil.example' } })).status).toBe(403);
  });
});
