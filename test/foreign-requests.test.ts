/** What requests of other APIs become, without a service. */
import { expect, it } from 'vitest';
import { messageRequest } from '../src/doors/anthropic/message-request.ts';
import { adaptedConfig, generationIdIn } from '../src/doors/foreign-request.ts';
import { messagesOfChat, messagesOfInput } from '../src/doors/openai/input-items.ts';
import { parseConfigs } from '../src/configs/configs.ts';
import { createInputSchemas } from '../src/protocol.ts';

const plain = { model: 'claude-sonnet-5-5', max_tokens: 1_000, system_prompt: 'x' };
const configs = parseConfigs({
  default: { ...plain, fallback: 'other' },
  other: plain,
  on: { ...plain, on_disconnect: 'continue' },
});
const request = { config: 'default', messages: [] };

it('images, files, calls and results become blocks of the Messages API', () => {
  expect(
    messagesOfInput([
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'look' },
          { type: 'input_image', image_url: 'data:image/png;base64,AAAA' },
          { type: 'input_image', image_url: 'https://x.example/a.png' },
          { type: 'input_file', file_data: 'data:application/pdf;base64,BBBB' },
        ],
      },
      { type: 'reasoning', summary: [], encrypted_content: 'redacted_thinking:secret' },
      { type: 'reasoning', summary: [{ type: 'summary_text', text: 'unsigned' }] },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'I call.' }] },
      { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{"a":1}' },
      { type: 'function_call', call_id: 'c2', name: 'g', arguments: 'no JSON' },
      { type: 'function_call_output', call_id: 'c1', output: 'one' },
      { type: 'function_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'two' }] },
      { role: 'developer', content: 'From here on, rhyme.' },
      { role: 'user', content: 'go on' },
    ]),
  ).toEqual([
    {
      role: 'user',
      content: [
        { type: 'text', text: 'look' },
        { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
        { type: 'image', source: { type: 'url', url: 'https://x.example/a.png' } },
        { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'BBBB' } },
      ],
    },
    {
      role: 'assistant',
      content: [
        { type: 'redacted_thinking', data: 'secret' },
        { type: 'text', text: 'I call.' },
        { type: 'tool_use', id: 'c1', name: 'f', input: { a: 1 } },
        { type: 'tool_use', id: 'c2', name: 'g', input: { INVALID_JSON: 'no JSON' } },
      ],
    },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'c1', content: 'one' },
        { type: 'tool_result', tool_use_id: 'c2', content: [{ type: 'text', text: 'two' }] },
      ],
    },
    { role: 'system', content: [{ type: 'text', text: 'From here on, rhyme.' }] },
    { role: 'user', content: [{ type: 'text', text: 'go on' }] },
  ]);
});

it('the messages of a chat keep their calls and results', () => {
  expect(
    messagesOfChat([
      { role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://x.example/a.png' } }] },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } }],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'one' },
      { role: 'assistant', content: '' },
      { role: 'user', content: 'go on' },
    ]),
  ).toEqual([
    { role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'https://x.example/a.png' } }] },
    { role: 'assistant', content: [{ type: 'tool_use', id: 'c1', name: 'f', input: {} }] },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'c1', content: 'one' },
        { type: 'text', text: 'go on' },
      ],
    },
  ]);
});

const ownCall = (id: string) => ({
  type: 'mcp_tool_use',
  id,
  name: 'search',
  server_name: 'llm-service',
  input: { q: id },
});
const ownResult = (id: string, content: unknown[]) => ({
  type: 'mcp_tool_result',
  tool_use_id: id,
  is_error: false,
  content,
});
const thinking = { type: 'thinking', thinking: 'Hm.', signature: 's' };
const sent = (content: unknown[], then: unknown = 'and?') =>
  messageRequest(
    {
      model: 'default',
      messages: [
        { role: 'user', content: 'hi' },
        { role: 'assistant', content },
        { role: 'user', content: then },
      ],
    },
    {},
    { name: 'alice' },
    { schemas: createInputSchemas(), configs },
  ).request.messages;

it('the service’s own calls go back to upstream in steps, beside calls that the client answers', () => {
  const found = [{ type: 'text', text: '2' }];
  const mine = { type: 'tool_use', id: 'mine', name: 'show', input: {} };
  const result = { type: 'tool_result', tool_use_id: 'mine', content: 'done' };
  expect(sent([thinking, ownCall('a'), mine, ownResult('a', found)], [result])).toEqual([
    { role: 'user', content: [{ type: 'text', text: 'hi' }] },
    { role: 'assistant', content: [thinking, { type: 'tool_use', id: 'a', name: 'search', input: { q: 'a' } }, mine] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a', content: '2' }, result] },
  ]);
  expect(sent([ownCall('a'), ownResult('a', found), { type: 'text', text: 'Two.' }]).map(({ role }) => role)).toEqual([
    'user',
    'assistant',
    'user',
    'assistant',
    'user',
  ]);
});

it('a call whose result the client never had is left out, and with it all thinking', () => {
  expect(sent([thinking, ownCall('a'), ownResult('a', []), { type: 'text', text: 'Two.' }])).toEqual([
    { role: 'user', content: [{ type: 'text', text: 'hi' }] },
    { role: 'assistant', content: [{ type: 'text', text: 'Two.' }] },
    { role: 'user', content: [{ type: 'text', text: 'and?' }] },
  ]);
});

it('calls of other servers pass as they are', () => {
  const foreign = { ...ownCall('a'), server_name: 'elsewhere' };
  expect(sent([foreign, ownResult('a', [])])[1]).toEqual({ role: 'assistant', content: [foreign, ownResult('a', [])] });
});

it('one idempotency key is one generation', () => {
  const id = '9F3C2B1A-2222-4333-8444-555555555555';
  expect(generationIdIn({ 'idempotency-key': id })).toBe(id.toLowerCase());
  const made = ['a', 'b', 'a'].map((key) => generationIdIn({ 'idempotency-key': key }));
  expect(made[0]).toBe(made[2]);
  expect(made[0]).not.toBe(made[1]);
  for (const each of made)
    expect(each).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(generationIdIn({})).toBeUndefined();
});

it('a config is adapted: no grace without an id, no wait for clients, no longer an answer than the client allows', () => {
  const [config, goesOn] = [configs.get('default')!, configs.get('on')!];
  const unnamed = adaptedConfig(config, { request: { ...request, answerTokensMax: 77 }, named: false });
  expect(unnamed).toMatchObject({
    onDisconnect: { cancelAfterMs: 0 },
    clientTools: { waitMs: 0 },
    maxTokens: 77,
    fallback: { maxTokens: 77, onDisconnect: { cancelAfterMs: 0 } },
  });
  expect(adaptedConfig(config, { request, named: true })).toMatchObject({
    onDisconnect: config.onDisconnect,
    maxTokens: 1_000,
  });
  expect(adaptedConfig(config, { request, named: false, background: true }).onDisconnect).toBe('continue');
  expect(adaptedConfig(goesOn, { request, named: false }).onDisconnect).toBe('continue');
});
