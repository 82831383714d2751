/** What the routes for clients of other APIs refuse, and in which words. Nothing here reaches upstream. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { sha256 } from './support/key-file.ts';
import { postJson, send } from './support/raw-http.ts';
import { plainConfig, startTestService, type TestService } from './support/service.ts';

finishesCleanly();

const key = 'her-key';
const bearer = { authorization: `Bearer ${key}` };
const configs = {
  default: plainConfig,
  tutor: { ...plainConfig, system_prompt: 'You teach {{subject}}.' },
  thinks: { ...plainConfig, thinking: { type: 'enabled', budget_tokens: 2_048 }, model: 'claude-sonnet-4-5' },
};

let service: TestService;
beforeAll(async () => {
  service = await startTestService({
    configs,
    env: { LLM_OPENAI_DOOR: '1', LLM_API_KEYS: `alice:${sha256(key)}` },
  });
});
afterAll(async () => {
  expect(service.upstream.requestCount).toBe(0);
  await service[Symbol.asyncDispose]();
});

const post = (path: string, body: unknown, headers: Record<string, string> = bearer) =>
  postJson(`${service.url}${path}`, body, headers);
const get = (path: string, headers: Record<string, string> = bearer) => send(`${service.url}${path}`, { headers });

/** A request that each route would answer, by the route. */
const asked: Readonly<Record<string, Record<string, unknown>>> = {
  '/v1/responses': { model: 'default', input: 'hi' },
  '/v1/messages': { model: 'default', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }] },
  '/v1/chat/completions': { model: 'default', messages: [{ role: 'user', content: 'hi' }] },
};
const routes = Object.keys(asked);

describe.each(routes)('%s', (route) => {
  it('refuses a key that is not known, in either header', async () => {
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
  const conversation = route === '/v1/responses' ? 'input' : 'messages';
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
    },
  );

  it('refuses an object of a config that answers with text, and a config that a caller has not', async () => {
    const format = { type: 'json_schema', schema: {} };
    const wants = { '/v1/responses': { text: { format } }, '/v1/messages': { output_config: { format } } }[route];
    const refused = await post(route, { ...asked[route], ...(wants ?? { response_format: format }) });
    expect(JSON.parse(refused.text)).toMatchObject({ error: { code: 'invalid_input' } });
    const unknown = await post(route, { ...asked[route], model: 'none' });
    expect(unknown.status).toBe(404);
    expect(JSON.parse(unknown.text)).toMatchObject({ error: { code: 'config_not_found' } });
  });
});

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

  it('models have the shape of whoever asks', async () => {
    const ofOpenAi = JSON.parse((await get('/v1/models')).text) as object;
    expect(ofOpenAi).toMatchObject({ object: 'list', data: [{ id: 'default', object: 'model' }, {}, {}] });
    const ofAnthropic = JSON.parse(
      (await get('/v1/models', { 'x-api-key': key, 'anthropic-version': '2023-06-01' })).text,
    );
    expect(ofAnthropic).toMatchObject({
      first_id: 'default',
      has_more: false,
      data: [{ type: 'model', id: 'default' }, {}, {}],
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
