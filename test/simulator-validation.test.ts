import type { OutgoingHttpHeaders } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import { afterEach, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { post, streaming } from './support/plain-client.ts';

finishesCleanly();

let simulator: Simulator;
afterEach(() => simulator[Symbol.asyncDispose]());

const oldVersion = { 'anthropic-version': '2023-06-01' };
const sent = (more: object) => streaming('Hi', more);
const shaped = (schema: object, more: object = {}) =>
  sent({ output_config: { format: { type: 'json_schema', schema } }, ...more });
const saying = (content: unknown, role = 'user') => sent({ messages: [{ role, content }] });

const invalid: Record<string, [body: unknown, message: string, headers?: OutgoingHttpHeaders]> = {
  'broken JSON': ['{', 'The request body is not valid JSON'],
  'a body that is no object': [[], 'Input should be a valid dictionary'],
  'a request without version': [sent({}), 'anthropic-version: header is required', { 'anthropic-version': '' }],
  'a request that does not stream': [sent({ stream: false }), 'stream: this simulator only streams; set it to true'],
  'no model': [sent({ model: undefined }), 'model: Field required'],
  'no max_tokens': [sent({ max_tokens: undefined }), 'max_tokens: Field required'],
  'max_tokens of 0': [sent({ max_tokens: 0 }), 'max_tokens: Input should be greater than or equal to 1'],
  'max_tokens of 1.5': [sent({ max_tokens: 1.5 }), 'max_tokens: Input should be a valid integer'],
  'no messages': [sent({ messages: [] }), 'messages: at least one message is required'],
  'a role that is none': [
    saying('Hi', 'robot'),
    'messages: Unexpected role "robot". Allowed roles are "user", "assistant" or "system".',
  ],
  'a system message that begins': [saying('Hi', 'system'), 'messages: first message must use the "user" role'],
  'an assistant that begins': [saying('Hi', 'assistant'), 'messages: first message must use the "user" role'],
  'empty content': [
    saying(''),
    'messages.0: all messages must have non-empty content except for the optional final assistant message',
  ],
  'an empty text block': [saying([{ type: 'text', text: '' }]), 'messages: text content blocks must be non-empty'],
  'a block without type': [saying([{}]), 'messages.0.content.0.type: Field required'],
  'an empty system block': [
    sent({ system: [{ type: 'text', text: '' }] }),
    'system: text content blocks must be non-empty',
  ],
  'a blank stop sequence': [
    sent({ stop_sequences: [' '] }),
    'stop_sequences: each stop sequence must contain non-whitespace',
  ],
  'temperature on a new version': [sent({ temperature: 0.5 }), 'temperature: not supported on this version'],
  'temperature for a new model': [
    sent({ model: 'claude-opus-4-7', temperature: 0.5 }),
    'temperature: not supported by claude-opus-4-7',
    oldVersion,
  ],
  'temperature out of bounds': [
    sent({ model: 'claude-sonnet-4-6', temperature: 2 }),
    'temperature: Input should be less than or equal to 1',
    oldVersion,
  ],
  'thinking of an unknown type': [
    sent({ thinking: { type: 'deep' } }),
    "thinking: Input tag 'deep' found using 'type' does not match any of the expected tags: 'adaptive', 'between_tools', 'disabled', 'enabled'",
  ],
  'a small thinking budget': [
    sent({ thinking: { type: 'enabled', budget_tokens: 1 } }),
    'thinking.enabled.budget_tokens: Input should be greater than or equal to 1024',
  ],
  'a thinking budget as large as max_tokens': [
    sent({ max_tokens: 2_000, thinking: { type: 'enabled', budget_tokens: 2_000 } }),
    '`max_tokens` must be greater than `thinking.budget_tokens`',
  ],
  'a display of thinking that only a beta has': [
    sent({ thinking: { type: 'adaptive', display: 'updates' } }),
    "thinking.adaptive.display: Input should be 'summarized' or 'omitted'",
  ],
  'a display of thinking between tools': [
    sent({ thinking: { type: 'between_tools', display: 'omitted' } }),
    'thinking.between_tools.display: Extra inputs are not permitted',
  ],
  'an effort that is none': [
    sent({ output_config: { effort: 'maximal' } }),
    "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
  ],
  'MCP servers without their beta': [sent({ mcp_servers: [] }), 'mcp_servers: Extra inputs are not permitted'],
  'context management without its beta': [
    sent({ context_management: { edits: [] } }),
    'context_management: Extra inputs are not permitted',
    { 'anthropic-beta': 'mcp-client-2025-11-20' },
  ],
  'a format that is none': [
    sent({ output_config: { format: { type: 'xml' } } }),
    "output_config.format.type: Input should be 'json_schema'",
  ],
  'a schema that is open': [
    shaped({ type: 'object', properties: {} }),
    "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
  ],
  'a bound within a schema': [
    shaped({ type: 'array', items: { type: 'integer', minimum: 1, maximum: 2 } }),
    "output_config.format.schema: For 'integer' type, properties minimum, maximum are not supported",
  ],
  'a schema that contains itself': [
    shaped({ $ref: '#/$defs/a', $defs: { a: { type: 'array', items: { $ref: '#/$defs/a' } } } }),
    'output_config.format.schema: Circular reference detected in schema definitions: #/$defs/a',
  ],
  'a schema that is too large': [
    shaped({ anyOf: Array.from({ length: 1_001 }, (_, index) => ({ const: index })) }),
    expect.stringMatching(
      /^output_config\.format\.schema: Invalid schema: The compiled grammar is too large/,
    ) as string,
  ],
  'a format beside citations': [
    shaped(
      { type: 'string' },
      { messages: [{ role: 'user', content: [{ type: 'document', citations: { enabled: true } }] }] },
    ),
    'output_config.format: citations are not supported with it',
  ],
  'a format beside the beginning of an answer': [
    shaped(
      { type: 'string' },
      {
        messages: [
          { role: 'user', content: 'Hi' },
          { role: 'assistant', content: '{' },
        ],
      },
    ),
    'output_config.format: prefilling the answer is not supported with it',
  ],
};

describe('the simulator refuses, as the API does,', () => {
  it.each(Object.entries(invalid))('%s', async (_name, [body, message, headers = {}]) => {
    simulator = await startSimulator({ docs: [] });
    simulator.enqueue({ kind: 'text', text: 'kept for a valid request' });
    const refused = await post(simulator.url, body, { headers });
    expect(refused.status).toBe(400);
    expect(JSON.parse(await refused.text)).toEqual({
      type: 'error',
      error: { type: 'invalid_request_error', message },
      request_id: refused.headers['request-id'],
    });
    expect(await (await post(simulator.url, sent({}))).text).toContain('kept');
  });

  it.each(['gpt-9', 'claude-3-5-sonnet-20240620'])('the model %s', async (model) => {
    simulator = await startSimulator();
    const { status, text } = await post(simulator.url, sent({ model }));
    expect([status, await text]).toEqual([
      404,
      expect.stringContaining(`"not_found_error","message":"model: ${model}"`),
    ]);
  });

  it('any other path', async () => {
    simulator = await startSimulator();
    const { status, text } = await post(simulator.url, sent({}), { path: '/v1/complete' });
    expect([status, await text]).toEqual([404, expect.stringContaining('not_found_error')]);
  });

  it('a body of over 32 MB', async () => {
    simulator = await startSimulator();
    const { status, text } = await post(simulator.url, `"${'x'.repeat(32 * 1024 * 1024)}"`);
    expect([status, await text]).toEqual([413, expect.stringContaining('request_too_large')]);
  });

  it('every key but its own, which comes in either header', async () => {
    simulator = await startSimulator({ apiKey: 'right', tokensPerSecond: 'unpaced' });
    const statusOf = async (headers: OutgoingHttpHeaders) => (await post(simulator.url, sent({}), { headers })).status;
    expect(await statusOf({ authorization: 'Bearer right' })).toBe(200);
    expect(await statusOf({ 'x-api-key': 'right' })).toBe(200);
    expect(await statusOf({ authorization: 'Bearer wrong' })).toBe(401);
    expect(await statusOf({ 'x-api-key': 'wrong' })).toBe(401);
    expect(await statusOf({})).toBe(401);
    const client = new Anthropic({ baseURL: simulator.url, apiKey: 'wrong', maxRetries: 0 });
    const body = { model: 'claude-sonnet-5-5', max_tokens: 10, messages: [{ role: 'user' as const, content: 'Hi' }] };
    await expect(client.messages.create({ ...body, stream: true })).rejects.toThrow(Anthropic.AuthenticationError);
  });
});

it.each(['claude-sonnet-4-6', 'claude-opus-4-20250514', 'claude-haiku-4-5-20251001', 'claude-3-7-sonnet-latest'])(
  'the simulator takes temperature for %s on the old version',
  async (model) => {
    simulator = await startSimulator({ docs: [] });
    const { status } = await post(simulator.url, sent({ model, temperature: 0.5 }), { headers: oldVersion });
    expect(status).toBe(200);
  },
);
