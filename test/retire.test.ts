/** A service that gives its connections up to other processes: each client is sent elsewhere when nothing of its own is under way. */
import { once } from 'node:events';
import http from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { doors, readAll, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { openSocket, query, subscription } from './support/raw-websocket.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const reconnect = { id: null, method: 'reconnect' };

describe('a service that retires', () => {
  const test = serviceForEachTest({ env: { LLM_DRAIN_MS: '60000' } });

  it('asks a WebSocket that is idle to reconnect at once, and takes nothing of it any more', async () => {
    const { url, service, upstream } = test.current;
    using socket = await openSocket(url);
    socket.send(query(1, 'llm.configs'));
    await socket.next();
    const retired = service.retire();
    expect(await socket.next()).toEqual(reconnect);
    // Its client sends this again on its next socket. If it ran here, it would run twice.
    socket.send(subscription(2, 'llm.stream', ask('hi')));
    socket[Symbol.dispose]();
    await retired;
    expect(upstream.requestCount).toBe(0);
  });

  it('asks a WebSocket with subscriptions when the last one has ended, and lets it start more until then', async () => {
    const { url, service, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' }, { kind: 'text', text: 'second' });
    using socket = await openSocket(url);
    socket.send(subscription(1, 'llm.stream', ask('hi')));
    const request = await upstream.nextRequest();
    const retired = service.retire();
    socket.send(subscription(2, 'llm.stream', ask('more')));
    const types: string[] = [];
    // Until the second has stopped.
    for (let id: unknown; id !== 2 || types.at(-1) !== 'stopped';) {
      const answer = await socket.next();
      id = answer.id;
      types.push(answer.result?.type ?? JSON.stringify(answer));
    }
    expect(types).not.toContain(JSON.stringify(reconnect));
    request.finish();
    let last = await socket.next();
    while (last.id !== null) last = await socket.next();
    expect(last).toEqual(reconnect);
    socket[Symbol.dispose]();
    await retired;
    expect(upstream.requestCount).toBe(2);
  });

  it('closes HTTP connections with their next response, or when they have been idle, and serves until then', async () => {
    const { url, service, upstream } = test.current;
    const agent = new http.Agent({ keepAlive: true });
    const get = async (path: string) => {
      const request = http.get(`${url}${path}`, { agent });
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      response.resume();
      const { socket } = response;
      await once(response, 'end');
      return { socket, connection: response.headers.connection };
    };
    const idle = await get('/healthz');
    expect(idle.connection).toBe('keep-alive');
    const quietClosed = once(await openQuiet(url), 'close');
    upstream.enqueue({ kind: 'manual' });
    const view = doors[0]!.stream(url, ask('hi'));
    const request = await upstream.nextRequest();

    const retired = service.retire();
    // On the connection that was kept. Its second request would be the first of another one.
    const next = await get('/readyz');
    expect(next).toMatchObject({ connection: 'close' });
    expect(next.socket).toBe(idle.socket);
    // Nobody else listens here.
    await expect(get('/readyz')).rejects.toThrow('ECONNREFUSED');
    await request.text('whole');
    request.finish();
    expect(textOf(await readAll(view))).toBe('whole');
    await quietClosed;
    await retired;
    agent.destroy();
  });
});

/** A connection that never asks. */
async function openQuiet(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  return socket.resume();
}
