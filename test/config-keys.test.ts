import { describe, expect, it } from 'vitest';
import { parseConfigs } from '../src/configs/configs.ts';
import { buildMessageRequest, headersOf } from '../src/upstream/messages-api/request.ts';

const messages = [{ role: 'user' as const, content: 'Hello' }];
const plain = { model: 'm', max_tokens: 5_000, system_prompt: 'About {{subject}}' };

function requestOf(keys: object, variables: Readonly<Record<string, string>> = { subject: 'rivers' }) {
  const config = parseConfigs({ one: { ...plain, ...keys } }).get('one')!;
  return buildMessageRequest(config, messages, variables);
}

describe('a key of a config', () => {
  it('that is not set adds nothing to a request', () => {
    expect(requestOf({})).toEqual({
      headers: { 'anthropic-version': '2026-10-21' },
      body: { model: 'm', max_tokens: 5_000, system: 'About rivers', stream: true, messages },
    });
  });

  it('that is no parameter of the model adds nothing either', () => {
    const keys = { description: 'd', base_url: 'http://a.example', headers: { 'x-a': 'b' }, retries: { max: 0 } };
    expect(requestOf(keys)).toEqual(requestOf({}));
  });

  it.each([
    [{ stop_sequences: ['END'] }, { stop_sequences: ['END'] }],
    [{ system_prompt: '' }, { system: undefined }],
    [{ system_prompt: '', cache_prompt: true }, { system: undefined }],
    [
      { cache_prompt: true },
      { system: [{ type: 'text', text: 'About rivers', cache_control: { type: 'ephemeral' } }] },
    ],
    [{ thinking: {} }, { thinking: { type: 'adaptive', display: 'omitted' } }],
    [{ thinking: { show: true } }, { thinking: { type: 'adaptive', display: 'summarized' } }],
    [{ thinking: { type: 'disabled', show: true } }, { thinking: { type: 'disabled' } }],
    [
      { thinking: { type: 'enabled', budget_tokens: 2_000 } },
      { thinking: { type: 'enabled', budget_tokens: 2_000, display: 'omitted' } },
    ],
  ])('adds its field: %j', (keys, fields) => {
    const { headers, body } = requestOf(keys);
    expect(body).toEqual({ ...requestOf({}).body, ...fields });
    expect(headers).toEqual(requestOf({}).headers);
  });

  it.each([{ temperature: 0 }, { top_p: 1 }, { top_k: 0 }])(
    'for sampling goes with the version of the API that takes it: %j',
    (keys) => {
      const { headers, body } = requestOf(keys);
      expect(body).toEqual({ ...requestOf({}).body, ...keys });
      expect(headers).toEqual({ 'anthropic-version': '2023-06-01' });
      expect(headersOf(parseConfigs({ one: { ...plain, ...keys } }).get('one')!)).toEqual(headers);
    },
  );
});
