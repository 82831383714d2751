/**
 * Whatever clients send, and whenever they leave: no promise rejects unhandled, and nothing throws outside of a
 * handler.
 */
import { setMaxListeners } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { frame, headOf, openWebSocketWire, openWire, posted } from './support/attack-wire.ts';
import { startServiceProcess, type ServiceProcess } from './support/service-process.ts';

// A process of its own, which ends at the first such rejection or exception.
let upstream: Simulator;
let service: ServiceProcess;
beforeAll(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  upstream.respondWith({ kind: 'text', text: 'hello' });
  service = await startServiceProcess({ upstreamUrl: upstream.url, env: { LLM_STARTS_PER_MINUTE_MAX: '1000000' } });
}, 60_000);
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

const id = '7c42ca9b-9eab-4d04-80b3-40f10b0c54aa';
const ask = '{"messages":[{"role":"user","content":"x"}]}';
const asked = `{"json":{"config":"default","messages":[{"role":"user","content":"x"}]}}`;
const sse = { accept: 'text/event-stream' };
const nested = `${'['.repeat(200)}${']'.repeat(200)}`;

const bodies = [
  '',
  '{',
  'null',
  '1',
  '[]',
  '{}',
  '{"json":null}',
  '{"0":1}',
  nested,
  '"\\ud800"',
  '\ud800',
  ask,
  asked,
];
const paths = [
  '/',
  '/%zz',
  '/trpc',
  '/trpc/llm.stream',
  '/trpc/llm.cancel',
  '/trpc/llm.generation,llm.generations?batch=1',
  '/trpc/llm.generation?input=%7B',
  '/trpc/toString',
  '/api/llm/process_stream/default',
  '/api/llm/process_stream/__proto__',
  `/api/llm/generations/${id}/events`,
  `/api/llm/generations/x`,
];
const overHttp = paths.flatMap((path) => [
  ...bodies.flatMap((body) => [posted(path, body), posted(path, body, { ...sse, 'last-event-id': `${id}:-1` })]),
  ...['GET', 'DELETE', 'OPTIONS', 'HEAD', 'NO'].map((method) => Buffer.from(headOf(method, path, sse))),
  Buffer.from(headOf('POST', path, { 'content-type': 'application/json', 'content-length': 100 })),
  Buffer.from(headOf('GET', path, { connection: 'Upgrade', upgrade: 'websocket' })),
  Buffer.from(`${headOf('GET', path)}garbage\r\n\r\n`),
]);

const methods = ['query', 'mutation', 'subscription', 'subscription.stop', 'connectionParams', 'none'];
const procedures = ['llm.stream', 'llm.follow', 'llm.cancel', 'llm.generation', 'llm.generations', 'llm.configs', 'no'];
const inputs = ['null', '1', '{}', '{"json":null}', asked, `{"json":{"generationId":"${id}"}}`, nested];
const messages = [
  ...['', '{', 'null', '1', '"x"', '[]', '[[]]', '{}', '[1,null,{}]', nested, 'PING', 'PONG'],
  ...methods.flatMap((method) =>
    procedures.flatMap((path) =>
      inputs.map((input) => `{"id":1,"method":"${method}","params":{"path":"${path}","input":${input}}}`),
    ),
  ),
];
const frames = [
  ...messages.flatMap((message) => [frame(message), frame(message, 2)]),
  ...[0, 3, 8, 9, 10, 11].flatMap((opcode) => [frame('x', opcode), frame('x'.repeat(126), opcode)]),
  frame('x', 1, false),
  Buffer.from('no frame at all'),
  Buffer.from([0xff, 0xff, 0xff]),
];

/** Each on its own connection. Its client leaves at once, within an answer, or after it. */
async function send(pieces: readonly Buffer[], open: (signal: AbortSignal) => ReturnType<typeof openWebSocketWire>) {
  const over = new AbortController();
  setMaxListeners(0, over.signal);
  for (let start = 0; start < pieces.length; start += 100) {
    await Promise.all(
      pieces.slice(start, start + 100).map(async (piece, index) => {
        const wire = await open(over.signal);
        wire?.write(piece);
        if (index % 3 > 0) await wire?.until(({ bytesReceived }) => bytesReceived > 0, 20 * (index % 3));
        if (index % 2 > 0) wire?.socket.resetAndDestroy();
        else wire?.socket.end().destroy();
      }),
    );
  }
  over.abort();
}

async function isWell(): Promise<boolean> {
  return (await fetch(`${service.url}/healthz`)).ok;
}

it('over HTTP', async () => {
  await send(overHttp, (signal) => openWire(service.url, signal));
  expect(await isWell()).toBe(true);
}, 60_000);

it('over WebSockets', async () => {
  await send(frames, (signal) => openWebSocketWire(service.url, signal));
  await send([Buffer.concat(frames.slice(0, 600)), ...frames.slice(0, 50)], (signal) =>
    openWebSocketWire(service.url, signal, { search: '?connectionParams=1' }),
  );
  expect(await isWell()).toBe(true);
}, 60_000);
