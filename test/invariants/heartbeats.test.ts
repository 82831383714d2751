import { createTRPCClient, createWSClient, wsLink } from '@trpc/client';
import { once } from 'node:events';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { WebSocket, type ClientOptions } from 'ws';
import { startSimulator } from '../../src/simulator.ts';
import { doors, readAll, textOf, view, type AnyConfigRouter, type View } from '../support/doors.ts';
import { until } from '../support/eventually.ts';
import { lastingDoors } from '../support/every-door.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from '../support/service.ts';
import { startServiceProcess } from '../support/service-process.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

finishesCleanly();

describe('on quiet connections', () => {
  const test = serviceForEachTest({ env: { LLM_HEARTBEAT_MS: '1000', LLM_SOCKET_STALL_MS: '2000' } });

  it('a long silence of upstream looks like life at every door: nobody reconnects', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    upstream.respondWith({ kind: 'manual' });
    const views = lastingDoors.map((door) => door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() })));
    const requests = await Promise.all(views.map(() => upstream.nextRequest()));
    await Promise.all(views.map((each) => each.until((event) => event.type === 'start')));
    const { connections } = proxy;
    // Longer than the service takes to give up a silent connection: two heartbeats, or one and a stall.
    await heartbeats(url, 5);
    for (const request of requests) {
      await request.text('at last');
      request.finish();
    }
    for (const each of views) expect(textOf(await readAll(each))).toBe('at last');
    expect(proxy.connections).toBe(connections);
  });

  it('over REST a viewer that comes back in a silence has the head of its response before the next event', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const viewer = doors[0]!.stream(url, ask('hi', { generationId }));
    const request = await upstream.nextRequest();
    await viewer.until((event) => event.type === 'start');
    const response = await fetch(`${url}/api/llm/generations/${generationId}/events`, {
      headers: { 'last-event-id': `${generationId}:0` },
    });
    expect(response.status).toBe(200);
    await request.text('at last');
    request.finish();
    expect(await response.text()).toMatch(/^retry: \d+\n(?::\n)?id: .*\nevent: text\ndata: .*at last/);
    expect(textOf(await readAll(viewer))).toBe('at last');
  });

  it('over SSE the service announces how long silence may last, and the client notices a dead connection', async () => {
    const viewer = await throughDeadPeer((url, asked) => doors[0]!.stream(url, asked));
    expect(textOf(await readAll(viewer))).toBe('after the break');
  });

  it('over WebSocket a client that sends PING notices a dead connection', async () => {
    const viewer = await throughDeadPeer(askingWebSocket);
    expect(textOf(await readAll(viewer))).toBe('after the break');
  });

  it('over WebSocket a client that answers no heartbeat is disconnected', async () => {
    const { url } = test.current;
    const webSocket = new WebSocket(`${url.replace('http', 'ws')}/trpc`);
    const [first] = (await once(webSocket, 'message')) as [Buffer];
    expect(first.toString()).toBe('PING');
    await once(webSocket, 'close');
  });

  /**
   * A viewer whose connection goes silent without being closed, and which is back as soon as another connection gets
   * through.
   */
  async function throughDeadPeer(open: (url: string, asked: ReturnType<typeof ask>) => View): Promise<View> {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    upstream.enqueue({ kind: 'manual' });
    const viewer = open(proxy.url, ask('hi', { generationId: crypto.randomUUID() }));
    const request = await upstream.nextRequest();
    await viewer.until((event) => event.type === 'start');
    const connections = proxy.connections;
    proxy.pause();
    await until(() => proxy.connections > connections);
    proxy.resume();
    await request.text('after the break');
    request.finish();
    await viewer.completed;
    expect(upstream.requestCount).toBe(1);
    return viewer;
  }
});

it('a service that is busy for a third of the silence that clients allow makes none of them reconnect', async () => {
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  await using service = await startServiceProcess({ upstreamUrl: upstream.url, env: { LLM_HEARTBEAT_MS: '1500' } });
  upstream.respondWith({ kind: 'manual' });
  for (const door of lastingDoors) {
    await using proxy = await startTcpProxy(service.url);
    const viewer = door.stream(proxy.url, ask('hi', { generationId: crypto.randomUUID() }));
    const request = await upstream.nextRequest();
    await viewer.until((event) => event.type === 'start');
    const connections = proxy.connections;
    await service.stayBusy(door === lastingDoors[0] ? 1_000 : 300);
    await request.text('still there');
    request.finish();
    expect(textOf(await readAll(viewer))).toBe('still there');
    expect(proxy.connections).toBe(connections);
  }
});

/** Resolves when another connection has received this many heartbeats. */
async function heartbeats(url: string, count: number): Promise<void> {
  const webSocket = new WebSocket(`${url.replace('http', 'ws')}/trpc`);
  for (let heard = 0; heard < count; heard += 1) {
    await once(webSocket, 'message');
    webSocket.send('PONG');
  }
  webSocket.close();
  await once(webSocket, 'close');
}

/** The code for a client that no longer waits until a dead peer agrees to a close. */
class ImpatientWebSocket extends WebSocket {
  constructor(url: string) {
    super(url, { closeTimeout: 20 } as ClientOptions);
  }
}

function askingWebSocket(url: string, asked: ReturnType<typeof ask>): View {
  return view((sink) => {
    const client = createWSClient({
      url: `${url.replace('http', 'ws')}/trpc`,
      WebSocket: ImpatientWebSocket as never,
      keepAlive: { enabled: true, intervalMs: 100, pongTimeoutMs: 2_000 },
      retryDelayMs: () => 5,
    });
    const links = [wsLink({ client, transformer: superjson })];
    const subscription = createTRPCClient<AnyConfigRouter>({ links }).llm.stream.subscribe(asked, {
      onData: sink.push,
      onError: sink.fail,
      onComplete: sink.complete,
    });
    return () => {
      subscription.unsubscribe();
      void client.close();
    };
  });
}
