import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import { createLlmClient, type LlmClientOptions, type LlmEvent, type Reconnect } from '../src/client.ts';
import { parseConfigs } from '../src/configs/configs.ts';
import { livenessFor } from '../src/doors/liveness.ts';
import { startSimulator } from '../src/simulator.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { eventually, until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';
import { startServiceProcess } from './support/service-process.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();
const transports = ['sse', 'ws'] as const;

function connect(url: string, options: Partial<LlmClientOptions>) {
  const reconnects: Reconnect[] = [];
  const llm = createLlmClient<AnyConfigRouter>({
    url,
    transport: 'sse',
    reconnect: { delayMs: 1, delayMsMax: 10 },
    onReconnect: (reconnect) => reconnects.push(reconnect),
    ...options,
  });
  return { ...llm, reconnects };
}

describe('a WebSocket without runs', () => {
  const test = serviceForEachTest({ env: { LLM_HEARTBEAT_MS: '1000' } });

  it('closes by itself, however many heartbeats arrive, and the next run opens another', async () => {
    const { url, service } = test.current;
    await using llm = connect(url, { transport: 'ws' });
    await llm.stream(ask('hi')).text();
    expect(service.server.sockets).toBe(1);
    await eventually(() => expect(service.server.sockets).toBe(0));
    await llm.stream(ask('hi')).text();
    expect(service.server.sockets).toBe(1);
  });
});

describe.each(transports)('over %s', (transport) => {
  const test = serviceForEachTest({ env: { LLM_HEARTBEAT_MS: '500' } });

  it('a connection that goes silent without being closed is left after two missed heartbeats', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    await using llm = connect(proxy.url, { transport });
    upstream.enqueue({ kind: 'manual' });
    const events = llm.stream(ask('hi'))[Symbol.asyncIterator]();
    const started = events.next();
    const request = await upstream.nextRequest();
    await started;
    const { connections } = proxy;
    proxy.pause();
    const next = events.next();
    await until(() => proxy.connections > connections);
    proxy.resume();
    await request.text('after');
    expect((await next).value).toMatchObject({ type: 'text', text: 'after' });
    expect(llm.reconnects[0]!.error.message).toMatch(/Nothing came from the service for 1000 ms/);
    request.finish();
    expect(upstream.requestCount).toBe(1);
  });

  it('a reconnect that nobody answers is given up as early', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    await using llm = connect(proxy.url, { transport });
    upstream.enqueue({ kind: 'manual' });
    const events = llm.stream(ask('hi'))[Symbol.asyncIterator]();
    const started = events.next();
    const request = await upstream.nextRequest();
    await started;
    const { connections } = proxy;
    proxy.pause();
    const next = events.next();
    await until(() => proxy.connections >= connections + 2);
    proxy.resume();
    await request.text('after');
    expect((await next).value).toMatchObject({ type: 'text', text: 'after' });
    request.finish();
  });

  it('a long silence of the model is no silence of the connection', async () => {
    const { url, upstream } = test.current;
    await using llm = connect(url, { transport });
    upstream.enqueue({ kind: 'manual' });
    const text = llm.stream(ask('hi')).text();
    const request = await upstream.nextRequest();
    // Longer than a connection may be silent.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await request.text('at last');
    request.finish();
    expect(await text).toBe('at last');
    expect(llm.reconnects).toEqual([]);
  });
});

it(
  'a client that was busy itself reads what has arrived before it takes it for silence',
  { timeout: 120_000 },
  async () => {
    await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
    await using service = await startServiceProcess({ upstreamUrl: upstream.url, env: { LLM_HEARTBEAT_MS: '1000' } });
    for (const transport of transports) {
      await using llm = connect(service.url, { transport });
      upstream.enqueue({ kind: 'manual' });
      const events = llm.stream(ask('hi'))[Symbol.asyncIterator]();
      const started = events.next();
      const request = await upstream.nextRequest();
      await started;
      const untilMs = performance.now() + 3_000;
      while (performance.now() < untilMs);
      // Long enough for the client to look twice.
      for (let looks = 0; looks < 10; looks += 1) await new Promise((resolve) => setTimeout(resolve, 10));
      await request.text('still there');
      expect((await events.next()).value).toMatchObject({ type: 'text', text: 'still there' });
      request.finish();
      expect(llm.reconnects).toEqual([]);
    }
  },
);

describe('what is announced', () => {
  const configsWith = (...on_disconnect: unknown[]) =>
    parseConfigs(
      Object.fromEntries(on_disconnect.map((each, n) => [`c${n}`, { ...plainConfig, on_disconnect: each }])),
    );

  it('leaves a third of the shortest grace time for a reconnect', () => {
    const after = (ms: number) => ({ cancel_after_ms: ms });
    expect(livenessFor(configsWith(after(15_000)), 5_000)).toEqual({
      heartbeatMs: 5_000,
      silenceMs: 10_000,
      graceMs: 15_000,
    });
    expect(livenessFor(configsWith(after(15_000), 'continue', after(3_000)), 5_000)).toEqual({
      heartbeatMs: 1_000,
      silenceMs: 2_000,
      graceMs: 3_000,
    });
  });

  it('follows the settings if every grace is too short for a reconnect', () => {
    expect(livenessFor(configsWith({ cancel_after_ms: 1 }), 5_000)).toMatchObject({ silenceMs: 10_000, graceMs: 1 });
    expect(livenessFor(configsWith('continue'), 5_000)).toMatchObject({ silenceMs: 10_000, graceMs: null });
  });
});

describe('a WebSocket', () => {
  /** A service that sends only what a test makes it send. */
  async function startSocketServer(serve: (webSocket: WebSocket, message: { id: number; params: Params }) => void) {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    let sockets = 0;
    server.on('connection', (webSocket) => {
      sockets += 1;
      webSocket.on('message', (data: Buffer) => {
        const text = data.toString();
        // A message that ends a subscription has no params.
        if (text.includes('"params"')) serve(webSocket, JSON.parse(text) as { id: number; params: Params });
      });
    });
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      get sockets() {
        return sockets;
      },
      async [Symbol.asyncDispose]() {
        for (const client of server.clients) client.terminate();
        server.close();
        await once(server, 'close');
      },
    };
  }
  interface Params {
    readonly path: string;
    readonly input: { readonly json: { readonly lastEventId?: string } };
  }

  const generationId = crypto.randomUUID();
  const event = (id: number, offset: number, data: unknown) => {
    const eventId = `${generationId}:${offset}`;
    return JSON.stringify({ id, result: { type: 'data', id: eventId, data: { json: { id: eventId, data } } } });
  };

  it.each([1000, 1001, 1006, 1011, 1012, 4000])(
    'that is closed with %d before the answer has ended is a lost connection',
    async (code) => {
      await using server = await startSocketServer((webSocket, { id, params }) => {
        const { lastEventId } = params.input.json;
        if (lastEventId === undefined) {
          webSocket.send(event(id, 0, { type: 'start' }));
          if (code === 1006) webSocket.terminate();
          else webSocket.close(code);
        } else {
          expect([params.path, lastEventId]).toEqual(['llm.follow', `${generationId}:0`]);
          webSocket.send(event(id, 1, { type: 'done' }));
          webSocket.send(JSON.stringify({ id, result: { type: 'stopped' } }));
        }
      });
      await using llm = connect(server.url, { transport: 'ws' });
      const seen: LlmEvent['type'][] = [];
      for await (const { type } of llm.stream(ask('hi', { generationId }))) seen.push(type);
      expect(seen).toEqual(['start', 'done']);
      expect(server.sockets).toBe(2);
    },
  );

  it('that opens and stays silent is replaced by another one', async () => {
    await using server = await startSocketServer((webSocket, { id }) => {
      if (server.sockets < 3) return;
      webSocket.send(event(id, 0, { type: 'done' }));
      webSocket.send(JSON.stringify({ id, result: { type: 'stopped' } }));
    });
    await using llm = connect(server.url, { transport: 'ws', reconnect: { delayMs: 1, connectMs: 50 } });
    expect(await llm.stream(ask('hi')).text()).toBe('');
    expect(llm.reconnects.length).toBeGreaterThan(1);
  });

  it('of a server without heartbeats or announcements is kept as long as it answers the client’s PING', async () => {
    await using server = await startSocketServer((webSocket, { id }) => {
      webSocket.send(JSON.stringify({ id, result: { type: 'started', reconnectAfterInactivityMs: 1_000 } }));
      let asked = 0;
      webSocket.on('message', (data: Buffer) => {
        if (data.toString() !== 'PING') return;
        webSocket.send('PONG');
        asked += 1;
        if (asked < 6) return;
        webSocket.send(event(id, 0, { type: 'done' }));
        webSocket.send(JSON.stringify({ id, result: { type: 'stopped' } }));
      });
    });
    await using llm = connect(server.url, { transport: 'ws' });
    expect(await llm.stream(ask('hi')).text()).toBe('');
    expect(llm.reconnects).toEqual([]);
  });
});
