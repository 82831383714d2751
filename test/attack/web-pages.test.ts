/**
 * A page of another site can make a browser request any URL. None of these requests starts a generation, under whatever
 * name the browser knows the service. Over plain http and under a name other than localhost, browsers send no Sec-Fetch
 * headers.
 */
import { describe, expect, it } from 'vitest';
import { frame, framesIn, headOf, openWebSocketWire, openWire, posted, verdictOf } from '../support/attack-wire.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { serviceForEachTest, startTestService, type TestService } from '../support/service.ts';

finishesCleanly();

const name = 'dev.box';
const request = '{"config":"default","messages":[{"role":"user","content":"x"}]}';
const input = encodeURIComponent(`{"json":${request}}`);
const body = '{"messages":[{"role":"user","content":"x"}]}';
const stream = `/trpc/llm.stream?input=${input}`;
const form = { origin: 'http://evil.example', 'content-type': 'application/x-www-form-urlencoded' };

/** The headers that a browser sends for a page, as recorded on the wire. */
const ways: Readonly<Record<string, string | Buffer>> = {
  'an image': headOf(
    'GET',
    stream,
    { accept: 'image/avif,image/webp,image/png,*/*;q=0.8', referer: 'http://evil.example/' },
    name,
  ),
  'a script': headOf('GET', stream, { accept: '*/*', referer: 'http://evil.example/' }, name),
  'a style sheet': headOf('GET', stream, { accept: 'text/css,*/*;q=0.1' }, name),
  'a frame': headOf(
    'GET',
    stream,
    { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', 'upgrade-insecure-requests': 1 },
    name,
  ),
  'a form by GET': headOf('GET', `${stream}&x=1`, { accept: 'text/html,*/*;q=0.8' }, name),
  'a navigation': headOf('GET', stream, { accept: 'text/html,*/*;q=0.8', 'upgrade-insecure-requests': 1 }, name),
  'a video': headOf('GET', stream, { accept: '*/*', range: 'bytes=0-' }, name),
  'a prefetch': headOf('GET', stream, { accept: '*/*', purpose: 'prefetch' }, name),
  'a fetch without CORS': headOf('GET', stream, { accept: '*/*' }, name),
  'a fetch without CORS that accepts events': headOf(
    'GET',
    stream,
    { accept: 'text/event-stream', 'cache-control': 'no-cache' },
    name,
  ),
  'a batch': headOf(
    'GET',
    `/trpc/llm.configs,llm.stream?batch=1&input=${encodeURIComponent(`{"1":{"json":${request}}}`)}`,
    { accept: '*/*' },
    name,
  ),
  'connection params in the URL': headOf(
    'GET',
    `${stream}&connectionParams=${encodeURIComponent('{"token":"x"}')}`,
    { accept: '*/*' },
    name,
  ),
  'a form by POST': posted('/trpc/llm.stream', `{"json":${request}}`, { ...form, host: name }),
  'a form of text': posted('/trpc/llm.stream', `{"json":${request}}`, {
    ...form,
    'content-type': 'text/plain',
    host: name,
  }),
  'a form whose referrer is hidden': posted('/trpc/llm.stream', `{"json":${request}}`, {
    origin: 'null',
    'content-type': 'text/plain',
    host: name,
  }),
  'a beacon': posted('/api/llm/process_stream/default', body, {
    ...form,
    'content-type': 'text/plain;charset=UTF-8',
    host: name,
  }),
  'a POST without an origin or a type of JSON': posted('/api/llm/process_stream/default', body, {
    'content-type': 'text/plain',
    host: name,
  }),
  'a POST to tRPC without an origin or a type of JSON': posted('/trpc/llm.stream', `{"json":${request}}`, {
    'content-type': 'text/plain',
    host: name,
  }),
  'an EventSource of another site': headOf(
    'GET',
    stream,
    { accept: 'text/event-stream', origin: 'http://evil.example' },
    name,
  ),
};

/** The answer to a request; for a stream, when it has ended. */
async function ask(url: string, bytes: string | Buffer): Promise<string> {
  const over = new AbortController();
  try {
    const wire = await openWire(url, over.signal);
    wire.write(bytes);
    await wire.until(({ received }) => received.includes('"type":"done"'), 500);
    return await verdictOf(wire);
  } finally {
    over.abort();
  }
}

/**
 * How many requests upstream got before an honest one. The honest one comes after everything that was started before
 * it.
 */
async function requestsBefore(
  { url, upstream }: TestService,
  headers: Readonly<Record<string, string>>,
): Promise<number> {
  upstream.respondWith({ kind: 'text', text: 'hello' });
  const verdict = await ask(url, posted('/api/llm/process_stream/default', body, { connection: 'close', ...headers }));
  expect(verdict).toBe('200');
  return upstream.requestCount - 1;
}

describe('keyless, over plain http, under a name of LLM_ALLOWED_HOSTS', () => {
  const test = serviceForEachTest({ env: { LLM_ALLOWED_HOSTS: name } });

  it.each(Object.keys(ways))('no generation is started by %s', async (way) => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'text', text: 'spent' });
    const verdict = await ask(url, ways[way]!);
    expect(verdict).not.toBe('silence');
    expect(await requestsBefore(test.current, { host: name })).toBe(0);
  });

  it.each<[string, Readonly<Record<string, string>>]>([
    ['as JSON', { host: name }],
    ['of its own page', { host: `${name}:8080`, origin: `http://${name}:8080` }],
  ])('a POST %s starts one', async (_what, headers) => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'text', text: 'hello' });
    expect(
      await ask(url, posted('/trpc/llm.stream', `{"json":${request}}`, { accept: 'text/event-stream', ...headers })),
    ).toMatch(/^200/);
    expect(await requestsBefore(test.current, { host: name })).toBe(1);
  });

  it('a WebSocket of another site, or of none, is not opened for a page', async () => {
    const over = new AbortController();
    const headers = { host: name, origin: 'http://evil.example' };
    expect(await openWebSocketWire(test.current.url, over.signal, { headers })).toBeUndefined();
    expect(
      await openWebSocketWire(test.current.url, over.signal, { headers: { ...headers, origin: 'null' } }),
    ).toBeUndefined();
    over.abort();
  });
});

describe('with LLM_AUTH=none beyond loopback', () => {
  const test = serviceForEachTest({ env: { HOST: '0.0.0.0', LLM_AUTH: 'none', LLM_ALLOWED_HOSTS: 'ok.example' } });
  const local = () => test.current.url.replace('0.0.0.0', '127.0.0.1');

  it('a name that LLM_ALLOWED_HOSTS doesn’t have is refused at every door', async () => {
    const rebound = { host: 'evil.example', origin: 'http://evil.example' };
    const attempts = [
      headOf('GET', '/api/llm/configs', rebound),
      headOf('GET', '/trpc/llm.configs', rebound),
      headOf('GET', stream, { ...rebound, accept: 'text/event-stream' }),
      posted('/trpc/llm.stream', `{"json":${request}}`, { ...rebound, accept: 'text/event-stream' }),
      posted('/api/llm/process_stream/default', body, rebound),
    ];
    for (const attempt of attempts) expect(await ask(local(), attempt)).toBe('403 forbidden');
    const over = new AbortController();
    expect(await openWebSocketWire(local(), over.signal, { headers: rebound })).toBeUndefined();
    over.abort();
    expect(await requestsBefore({ ...test.current, url: local() }, { host: 'ok.example' })).toBe(0);
  });

  it('a name that it has is served', async () => {
    expect(await ask(local(), headOf('GET', '/api/llm/configs', {}, 'ok.example'))).toBe('200');
    expect(await ask(local(), headOf('GET', '/api/llm/configs', {}, 'OK.example:8080'))).toBe('200');
  });
});

describe.each(['127.0.0.2', '127.1.2.3', '::1'])('on the loopback address %s', (host) => {
  it('the service answers to its own address, over HTTP and WebSocket, and to no foreign name', async () => {
    await using service = await startTestService({ env: { HOST: host } });
    service.upstream.respondWith({ kind: 'text', text: 'hello' });
    const { url } = service;
    const own = new URL(url).host;
    expect(await ask(url, headOf('GET', '/api/llm/configs', {}, own))).toBe('200');
    expect(await ask(url, headOf('GET', '/api/llm/configs', {}, 'evil.example'))).toBe('403 forbidden');
    expect(
      await ask(
        url,
        posted('/api/llm/process_stream/default', body, {
          host: own,
          origin: `http://${own}`,
        }),
      ),
    ).toMatch(/^200/);
    const over = new AbortController();
    const socket = await openWebSocketWire(url, over.signal, { headers: { host: own, origin: `http://${own}` } });
    socket?.write(frame('{"id":1,"method":"query","params":{"path":"llm.configs"}}'));
    await socket?.until((wire) => framesIn(wire).length > 0);
    expect(socket && framesIn(socket)[0]).toContain('"result"');
    over.abort();
  });
});
