/** The routes for clients of other APIs, by plain HTTP: who may ask, what is refused and how, and what a slow reader costs. */
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { tool } from '../src/tools/tool.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { sha256 } from './support/key-file.ts';
import { postJson, send } from './support/raw-http.ts';
import { watchServerSockets } from './support/server-sockets.ts';
import { plainConfig, startTestService, type TestService } from './support/service.ts';
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
  tutor: { ...plainConfig, system_prompt: 'You teach {{subject}}.' },
  thinks: { ...plainConfig, thinking: { type: 'enabled', budget_tokens: 2_048 }, model: 'claude-sonnet-4-5' },
  tools: { ...plainConfig, tools: { erase } },
  goes_on: { ...plainConfig, on_disconnect: 'continue' },
};

let service: TestService;
beforeAll(async () => {
  service = await startTestService({
    configs,
    env: {
      LLM_OPENAI_DOOR: '1',
      LLM_API_KEYS: `alice:${sha256(key)},bob:${sha256('his-key')}`,
      LLM_SOCKET_BUFFER_BYTES_MAX: String(socketBufferBytes),
      LLM_VIEWER_BATCH_BYTES_MAX: String(batchBytes),
      LLM_HELD_BYTES_PER_CALLER_MAX: String(32 * KiB * KiB),
    },
  });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  for (const [what, left] of Object.entries(service.leftovers())) expect(left, `${what} left over`).toBe(0);
});
/** Requests to upstream before the test. */
let before = 0;
/** How many of them tests have looked at. */
let taken = 0;
const nextRequest = () => {
  taken += 1;
  return service.upstream.nextRequest();
};
beforeEach(async () => {
  while (taken < service.upstream.requestCount) await nextRequest();
  before = service.upstream.requestCount;
  service.upstream.respondWith({ kind: 'text', text: 'Hello.' });
});

const post = (path: string, body: unknown, headers: Record<string, string> = bearer) =>
  postJson(`${service.url}${path}`, body, headers);
const get = (path: string, headers: Record<string, string> = bearer) => send(`${service.url}${path}`, { headers });

/** A request that each route answers, by the route. */
const asked: Readonly<Record<string, Record<string, unknown>>> = {
  '/v1/responses': { model: 'default', input: 'hi' },
  '/v1/messages': { model: 'default', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }] },
  '/v1/chat/completions': { model: 'default', messages: [{ role: 'user', content: 'hi' }] },
};
const routes = Object.keys(asked);
const conversationOf = (route: string) => (route === '/v1/responses' ? 'input' : 'messages');

describe.each(routes)('%s', (route) => {
  it('takes a key in either header, and refuses one that is unknown', async () => {
    expect((await post(route, asked[route])).status).toBe(200);
    expect((await post(route, asked[route], { 'x-api-key': key })).status).toBe(200);
    expect((await post(route, asked[route], { 'x-api-key': key, authorization: 'Basic eDp5' })).status).toBe(200);
    for (const headers of [{}, { 'x-api-key': 'other' }, { 'x-api-key': key, authorization: 'Bearer other' }]) {
      const refused = await post(route, asked[route], headers);
      expect(refused.status).toBe(401);
      expect(JSON.parse(refused.text)).toMatchObject({ error: { code: 'unauthorized' } });
      expect(refused.headers['x-should-retry']).toBe('false');
    }
  });

  it('refuses pages of other sites', async () => {
    const refused = await post(route, asked[route], { ...bearer, origin: 'https://evil.example' });
    expect(refused.status).toBe(403);
    expect(JSON.parse(refused.text)).toMatchObject({ error: { code: 'forbidden' } });
  });

  const canary = 'canary-in-the-prompt';
  const conversation = conversationOf(route);
  it.each([
    ['no JSON', '{', /not valid JSON/],
    ['a list', [], /expected a JSON object/],
    ['null', 'null', /expected a JSON object/],
    ['no body', '', /empty/],
    [
      'a parameter that the config owns',
      { temperature: 1 },
      /temperature: expected nothing: the config "default" decides it/,
    ],
    ['an unknown field', { modle: 'x' }, /modle: unknown field/],
    ['a field that every object has', { constructor: 1 }, /constructor: unknown field/],
    ['__proto__', '{"model":"default","__proto__":{"stream":true}}', /./],
    [
      'an unknown tool',
      { tools: [{ type: 'function', name: 'x', function: { name: 'x' } }] },
      /expected a tool of the config "default"/,
    ],
    ['a tool that is none', { tools: [null] }, /tools/],
    ['a number as the model', { model: 1 }, /model/],
    ['an empty model', { model: '' }, /model/],
    ['no conversation', { [conversation]: undefined }, new RegExp(conversation)],
    ['a conversation of numbers', { [conversation]: [1, 2] }, new RegExp(`${conversation}\\[0\\]`)],
    ['an unknown role', { [conversation]: [{ role: 'robot', content: canary }] }, /role/],
    ['content that is none', { [conversation]: [{ role: 'user', content: 7 }] }, /content/],
    ['stream as text', { stream: 'yes' }, /stream/],
    ['variables that are no texts', { variables: { a: 1 } }, /variables/],
    ['an unknown variable', { variables: { colour: canary } }, /variables.colour/],
    ['variables twice', { variables: { a: 'x' } }, /x-llm-variables/, { 'x-llm-variables': '{"a":"x"}' }],
    ['a header that is no JSON', {}, /x-llm-variables/, { 'x-llm-variables': '{' }],
    ['an endless key', {}, /Idempotency-Key/, { 'idempotency-key': 'k'.repeat(300) }],
  ] as [string, unknown, RegExp, Record<string, string>?][])(
    'refuses %s',
    async (_what, change, says, headers = {}) => {
      const isChange = typeof change === 'object' && !Array.isArray(change);
      const refused = await post(route, isChange ? { ...asked[route], ...(change as object) } : change, {
        ...bearer,
        ...headers,
      });
      expect(refused.status, refused.text).toBe(400);
      const { error } = JSON.parse(refused.text) as { error: { message: string; code: string } };
      expect(error).toMatchObject({ code: 'invalid_input', retryable: false });
      expect(error.message).toMatch(says);
      expect(refused.text).not.toContain(canary);
      expect(service.upstream.requestCount).toBe(before);
    },
  );

  it('takes fields that are null for absent, and labels without an effect', async () => {
    const answered = await post(route, { ...asked[route], temperature: null, tools: null, metadata: { a: 'b' } });
    expect(answered.status).toBe(200);
  });

  it('refuses an object of a config that answers with text, and a config that a caller has not', async () => {
    const format = { type: 'json_schema', schema: {} };
    const wants = { '/v1/responses': { text: { format } }, '/v1/messages': { output_config: { format } } }[route];
    const refused = await post(route, { ...asked[route], ...(wants ?? { response_format: format }) });
    expect(JSON.parse(refused.text)).toMatchObject({ error: { code: 'invalid_input' } });
    const unknown = await post(route, { ...asked[route], model: 'none' });
    expect(unknown.status).toBe(404);
    expect(JSON.parse(unknown.text)).toMatchObject({ error: { code: 'config_not_found' } });
  });

  it('cuts the connection of a stream whose end it does not have', async () => {
    service.upstream.enqueue({ kind: 'manual' });
    const request = httpRequest(`${service.url}${route}`, {
      method: 'POST',
      agent: false,
      headers: { ...bearer, 'content-type': 'application/json', 'idempotency-key': crypto.randomUUID() },
    });
    request.end(JSON.stringify({ ...asked[route], stream: true }));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const upstream = await nextRequest();
    // More than a caller may have held: only Responses holds the text that it has sent.
    if (route === '/v1/responses') {
      const cut = once(response, 'close');
      response.on('error', () => {}).resume();
      for (let sent = 0; sent < 128 && !response.destroyed; sent += 1) await upstream.text('x'.repeat(64 * KiB));
      await cut;
      expect(response.complete).toBe(false);
    } else {
      await upstream.text('a');
      upstream.finish();
      let whole = '';
      for await (const chunk of response.setEncoding('utf8')) whole += chunk;
      expect(response.complete).toBe(true);
      expect(whole).toMatch(/message_stop|\[DONE\]/);
    }
    upstream.finish();
    await eventually(() => expect(service.service.core.generations.running).toBe(0));
    await eventually(() => expect(service.service.core.held.total).toBe(0));
  });

  it('costs a bounded number of bytes for a client that stopped reading, which gets everything when it reads on', async () => {
    const deltas = Array.from({ length: 3_000 }, (_, at) => `${at} ${'x'.repeat(1_000)} `);
    service.upstream.enqueue({ kind: 'text', text: deltas });
    using sockets = watchServerSockets(service.url);
    const request = httpRequest(`${service.url}${route}`, {
      method: 'POST',
      agent: false,
      headers: { ...bearer, 'content-type': 'application/json', 'idempotency-key': crypto.randomUUID() },
    });
    request.end(JSON.stringify({ ...asked[route], max_tokens: undefined, stream: true }));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const upstream = await nextRequest();
    expect(await upstream.outcome).toBe('completed');
    await eventually(() => expect(service.service.core.generations.running).toBe(0));
    const unsent = sockets.open.map(({ writableLength }) => writableLength);
    expect(Math.max(...unsent)).toBeLessThan(socketBufferBytes + 2 * batchBytes);
    let whole = '';
    for await (const chunk of response.setEncoding('utf8')) whole += chunk;
    const texts = [...whole.matchAll(/^data: (\{.*)$/gm)].map(([, json]) => deltaIn(JSON.parse(json!)));
    expect(texts.join('')).toBe(deltas.join(''));
  });
});

/** The text in one event of any of the streams. */
function deltaIn(event: {
  type?: string;
  delta?: string | { text?: string };
  choices?: { delta: { content?: string } }[];
}) {
  if (event.choices) return event.choices[0]?.delta.content ?? '';
  return typeof event.delta === 'string' ? event.delta : (event.delta?.text ?? '');
}

describe('what only one of them has', () => {
  it.each([
    ['/v1/messages', { system: 'You are a pirate.' }, /system: expected nothing/],
    ['/v1/messages', { tool_choice: { type: 'any' } }, /tool_choice.type/],
    ['/v1/messages', { max_tokens: 0 }, /max_tokens/],
    ['/v1/messages', { model: 'thinks', max_tokens: 1_024 }, /max_tokens: expected more than 2048/],
    ['/v1/responses', { instructions: 'Be a pirate.' }, /instructions: expected nothing/],
    ['/v1/responses', { previous_response_id: 'resp_1' }, /previous_response_id.*as input/],
    ['/v1/responses', { conversation: 'c' }, /conversation/],
    ['/v1/responses', { store: false }, /store/],
    ['/v1/responses', { max_output_tokens: 10 }, /max_output_tokens: expected nothing/],
    ['/v1/responses', { prompt: { id: 'tutor' } }, /prompt.id/],
    ['/v1/responses', { model: undefined }, /model: expected the name of a config/],
    ['/v1/responses', { tools: [{ type: 'web_search' }] }, /tools\[0\].*"web_search"/],
    ['/v1/responses', { input: [{ type: 'item_reference', id: 'x' }] }, /input\[0\].type/],
    ['/v1/responses', { input: [{ role: 'system', content: 'x' }] }, /input\[0\].role/],
    [
      '/v1/responses',
      { input: [{ role: 'user', content: [{ type: 'input_audio' }] }] },
      /input\[0\].content\[0\].type/,
    ],
    ['/v1/responses', { input: [{ type: 'mcp_call', server_label: 'other' }] }, /input\[0\]/],
    ['/v1/chat/completions', { n: 2 }, /n: expected 1/],
    ['/v1/chat/completions', { messages: [{ role: 'system', content: 'x' }] }, /messages\[0\].role/],
    ['/v1/chat/completions', { messages: [{ role: 'tool', content: 'x' }] }, /messages\[0\].tool_call_id/],
    ['/v1/chat/completions', { stop: ['x'] }, /stop: expected nothing/],
  ] as [string, object, RegExp][])('%s refuses %j', async (route, change, says) => {
    const refused = await post(route, { ...asked[route], ...change });
    expect(refused.status, refused.text).toBe(400);
    expect((JSON.parse(refused.text) as { error: { message: string } }).error.message).toMatch(says);
  });

  it.each([
    ['/v1/responses/nonsense', 400, 'invalid_input'],
    [`/v1/responses/resp_${crypto.randomUUID()}`, 404, 'generation_not_found'],
    [`/v1/responses/resp_${crypto.randomUUID()}?stream=true`, 404, 'generation_not_found'],
    [`/v1/responses/resp_${crypto.randomUUID()}?stream=maybe`, 400, 'invalid_input'],
    [`/v1/responses/resp_${crypto.randomUUID()}?starting_after=1`, 400, 'invalid_input'],
    [`/v1/responses/resp_${crypto.randomUUID()}?stream=true&starting_after=-1`, 400, 'invalid_input'],
    [`/v1/responses/resp_${crypto.randomUUID()}?stream=true&starting_after=1&starting_after=2`, 400, 'invalid_input'],
    ['/v1/models/none', 404, 'config_not_found'],
  ])('GET %s is refused', async (path, status, code) => {
    const refused = await get(path);
    expect(refused.status).toBe(status);
    expect(JSON.parse(refused.text)).toMatchObject({ error: { code } });
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
      service.upstream.enqueue({ kind: 'manual' });
      const generationId = crypto.randomUUID();
      const waiting = post(route, asked[route], { ...bearer, 'idempotency-key': generationId });
      await nextRequest();
      await send(`${service.url}/api/llm/generations/${generationId}`, { method: 'DELETE', headers: bearer });
      const ended = await waiting;
      expect(ended.status).toBe(499);
      expect(ended.headers['x-should-retry']).toBe('false');
      expect(JSON.parse(ended.text)).toMatchObject({ error: { code: 'cancelled' } });
    }
  });

  it('a call that needs an approval ends the answer, and the client has none to answer', async () => {
    service.upstream.respondWith(() => message(text('I erase.'), call('toolu_1', 'erase', {})));
    const answer = JSON.parse(
      (await post('/v1/messages', { ...asked['/v1/messages'], model: 'tools' })).text,
    ) as object;
    expect(answer).toMatchObject({
      stop_reason: 'end_turn',
      content: [{ type: 'text' }, { type: 'mcp_tool_use' }, { type: 'mcp_tool_result', is_error: true }],
    });
  });

  it('a config that goes on without viewers does so for a client that has named no id', async () => {
    service.upstream.enqueue({ kind: 'manual' });
    const request = httpRequest(`${service.url}/v1/messages`, {
      method: 'POST',
      agent: false,
      headers: { ...bearer, 'content-type': 'application/json' },
    });
    request.on('error', () => {});
    request.end(JSON.stringify({ ...asked['/v1/messages'], model: 'goes_on', stream: true }));
    await once(request, 'response');
    const upstream = await nextRequest();
    request.destroy();
    await eventually(() => expect(service.service.core.access.load.viewers).toBe(0));
    await upstream.text('to nobody');
    upstream.finish();
    expect(await upstream.outcome).toBe('completed');
  });

  it('models have the shape of whoever asks', async () => {
    const ofOpenAi = JSON.parse((await get('/v1/models')).text) as object;
    expect(ofOpenAi).toMatchObject({ object: 'list', data: [{ id: 'default', object: 'model' }] });
    const ofAnthropic = JSON.parse(
      (await get('/v1/models', { 'x-api-key': key, 'anthropic-version': '2023-06-01' })).text,
    );
    expect(ofAnthropic).toMatchObject({
      first_id: 'default',
      has_more: false,
      data: [{ type: 'model', id: 'default' }],
    });
    expect(JSON.stringify([ofOpenAi, ofAnthropic])).not.toContain(plainConfig.system_prompt);
  });
});

it('without the setting there are no such routes', async () => {
  await using plain = await startTestService();
  for (const route of [...routes, '/v1/messages/count_tokens']) {
    const refused = await postJson(`${plain.url}${route}`, asked[route] ?? {}, { 'x-api-key': 'any' });
    expect(refused.status).toBe(404);
    expect(JSON.parse(refused.text)).toMatchObject({
      error: { code: 'invalid_input', message: `No such route: POST ${route}` },
    });
  }
  expect((await send(`${plain.url}/v1/models`)).status).toBe(404);
});
