import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { createLlmClient, LlmClientError, type LlmClientOptions, type Reconnect } from '../src/client.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest, startTestService } from './support/service.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();
const transports = ['sse', 'ws'] as const;
const attemptsMax = 4;

function connect(url: string, options: Partial<LlmClientOptions> = {}) {
  const reconnects: Reconnect[] = [];
  const llm = createLlmClient<AnyConfigRouter>({
    url,
    transport: 'sse',
    reconnect: { attemptsMax, delayMs: 1, delayMsMax: 10 },
    onReconnect: (reconnect) => reconnects.push(reconnect),
    ...options,
  });
  return { ...llm, reconnects };
}

async function errorOf(failing: Promise<unknown>): Promise<LlmClientError> {
  const error = await failing.catch((thrown: unknown) => thrown);
  if (error instanceof LlmClientError) return error;
  throw new Error(`expected an LlmClientError, got ${String(error)}`);
}

/** A server that is not the service, and answers requests and upgrades accordingly. */
async function startStranger(answer: (request: IncomingMessage, response: ServerResponse | undefined) => string) {
  let requests = 0;
  const upgraded = new Set<Duplex>();
  const server = createServer((request, response) => {
    requests += 1;
    const text = answer(request, response);
    if (text !== '') response.socket?.end(text);
  });
  server.on('upgrade', (request, socket) => {
    requests += 1;
    upgraded.add(socket);
    const text = answer(request, undefined);
    if (text !== '') socket.end(text);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get requests() {
      return requests;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      for (const socket of upgraded) socket.destroy();
      await once(server, 'close');
    },
  };
}

function badGateway(status = '502 Bad Gateway', headers = ''): string {
  const body = '<h1>a proxy</h1>';
  return `HTTP/1.1 ${status}\r\n${headers}connection: close\r\ncontent-type: text/html\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

describe.each(transports)('over %s', (transport) => {
  const test = serviceForEachTest();

  it('a service that can’t be reached is reported after the set number of attempts, each of which is reported', async () => {
    const nobody = await startTcpProxy('http://127.0.0.1:1');
    await nobody[Symbol.asyncDispose]();
    await using llm = connect(nobody.url, { transport });
    const error = await errorOf(llm.stream(ask('hi')).text());
    expect(error).toMatchObject({ code: 'unreachable', retryable: true });
    expect(error.cause).toBeInstanceOf(LlmClientError);
    expect(llm.reconnects.map(({ failures }) => failures)).toEqual([1, 2, 3]);
    expect((await errorOf(llm.follow({ generationId: crypto.randomUUID() }).cancel())).code).toBe('unreachable');
  });

  it('a proxy that answers 502 for a while is waited for', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'text', text: ['ok'] });
    await using stranger = await startStranger(() => badGateway());
    await using proxy = await startTcpProxy(stranger.url);
    await using llm = connect(proxy.url, {
      transport,
      onReconnect: ({ failures }) => {
        if (failures === attemptsMax - 1) proxy.retarget(url);
      },
    });
    expect(await llm.stream(ask('hi')).text()).toBe('ok');
    expect(stranger.requests).toBe(attemptsMax - 1);
  });

  it('a proxy that answers 502 for ever is an error that names the status', async () => {
    await using stranger = await startStranger(() => badGateway());
    await using llm = connect(stranger.url, { transport });
    const error = await errorOf(llm.stream(ask('hi')).text());
    expect(error).toMatchObject({ code: 'unreachable', retryable: true });
    expect(error.message).toMatch(/502/);
    expect(stranger.requests).toBe(attemptsMax);
  });

  it('a server that has no such route is an error at once', async () => {
    await using stranger = await startStranger(() => badGateway('404 Not Found'));
    await using llm = connect(stranger.url, { transport });
    const error = await errorOf(llm.stream(ask('hi')).text());
    expect(error).toMatchObject({ code: 'unreachable', retryable: false });
    expect(error.message).toMatch(/404/);
    expect(stranger.requests).toBe(1);
  });

  it('a server that takes the request and says nothing is left after a while', async () => {
    await using stranger = await startStranger(() => '');
    await using llm = connect(stranger.url, { transport, reconnect: { attemptsMax: 2, delayMs: 1, connectMs: 50 } });
    expect((await errorOf(llm.stream(ask('hi')).text())).code).toBe('unreachable');
    expect(llm.reconnects).toHaveLength(1);
  });

  it('a restarted service has lost the answer: the client reports that, and starts no second one', async () => {
    const { url, upstream } = test.current;
    await using restarted = await startTestService();
    await using proxy = await startTcpProxy(url);
    await using llm = connect(proxy.url, { transport });
    upstream.enqueue({ kind: 'manual' });
    const run = llm.stream(ask('hi'));
    const iterator = run[Symbol.asyncIterator]();
    const started = iterator.next();
    await upstream.nextRequest();
    await started;
    const lost = errorOf(iterator.next());
    proxy.retarget(restarted.url);
    proxy.cut();
    expect((await lost).code).toBe('generation_not_found');
    expect((await errorOf(run.text())).code).toBe('generation_not_found');
    expect(restarted.upstream.requestCount).toBe(0);
  });

  it('a client whose connection is cut before each event gives up', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    upstream.respondWith({ kind: 'manual' });
    await using llm = connect(proxy.url, { transport, onReconnect: () => proxy.cutAfter(1) });
    proxy.cutAfter(1);
    expect((await errorOf(llm.stream(ask('hi')).text())).code).toBe('unreachable');
    expect(proxy.connections).toBe(attemptsMax);
    expect(upstream.requestCount).toBeLessThan(2);
  });

  it('closing the client ends its wait to reconnect', async () => {
    await using stranger = await startStranger(() => badGateway());
    let waiting!: () => void;
    const waits = new Promise<void>((resolve) => (waiting = resolve));
    const llm = connect(stranger.url, { transport, reconnect: { delayMs: 60_000 }, onReconnect: waiting });
    const text = errorOf(llm.stream(ask('hi')).text());
    await waits;
    await llm.close();
    expect((await text).code).toBe('closed');
    expect((await errorOf(llm.stream(ask('hi')).text())).code).toBe('closed');
  });

  it('an input that can’t be written as JSON is refused without a request', async () => {
    await using llm = connect(test.current.url, { transport });
    const content = [{ type: 'text', text: 1n }];
    const error = await errorOf(llm.stream({ config: 'default', messages: [{ role: 'user', content }] }).text());
    expect(error.code).toBe('invalid_input');
    expect(llm.reconnects).toEqual([]);
  });
});

describe.each(transports)('keys, over %s', (transport) => {
  const key = 'a-key';
  const sha256 = createHash('sha256').update(key).digest('hex');
  const test = serviceForEachTest({ env: { LLM_API_KEYS: `someone:${sha256}`, LLM_HEARTBEAT_MS: '1000' } });

  it('a token goes with every request, and into no URL', async () => {
    const { url, upstream } = test.current;
    const urls: string[] = [];
    class Recorded extends WebSocket {
      constructor(address: string) {
        urls.push(address);
        super(address);
      }
    }
    await using llm = connect(url, {
      transport,
      token: key,
      WebSocket: Recorded,
      fetch: (address, init) => {
        urls.push(address);
        return fetch(address, init);
      },
    });
    upstream.enqueue({ kind: 'text', text: ['ok'] });
    const run = llm.stream(ask('a secret question'));
    expect(await run.text()).toBe('ok');
    expect(await run.cancel()).toBe('already_ended');
    expect(urls).toHaveLength(2);
    for (const address of urls) expect(address).not.toMatch(/a-key|secret/);
  });

  it('after a refused token the client asks for a new one, once', async () => {
    const { url, upstream } = test.current;
    const tokens = ['expired', key, 'expired', key];
    await using llm = connect(url, { transport, token: async () => tokens.shift() ?? 'none' });
    upstream.enqueue({ kind: 'text', text: ['ok'] });
    const run = llm.stream(ask('hi'));
    expect(await run.text()).toBe('ok');
    expect(await run.cancel()).toBe('already_ended');
    expect(upstream.requestCount).toBe(1);
  });

  it('a token that is refused twice is unauthorized, and so is a fixed one that is refused once', async () => {
    const { url, upstream } = test.current;
    let asked = 0;
    await using renewing = connect(url, { transport, token: () => `wrong ${(asked += 1)}` });
    expect(await errorOf(renewing.stream(ask('hi')).text())).toMatchObject({ code: 'unauthorized', retryable: false });
    expect(asked).toBe(2);
    await using fixed = connect(url, { transport, token: 'wrong' });
    expect((await errorOf(fixed.stream(ask('hi')).text())).code).toBe('unauthorized');
    await using none = connect(url, { transport });
    expect((await errorOf(none.stream(ask('hi')).text())).code).toBe('unauthorized');
    expect([...renewing.reconnects, ...fixed.reconnects, ...none.reconnects]).toEqual([]);
    expect(upstream.requestCount).toBe(0);
  });

  it('a token function that fails is tried again, and then reported with its cause', async () => {
    const cause = new Error('the identity provider is away');
    await using llm = connect(test.current.url, { transport, token: () => Promise.reject(cause) });
    const error = await errorOf(llm.stream(ask('hi')).text());
    expect(error).toMatchObject({ code: 'unauthorized', retryable: true, cause });
    expect(llm.reconnects).toHaveLength(attemptsMax - 1);
  });

  it("another site's page is forbidden, at once", async () => {
    const { url } = test.current;
    const headers = { origin: 'https://elsewhere.example' };
    class Elsewhere extends WebSocket {
      constructor(address: string) {
        super(address, { headers });
      }
    }
    await using llm = connect(url, {
      transport,
      token: key,
      WebSocket: Elsewhere,
      fetch: (address, init) =>
        fetch(address, { ...init, headers: { ...Object.fromEntries(init.headers as Headers), ...headers } }),
    });
    const run = llm.stream(ask('hi'));
    expect((await errorOf(run.text())).code).toBe('forbidden');
    expect((await errorOf(run.cancel())).code).toBe('forbidden');
    expect(llm.reconnects).toEqual([]);
  });
});

describe('a proxy that needs a token', () => {
  const test = serviceForEachTest();

  it('gets a new one once', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'text', text: ['ok'] });
    await using stranger = await startStranger(() => badGateway('401 Unauthorized'));
    await using proxy = await startTcpProxy(stranger.url);
    let asked = 0;
    const token = () => {
      if ((asked += 1) === 2) proxy.retarget(url);
      return `token ${asked}`;
    };
    await using llm = connect(proxy.url, { token });
    expect(await llm.stream(ask('hi')).text()).toBe('ok');
    proxy.retarget(stranger.url);
    proxy.cut();
    expect((await errorOf(llm.stream(ask('hi')).text())).code).toBe('unauthorized');
    expect(asked).toBe(4);
  });
});

describe('a request that is too large', () => {
  const test = serviceForEachTest({ env: { LLM_BODY_BYTES_MAX: '10000' } });
  const large = ask('x'.repeat(20_000));

  it('is refused by the service over SSE', async () => {
    await using llm = connect(test.current.url);
    expect((await errorOf(llm.stream(large).text())).code).toBe('too_large');
    expect(llm.reconnects).toEqual([]);
  });

  it('is not sent over a WebSocket', async () => {
    await using proxy = await startTcpProxy(test.current.url);
    await using llm = connect(proxy.url, { transport: 'ws', requestBytesMax: 10_000 });
    expect((await errorOf(llm.stream(large).text())).code).toBe('too_large');
    expect(proxy.connections).toBe(0);
  });

  it('is reported at once if only the service knows that it is too large', async () => {
    await using proxy = await startTcpProxy(test.current.url);
    await using llm = connect(proxy.url, { transport: 'ws' });
    expect((await errorOf(llm.stream(large).text())).code).toBe('too_large');
    expect(proxy.connections).toBe(1);
  });

  it('is not the sum of several: requests that begin together on one WebSocket are sent one by one', async () => {
    const { url, upstream } = test.current;
    await using llm = connect(url, { transport: 'ws' });
    upstream.respondWith({ kind: 'text', text: ['ok'] });
    const runs = Array.from({ length: 3 }, () => llm.stream(ask('x'.repeat(6_000))).text());
    expect(await Promise.all(runs)).toEqual(['ok', 'ok', 'ok']);
    expect(llm.reconnects).toEqual([]);
  });

  it('does not fail the others on the same WebSocket', async () => {
    const { url, upstream } = test.current;
    await using llm = connect(url, { transport: 'ws' });
    upstream.enqueue({ kind: 'manual' });
    const run = llm.stream(ask('hi'));
    const iterator = run[Symbol.asyncIterator]();
    const started = iterator.next();
    const request = await upstream.nextRequest();
    await started;
    const text = iterator.next();
    expect((await errorOf(llm.stream(large).text())).code).toBe('too_large');
    await request.text('ok');
    expect((await text).value).toMatchObject({ type: 'text', text: 'ok' });
    request.finish();
    expect(await run.text()).toBe('ok');
    expect(upstream.requestCount).toBe(1);
  });
});
