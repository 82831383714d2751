/** The routes for clients of other APIs, by plain HTTP: what a cut, a stop and a slow reader do. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { tool } from '../src/tools/tool.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { sha256 } from './support/key-file.ts';
import { postJson, send } from './support/raw-http.ts';
import { watchServerSockets } from './support/server-sockets.ts';
import { plainConfig, serviceForEachTest, startTestService } from './support/service.ts';
import { call, message, text } from './support/tool-scripts.ts';

finishesCleanly();

const KiB = 1_024;
const socketBufferBytes = 64 * KiB;
const batchBytes = 32 * KiB;
const key = 'her-key';
const bearer = { authorization: `Bearer ${key}` };

const erase = tool({
  description: 'Erases.',
  input: z.object({}),
  output: z.string(),
  approval: true,
  execute: () => 'erased',
});
const configs = {
  default: plainConfig,
  tools: { ...plainConfig, tools: { erase } },
  goes_on: { ...plainConfig, on_disconnect: 'continue' },
};
const env = {
  LLM_OPENAI_DOOR: '1',
  LLM_API_KEYS: `alice:${sha256(key)},bob:${sha256('his-key')}`,
  LLM_SOCKET_BUFFER_BYTES_MAX: String(socketBufferBytes),
  LLM_VIEWER_BATCH_BYTES_MAX: String(batchBytes),
};
const test = serviceForEachTest({ configs, env });

const post = (path: string, body: unknown, headers: Record<string, string> = bearer) =>
  postJson(`${test.current.url}${path}`, body, headers);
const get = (path: string, headers: Record<string, string> = bearer) => send(`${test.current.url}${path}`, { headers });

/** A request that each route answers, by the route. */
const asked: Readonly<Record<string, Record<string, unknown>>> = {
  '/v1/responses': { model: 'default', input: 'hi' },
  '/v1/messages': { model: 'default', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }] },
  '/v1/chat/completions': { model: 'default', messages: [{ role: 'user', content: 'hi' }] },
};
const routes = Object.keys(asked);

/** The response of a stream, once its head has come. */
async function stream(
  route: string,
  change: object = {},
  headers: Record<string, string> = {},
  { url } = test.current,
) {
  const request = httpRequest(`${url}${route}`, {
    method: 'POST',
    agent: false,
    headers: { ...bearer, 'content-type': 'application/json', ...headers },
  });
  request.on('error', () => {});
  request.end(JSON.stringify({ ...asked[route], ...change, stream: true }));
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { request, response };
}

describe.each(routes)('%s', (route) => {
  it('takes a key in either header, fields that are null for absent, and labels without an effect', async () => {
    test.current.upstream.respondWith({ kind: 'text', text: 'Hello.' });
    for (const headers of [bearer, { 'x-api-key': key }, { 'x-api-key': key, authorization: 'Basic eDp5' }]) {
      const body = { ...asked[route], temperature: null, tools: null, metadata: { a: 'b' } };
      expect((await post(route, body, headers as Record<string, string>)).status).toBe(200);
    }
  });

  it('costs a bounded number of bytes for a client that stopped reading, which gets everything when it reads on', async () => {
    const { url, upstream, service } = test.current;
    const deltas = Array.from({ length: 10_000 }, (_, at) => `${at} ${'x'.repeat(1_000)} `);
    upstream.enqueue({ kind: 'text', text: deltas, stopReason: 'end_turn' });
    using sockets = watchServerSockets(url);
    const { response } = await stream(route, { max_tokens: undefined }, { 'idempotency-key': 'slow' });
    expect(await (await upstream.nextRequest()).outcome).toBe('completed');
    await eventually(() => expect(service.core.generations.running).toBe(0));
    const unsent = sockets.open.map(({ writableLength }) => writableLength);
    expect(Math.max(...unsent)).toBeGreaterThan(0);
    expect(Math.max(...unsent)).toBeLessThan(socketBufferBytes + 2 * batchBytes);
    let whole = '';
    for await (const chunk of response.setEncoding('utf8')) whole += chunk;
    const events = [...whole.matchAll(/^data: (\{.*)$/gm)].map(([, json]) => JSON.parse(json!) as Delta);
    expect(events.map(deltaIn).join('') === deltas.join('')).toBe(true);
  });
});

/** What the events of the three streams that hold text have in common. */
interface Delta {
  readonly delta?: string | { readonly text?: string };
  readonly choices?: readonly { readonly delta: { readonly content?: string } }[];
}

function deltaIn({ delta, choices }: Delta): string {
  if (choices) return choices[0]?.delta.content ?? '';
  return typeof delta === 'string' ? delta : (delta?.text ?? '');
}

it('a stream whose end the service does not send is cut: here one that outgrows what a caller may have held', async () => {
  await using small = await startTestService({
    configs,
    env: { ...env, LLM_HELD_BYTES_PER_CALLER_MAX: String(KiB * KiB) },
  });
  const { upstream, service } = small;
  upstream.enqueue({ kind: 'manual' });
  const { response } = await stream('/v1/responses', {}, {}, small);
  const request = await upstream.nextRequest();
  const cut = new Promise((resolve) => response.on('close', resolve));
  response.on('error', () => {}).resume();
  for (let sent = 0; sent < 256 && !response.destroyed; sent += 1) await request.text('x'.repeat(64 * KiB));
  await cut;
  expect(response.complete).toBe(false);
  expect(await request.outcome).toBe('client_closed');
  await eventually(() => expect(service.core.held.total).toBe(0));
});

it('a response is its caller’s own', async () => {
  const { id } = JSON.parse((await post('/v1/responses', asked['/v1/responses'])).text) as { id: string };
  const others = { authorization: 'Bearer his-key' };
  expect((await get(`/v1/responses/${id}`)).status).toBe(200);
  expect((await get(`/v1/responses/${id}`, others)).status).toBe(404);
  expect((await post(`/v1/responses/${id}/cancel`, {}, others)).status).toBe(404);
});

it('a cursor at the end, or beyond it, gives an empty stream', async () => {
  const { id } = JSON.parse((await post('/v1/responses', asked['/v1/responses'])).text) as { id: string };
  const { status, headers, text: none } = await get(`/v1/responses/${id}?stream=true&starting_after=99999`);
  expect({ status, type: headers['content-type'], none }).toEqual({
    status: 200,
    type: 'text/event-stream; charset=utf-8',
    none: '',
  });
});

it('an answer that is cancelled while it is waited for is an error that nobody repeats', async () => {
  for (const route of ['/v1/messages', '/v1/chat/completions']) {
    test.current.upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const waiting = post(route, asked[route], { ...bearer, 'idempotency-key': generationId });
    await test.current.upstream.nextRequest();
    await send(`${test.current.url}/api/llm/generations/${generationId}`, { method: 'DELETE', headers: bearer });
    const ended = await waiting;
    expect(ended.status).toBe(499);
    expect(ended.headers['x-should-retry']).toBe('false');
    expect(JSON.parse(ended.text)).toMatchObject({ error: { code: 'cancelled' } });
  }
});

it('a call that needs an approval ends the answer, and the client has none to answer', async () => {
  test.current.upstream.respondWith(() => message(text('I erase.'), call('toolu_1', 'erase', {})));
  const answer = JSON.parse((await post('/v1/messages', { ...asked['/v1/messages'], model: 'tools' })).text) as object;
  expect(answer).toMatchObject({
    stop_reason: 'end_turn',
    content: [{ type: 'text' }, { type: 'mcp_tool_use' }, { type: 'mcp_tool_result', is_error: true }],
  });
});

it('a config that goes on without viewers does so for a client that has named no id', async () => {
  test.current.upstream.enqueue({ kind: 'manual' });
  const { request } = await stream('/v1/messages', { model: 'goes_on' });
  const upstream = await test.current.upstream.nextRequest();
  request.destroy();
  await eventually(() => expect(test.current.service.core.access.load.viewers).toBe(0));
  await upstream.text('to nobody');
  upstream.finish();
  expect(await upstream.outcome).toBe('completed');
});
