/** If the answers on a connection wait, the service reads no more from it. It goes on when the client reads. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { doors, readAll } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { openSocket, query, subscription } from './support/raw-websocket.ts';
import { watchServerSockets } from './support/server-sockets.ts';
import { ask, plainConfig, serviceForEachTest, type TestService } from './support/service.ts';

finishesCleanly();

const KiB = 1024;
const rest = doors.find(({ name }) => name === 'rest')!;
const configs = { default: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } } };

/** An answer of 256 KiB, in its log. */
async function keepAnswer({ url, upstream }: TestService): Promise<string> {
  const generationId = crypto.randomUUID();
  upstream.enqueue({ kind: 'text', text: Array.from({ length: 16 }, () => 'x'.repeat(16 * KiB)) });
  await readAll(rest.stream(url, ask('hi', { generationId })));
  await upstream.nextRequest();
  return generationId;
}

/** Waits until the system takes no more answers for the one socket. */
async function full({ open: [socket] }: ReturnType<typeof watchServerSockets>): Promise<void> {
  let sentBytes = -1;
  await eventually(() => {
    expect(socket!.writableLength).toBeGreaterThan(64 * KiB);
    const before = sentBytes;
    sentBytes = socket!.bytesWritten;
    expect(sentBytes).toBe(before);
  });
}

describe('a WebSocket', () => {
  const test = serviceForEachTest({ configs });

  it('gets only a few of its answers made while its client doesn’t read, and all of them in order once it reads', async () => {
    const { url, service } = test.current;
    const generationId = await keepAnswer(test.current);
    using sockets = watchServerSockets(url);
    using socket = await openSocket(url);
    socket.tcp.pause();
    const calls = 200;
    for (let id = 1; id <= calls; id += 1) socket.send(query(id, 'llm.generation', { generationId }));
    await full(sockets);
    expect(sockets.open[0]!.isPaused()).toBe(true);
    expect(sockets.open[0]!.writableLength).toBeLessThan(1_024 * KiB);
    expect(service.core.held.total).toBeLessThan(1_024 * KiB);
    socket.tcp.resume();
    for (let id = 1; id <= calls; id += 1) expect((await socket.next()).id).toBe(id);
    await eventually(() => expect(service.core.held.total).toBe(0));
  });

  it('frees the memory of its answers if it is lost before they left', async () => {
    const { url, service } = test.current;
    const generationId = await keepAnswer(test.current);
    using sockets = watchServerSockets(url);
    using socket = await openSocket(url);
    socket.tcp.pause();
    for (let id = 1; id <= 200; id += 1) socket.send(query(id, 'llm.generation', { generationId }));
    await full(sockets);
    expect(service.core.held.total).toBeGreaterThan(0);
    socket.tcp.destroy();
    await eventually(() => expect(service.core.held.total).toBe(0));
  });

  it('lets a client that is behind with its events cancel', async () => {
    const { url, upstream, service } = test.current;
    upstream.enqueue({ kind: 'manual' });
    using sockets = watchServerSockets(url);
    using socket = await openSocket(url);
    const generationId = crypto.randomUUID();
    socket.send(subscription(1, 'llm.stream', ask('hi', { generationId })));
    const request = await upstream.nextRequest();
    socket.tcp.pause();
    while (sockets.open[0]!.writableLength < 64 * KiB) await request.text('x'.repeat(64 * KiB));
    socket.send({ id: 2, method: 'mutation', params: { path: 'llm.cancel', input: { json: { generationId } } } });
    expect(await request.outcome).toBe('client_closed');
    socket.tcp.resume();
    const answers = [];
    while (answers.at(-1)?.id !== 2) answers.push(await socket.next());
    expect(answers.at(-1)).toMatchObject({ result: { data: { json: { outcome: 'cancelled' } } } });
    await eventually(() => expect(service.core.generations.running).toBe(0));
  });

  it('reads on beside many subscriptions that are quiet', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    using socket = await openSocket(url);
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    socket.send(subscription(0, 'llm.stream', asked));
    const request = await upstream.nextRequest();
    while ((await socket.next()).result?.type !== 'data');
    const lastEventId = `${asked.generationId}:0`;
    for (let id = 1; id <= 150; id += 1) socket.send(subscription(id, 'llm.stream', { ...asked, lastEventId }));
    for (let id = 1; id <= 150; id += 1) expect(await socket.next()).toMatchObject({ result: { type: 'started' } });
    socket.send(query(200, 'llm.configs'));
    expect(await socket.next()).toMatchObject({ id: 200 });
    request.finish();
  });

  it('is closed if its client sends more messages at once than a sensible client does', async () => {
    using socket = await openSocket(test.current.url);
    socket.send(query(1, 'llm.configs'));
    await socket.next();
    socket.tcp.cork();
    for (let sent = 0; sent < 20_000; sent += 1) socket.send('PING');
    socket.tcp.uncork();
    expect(await socket.closed).toBe(1008);
  });
});

describe('a viewer that sends, and reads nothing,', () => {
  const test = serviceForEachTest({ configs, env: { LLM_SOCKET_STALL_MS: '400', LLM_HEARTBEAT_MS: '100' } });

  it('is let go, and its answer ended', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    using socket = await openSocket(url);
    socket.send(subscription(1, 'llm.stream', ask('hi')));
    const request = await upstream.nextRequest();
    socket.tcp.pause();
    const sending = setInterval(() => socket.send('PONG'), 50);
    let over = false;
    const outcome = request.outcome.finally(() => (over = true));
    for (let piece = 0; piece < 300 && !over; piece += 1) await request.text('x'.repeat(64 * KiB));
    expect(await outcome).toBe('client_closed');
    clearInterval(sending);
  });
});

describe('over HTTP', () => {
  const test = serviceForEachTest({
    configs,
    env: { LLM_HELD_BYTES_MAX: String(600 * KiB), LLM_ANSWER_BYTES_MAX: String(300 * KiB), LLM_PIPELINED_MAX: '10' },
  });
  const ids = (generationId: string, number: number) =>
    encodeURIComponent(JSON.stringify(Object.fromEntries(Array(number).fill({ json: { generationId } }).entries())));

  it('a batch gets no more than the bound on its answers, and its memory is freed', async () => {
    const { url, service } = test.current;
    const generationId = await keepAnswer(test.current);
    const calls = ['llm.generation', 'llm.generation'].join();
    const response = await fetch(`${url}/trpc/${calls}?batch=1&input=${ids(generationId, 2)}`);
    const [first, second] = (await response.json()) as { result?: object; error?: { json: unknown } }[];
    expect(first).toHaveProperty('result');
    expect(second?.error?.json).toMatchObject({ data: { llm: { code: 'too_large' } } });
    await eventually(() => expect(service.core.held.total).toBe(0));
  });

  it('clients that leave before they are answered leave nothing behind', async () => {
    const { url, service } = test.current;
    const generationId = await keepAnswer(test.current);
    const { hostname, port } = new URL(url);
    const calls = ['llm.generation', 'llm.generation'].join();
    const head = `GET /trpc/${calls}?batch=1&input=${ids(generationId, 2)} HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`;
    using sockets = watchServerSockets(url);
    const clients = Array.from({ length: 20 }, () => connect(Number(port), hostname));
    await Promise.all(clients.map((client) => once(client, 'connect')));
    await eventually(() => expect(sockets.open).toHaveLength(20));
    for (const client of clients) client.write(head, () => client.resetAndDestroy());
    await eventually(() => expect(sockets.open).toHaveLength(0));
    await eventually(() => expect(service.server.openResponses).toBe(0));
    await eventually(() => expect(service.core.held.total).toBe(0));
    const response = await fetch(`${url}/trpc/llm.configs`);
    expect(response.status).toBe(200);
    expect(service.core.held.total).toBe(0);
  });

  it('a connection on which more requests wait than the bound says is closed', async () => {
    const { url, upstream, service } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    const head = `host: ${hostname}\r\ncontent-type: application/json\r\n`;
    const body = JSON.stringify({ messages: ask('hi').messages });
    socket.write(
      `POST /api/llm/process_stream/default HTTP/1.1\r\n${head}content-length: ${body.length}\r\n\r\n${body}`,
    );
    const request = await upstream.nextRequest();
    socket.write(`GET /healthz HTTP/1.1\r\n${head}\r\n`.repeat(9));
    await eventually(() => expect(service.server.openResponses).toBe(10));
    socket.write(`GET /healthz HTTP/1.1\r\n${head}\r\n`.repeat(1_000));
    await closed;
    expect(await request.outcome).toBe('client_closed');
    await eventually(() => expect(service.server.openResponses).toBe(0));
  });
});
