/**
 * WebSockets of clients that have not shown a key: there are few, for a short time, with little memory; and they never
 * take a caller's place.
 */
import { createHash } from 'node:crypto';
import { WebSocket } from 'ws';
import { expect, it } from 'vitest';
import { createLlmClient } from '../src/client.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { openSocket, query } from './support/raw-websocket.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const key = 'key-of-ada-0123456789abcdef';
const hash = createHash('sha256').update(key).digest('hex');
const test = serviceForEachTest({
  env: {
    LLM_API_KEYS: `ada:${hash}`,
    LLM_SOCKETS_MAX: '5',
    LLM_UNPROVEN_SOCKETS_MAX: '3',
    LLM_CONNECTION_PARAMS_MS: '1500',
  },
});
const shown = { method: 'connectionParams', data: { token: key } };

/** The response to an upgrade with this head: 101, or the status of the refusal. */
function statusOf(authorization: string): Promise<number> {
  return new Promise((resolve) => {
    const webSocket = new WebSocket(`${test.current.url.replace('http', 'ws')}/trpc`, { headers: { authorization } });
    webSocket.on('upgrade', () => resolve(101));
    webSocket.on('open', () => webSocket.terminate());
    webSocket.on('unexpected-response', (request, response) => {
      resolve(response.statusCode!);
      request.destroy();
    });
    webSocket.on('error', () => {});
  });
}

it('a key in the head is judged before the handshake', async () => {
  expect(await statusOf(`Bearer ${key}`)).toBe(101);
  expect(await statusOf('Bearer another-key-0123456789')).toBe(401);
  await eventually(() => expect(test.current.service.server.sockets).toBe(0));
});

it.each([
  ['says nothing', []],
  ['answers heartbeats', ['PONG', 'PING']],
  ['asks without a key', [query(1, 'llm.configs')]],
])('one whose client %s is closed after a while', async (_what, messages) => {
  using socket = await openSocket(test.current.url);
  for (const message of messages) socket.send(message);
  expect(await socket.closed).toBe(1008);
});

it('calls with a wrong key are refused, and a right key in time keeps the socket open', async () => {
  const { url } = test.current;
  using wrong = await openSocket(url, '?connectionParams=1');
  wrong.send({ method: 'connectionParams', data: { token: 'another-key-0123456789' } });
  wrong.send(query(1, 'llm.configs'));
  expect((await wrong.next()).error?.json.data.llm.code).toBe('unauthorized');
  using right = await openSocket(url, '?connectionParams=1');
  right.send(shown);
  expect(await wrong.closed).toBe(1008);
  right.send(query(1, 'llm.configs'));
  expect(await right.next()).toMatchObject({ id: 1, result: { type: 'data' } });
});

it('beyond their limit the oldest is closed, and a client with a key gets in', async () => {
  const { url } = test.current;
  using first = await openSocket(url);
  using second = await openSocket(url);
  using third = await openSocket(url);
  await using client = createLlmClient<AnyConfigRouter>({ url, transport: 'ws', token: key, WebSocket });
  test.current.upstream.enqueue({ kind: 'text', text: 'hello' });
  expect(await client.stream(ask('hi')).text()).toBe('hello');
  expect(await first.closed).toBe(1008);
  void [second, third];
});

it('the service reads little from one', async () => {
  using socket = await openSocket(test.current.url, '?connectionParams=1');
  socket.send({ method: 'connectionParams', data: { token: 'x'.repeat(200_000) } });
  expect(await socket.closed).toBe(1008);
});

it('a caller leaves sockets for others', async () => {
  const statuses: number[] = [];
  const sockets: WebSocket[] = [];
  for (let number = 0; number < 5; number += 1) {
    const webSocket = new WebSocket(`${test.current.url.replace('http', 'ws')}/trpc`, {
      headers: { authorization: `Bearer ${key}` },
    });
    sockets.push(webSocket);
    statuses.push(
      await new Promise<number>((resolve) => {
        webSocket.on('open', () => resolve(101));
        webSocket.on('error', () => {});
        webSocket.on('unexpected-response', (request, response) => {
          resolve(response.statusCode!);
          request.destroy();
        });
      }),
    );
  }
  for (const webSocket of sockets) webSocket.terminate();
  expect(statuses).toEqual([101, 101, 101, 101, 429]);
});
