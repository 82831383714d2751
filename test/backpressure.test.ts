import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { doors, readAll, textOf } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { openSocket, query, subscription } from './support/raw-websocket.ts';
import { sleepers, tooMuch as blocks } from './support/sleepers.ts';
import { watchServerSockets } from './support/server-sockets.ts';
import { ask, plainConfig, serviceForEachTest, type TestService } from './support/service.ts';

finishesCleanly();

const rest = door('rest');
const KiB = 1024;
const socketBufferBytes = 64 * KiB;
const batchBytes = 32 * KiB;
/** What a viewer may leave unsent: a full socket, the batch that filled it, and the frames around the events. */
const unsentBytesMax = socketBufferBytes + 2 * batchBytes;

const env = {
  LLM_SOCKET_BUFFER_BYTES_MAX: String(socketBufferBytes),
  LLM_VIEWER_BATCH_BYTES_MAX: String(batchBytes),
};
const configs = { default: { ...plainConfig, on_disconnect: 'continue' } };

/** Waits until the next generation has ended, no more than this many run, and the doors have done what follows. */
async function settled({ service, upstream }: TestService, running = 0): Promise<void> {
  const request = await upstream.nextRequest();
  expect(await request.outcome).toBe('completed');
  await eventually(() => expect(service.core.generations.running).toBe(running));
  for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
}

describe.each(sleepers)('over $name, a client that stopped reading', ({ fall }) => {
  const test = serviceForEachTest({ env, configs });

  it('costs a bounded number of bytes, slows nobody down, and receives everything when it reads on', async () => {
    const { url, upstream, service } = test.current;
    using sockets = watchServerSockets(url);
    upstream.enqueue({ kind: 'blocks', blocks, stopReason: 'end_turn' });
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    using sleeper = await fall(url, asked);
    const other = readAll(rest.stream(url, asked));
    await settled(test.current);
    expect((await other).length).toBe(blocks.length + 2);

    expect(service.core.access.load.viewers).toBe(1);
    expect(service.core.logs.bytes).toBeGreaterThan(blocks.length * 8 * KiB);
    const unsent = sockets.open.map(({ writableLength }) => writableLength);
    expect(Math.max(...unsent)).toBeGreaterThan(0);
    expect(Math.max(...unsent)).toBeLessThan(unsentBytesMax);

    const seen = await sleeper.read();
    expect(seen.map(({ type }) => type)).toEqual(['start', ...blocks.map(() => 'block'), 'done']);
    expect(seen.filter(({ type }) => type === 'block')).toMatchObject(blocks.map((block) => ({ block })));
  });

  it('receives the text that it missed whole, in fewer and larger pieces', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    using sleeper = await fall(url, asked);
    const other = rest.stream(url, asked);
    const request = await upstream.nextRequest();
    for (const block of blocks) request.startBlock(block);
    request.startBlock();
    await other.until((event) => event.type === 'block' && event.block['number'] === blocks.length - 1);
    const tokens = Array.from({ length: 100 }, (_, number) => `töken ${number} `);
    for (const token of tokens) {
      await request.text(token);
      await other.until((event) => event.type === 'text' && event.text === token);
    }
    request.finish();
    await readAll(other);
    const seen = await sleeper.read();
    const pieces = seen.flatMap((event) => (event.type === 'text' ? [event.text] : []));
    expect(pieces.join('')).toBe(tokens.join(''));
    expect(pieces.length).toBeLessThan(5);
    expect(seen.at(-1)?.type).toBe('done');
  });
});

describe.each(sleepers)('over $name, a client that takes nothing for too long', ({ name, fall }) => {
  const test = serviceForEachTest({ env: { ...env, LLM_SOCKET_STALL_MS: '1500' }, configs });

  it('is disconnected and can resume; its generation goes on, and so does a viewer that is merely quiet', async () => {
    const { url, upstream, service } = test.current;
    upstream.enqueue({ kind: 'manual' }, { kind: 'blocks', blocks, stopReason: 'end_turn' });
    const quiet = door(name).stream(url, ask('quiet'));
    const quietRequest = await upstream.nextRequest();
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    using sleeper = await fall(url, asked);
    void sleeper;
    await settled(test.current, 1);
    await eventually(() => expect(service.core.access.load.viewers).toBe(1));

    const lastEventId = `${asked.generationId}:1`;
    const seen = await readAll(door(name).stream(url, { ...asked, lastEventId }));
    expect(seen.map(({ event }) => event.type)).toEqual([...blocks.slice(1).map(() => 'block'), 'done']);
    await quietRequest.text('still here');
    quietRequest.finish();
    expect(textOf(await readAll(quiet))).toBe('still here');
    expect(upstream.requestCount).toBe(2);
  });
});

describe('a WebSocket whose client took nothing for a while, and then all', () => {
  const test = serviceForEachTest({ env: { ...env, LLM_SOCKET_STALL_MS: '3000' }, configs });

  it('stays open, and is closed when its client takes nothing again', async () => {
    const { url, upstream, service } = test.current;
    using sockets = watchServerSockets(url);
    using socket = await openSocket(url);
    const answer = { kind: 'blocks', blocks, stopReason: 'end_turn' } as const;
    upstream.enqueue(answer, answer);
    socket.tcp.pause();
    socket.send(subscription(1, 'llm.stream', ask('hi')));
    const [watched] = sockets.open;
    await eventually(() => expect(watched!.writableLength).toBeGreaterThan(0));
    socket.tcp.resume();
    while ((await socket.next()).result?.type !== 'stopped');
    socket.send(query(2, 'llm.configs'));
    expect(await socket.next()).toMatchObject({ id: 2 });
    socket.tcp.pause();
    socket.send(subscription(3, 'llm.stream', ask('hi')));
    await settled(test.current);
    await eventually(() => expect(service.server.sockets).toBe(0));
  });
});

describe('many subscriptions on one WebSocket that is not read', () => {
  const test = serviceForEachTest({ env, configs });

  it('cost no more than the same number of viewers, and log no warning', async () => {
    const { url, upstream, service } = test.current;
    const warnings: Error[] = [];
    const warn = (warning: Error) => void warnings.push(warning);
    process.on('warning', warn);
    using sockets = watchServerSockets(url);
    upstream.enqueue({ kind: 'blocks', blocks, stopReason: 'end_turn' });
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    using socket = await openSocket(url);
    const viewers = 30;
    for (let id = 0; id < viewers; id += 1) socket.send(subscription(id, 'llm.stream', asked));
    await eventually(() => expect(service.core.access.load.viewers).toBe(viewers));
    socket.tcp.pause();
    await settled(test.current);
    expect(service.core.access.load.viewers).toBe(viewers);
    const [{ writableLength }] = sockets.open as [Socket];
    expect(writableLength).toBeGreaterThan(0);
    expect(writableLength).toBeLessThan(viewers * unsentBytesMax);
    process.off('warning', warn);
    expect(warnings).toEqual([]);
  });
});

describe('a connection on which nothing is asked', () => {
  const test = serviceForEachTest({ env: { ...env, LLM_SOCKET_STALL_MS: '200' }, configs });

  it('is closed, also if it never had a request; a connection whose answer has not arrived yet is not', async () => {
    const { url, upstream, service } = test.current;
    const { hostname, port } = new URL(url);
    using sockets = watchServerSockets(url);
    const silent = connect(Number(port), hostname);
    await once(silent, 'close');

    upstream.enqueue({ kind: 'manual' });
    const view = door('rest').stream(url, ask('hi'));
    const request = await upstream.nextRequest();
    await view.until((event) => event.type === 'start');
    const [socket] = sockets.open;
    socket!.emit('timeout');
    expect(socket!.destroyed).toBe(false);
    await request.text('still here');
    request.finish();
    expect(textOf(await readAll(view))).toBe('still here');
    await eventually(() => expect(service.server.openResponses).toBe(0));
    // As if a kept connection had been idle for long.
    socket!.emit('timeout');
    expect(socket!.destroyed).toBe(true);
  });
});

describe('requests that were sent at once on one connection', () => {
  const test = serviceForEachTest({ env, configs });

  it('are answered one after the other, so that the second holds nothing while it waits', async () => {
    const { url, upstream, service } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname).setEncoding('utf8');
    const body = JSON.stringify({ messages: ask('hi').messages });
    const head = `POST /api/llm/process_stream/default HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\n`;
    socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`.repeat(2));
    let text = '';
    socket.on('data', (chunk: string) => (text += chunk));
    const request = await upstream.nextRequest();
    await eventually(() => expect(text).toContain('event: start'));
    expect(service.core.access.load).toEqual({ generations: 1, viewers: 1, waiting: 0 });
    request.finish();
    await eventually(() => expect(text.match(/^event: done$/gm)).toHaveLength(2));
    expect(upstream.requestCount).toBe(2);

    upstream.enqueue({ kind: 'manual' });
    socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`.repeat(2));
    await upstream.nextRequest();
    await eventually(() => expect(service.core.access.load.viewers).toBe(1));
    socket.destroy();
    await eventually(() => expect(service.core.access.load.viewers).toBe(0));
    // The waiting request was not run, and nothing still waits for it.
    await eventually(() => expect(service.server.openResponses).toBe(0));
    expect(upstream.requestCount).toBe(3);
  });
});

function door(name: string) {
  return doors.find((each) => each.name === name)!;
}
