import { describe, expect, it } from 'vitest';
import type { ConfigEntry } from '../src/configs/config-entry.ts';
import { configKeys } from '../src/configs/config-keys.ts';
import { parseConfigs } from '../src/configs/configs.ts';
import { buildMessageRequest, headersOf } from '../src/upstream/messages-api/request.ts';

const messages = [{ role: 'user' as const, content: 'Hello' }];
const plain = { model: 'm', max_tokens: 5_000, system_prompt: 'About {{subject}}' };

function requestOf(keys: object, variables: Readonly<Record<string, string>> = { subject: 'rivers' }) {
  const config = parseConfigs({ one: { ...plain, ...keys } }).get('one')!;
  return buildMessageRequest(config, messages, variables, {
    userId: () => 'an id',
    secret: (variable) => (variable === 'DOCS_TOKEN' ? 'the-token' : undefined),
  });
}

const schema = { type: 'object', properties: { title: { type: 'string' } }, additionalProperties: false };

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
    [{ thinking: { type: 'between_tools', show: true } }, { thinking: { type: 'between_tools' } }],
    [{ effort: 'low' }, { output_config: { effort: 'low' } }],
    [{ output: schema }, { output_config: { format: { type: 'json_schema', schema } } }],
    [{ effort: 'max', output: schema }, { output_config: { effort: 'max', format: { type: 'json_schema', schema } } }],
    [
      { effort: 'max', extra: { output_config: { task_budget: { type: 'tokens', total: 9 } } } },
      { output_config: { effort: 'max', task_budget: { type: 'tokens', total: 9 } } },
    ],
    [
      { output: schema, output_mode: 'tool', base_url: 'http://a.example' },
      {
        tools: [{ name: 'output', description: expect.any(String) as string, input_schema: schema }],
        tool_choice: { type: 'tool', name: 'output' },
      },
    ],
    [{ cache: {} }, {}],
    [{ cache: { messages: true } }, { cache_control: { type: 'ephemeral' } }],
    [
      { cache: { system: true, messages: true, ttl: '1h' }, cache_prompt: true },
      {
        system: [{ type: 'text', text: 'About rivers', cache_control: { type: 'ephemeral', ttl: '1h' } }],
        cache_control: { type: 'ephemeral', ttl: '1h' },
      },
    ],
    [{ cache: { system: true, tools: true }, system_prompt: '' }, { system: undefined }],
    [{ container: 'container_1' }, { container: 'container_1' }],
    [
      { container: { skills: [{ type: 'anthropic', skill_id: 'pptx', version: 'latest' }] } },
      { container: { skills: [{ type: 'anthropic', skill_id: 'pptx', version: 'latest' }] } },
    ],
    [{ user_id: 'caller' }, { metadata: { user_id: 'an id' } }],
    [{ service_tier: 'standard_only' }, { service_tier: 'standard_only' }],
    [{ inference_geo: 'us' }, { inference_geo: 'us' }],
    [{ extra: { diagnostics: null } }, { diagnostics: null }],
  ])('adds its field: %j', (keys, fields) => {
    const { headers, body } = requestOf(keys);
    expect(body).toEqual({ ...requestOf({}).body, ...fields });
    expect(headers).toEqual(requestOf({}).headers);
  });

  it('names MCP servers with their tokens, offers their tools, and marks the last one', () => {
    const servers = [
      {
        name: 'docs',
        url: 'https://docs.example/mcp',
        token_env: 'DOCS_TOKEN',
        configs: { delete: { enabled: false } },
      },
      { name: 'open', url: 'https://open.example/mcp', token_env: 'OTHER', default_config: { defer_loading: true } },
    ];
    const { body } = requestOf({
      mcp_servers: servers,
      tool_choice: 'auto',
      parallel_tools: false,
      cache: { tools: true },
    });
    expect(body).toEqual({
      ...requestOf({}).body,
      tool_choice: { type: 'auto', disable_parallel_tool_use: true },
      mcp_servers: [
        { type: 'url', name: 'docs', url: 'https://docs.example/mcp', authorization_token: 'the-token' },
        { type: 'url', name: 'open', url: 'https://open.example/mcp' },
      ],
      tools: [
        { type: 'mcp_toolset', mcp_server_name: 'docs', configs: { delete: { enabled: false } } },
        {
          type: 'mcp_toolset',
          mcp_server_name: 'open',
          default_config: { defer_loading: true },
          cache_control: { type: 'ephemeral' },
        },
      ],
    });
  });

  it.each([
    [
      { type: 'web_search_20260318', max_uses: 3 },
      { type: 'web_search_20260318', name: 'web_search', max_uses: 3 },
      undefined,
    ],
    [
      { type: 'text_editor_20250728' },
      { type: 'text_editor_20250728', name: 'str_replace_based_edit_tool' },
      undefined,
    ],
    [{ type: 'text_editor_20250124' }, { type: 'text_editor_20250124', name: 'str_replace_editor' }, undefined],
    [{ type: 'browser_toolset_20260801' }, { type: 'browser_toolset_20260801' }, undefined],
    [{ type: 'advisor_20260301' }, { type: 'advisor_20260301', name: 'advisor' }, 'advisor-tool-2026-03-01'],
    [{ type: 'new_20270101', name: 'own' }, { type: 'new_20270101', name: 'own' }, undefined],
  ])('offers tools of upstream, with the name and the beta that belong to the type: %j', (tool, sent, beta) => {
    const { body, headers } = requestOf({ tools: { mine: tool } });
    expect(body['tools']).toEqual([sent]);
    expect(headers['anthropic-beta']).toBe(beta);
  });

  it('offers the tools of an MCP server once', () => {
    const toolset = { type: 'mcp_toolset', mcp_server_name: 'docs', default_config: { enabled: false } };
    const keys = { tools: { docs: toolset }, mcp_servers: [{ name: 'docs', url: 'https://docs.example/mcp' }] };
    expect(requestOf(keys).body['tools']).toEqual([toolset]);
  });

  it('that forbids tools says nothing of how many at once', () => {
    const mcp_servers = [{ name: 'docs', url: 'https://docs.example/mcp' }];
    expect(requestOf({ mcp_servers, tool_choice: 'none', parallel_tools: false }).body['tool_choice']).toEqual({
      type: 'none',
    });
  });

  const edits = [{ type: 'clear_tool_uses_20250919', keep: { type: 'tool_uses', value: 3 } }];
  it.each([
    [{ speed: 'fast' }, 'fast-mode-2026-02-01'],
    [{ thinking: { show: 'updates' } }, 'thinking-display-updates-2026-08-18'],
    [{ mcp_servers: [{ name: 'a', url: 'https://a.example' }] }, 'mcp-client-2025-11-20'],
    [{ context_management: { edits } }, 'context-management-2025-06-27'],
    [
      { context_management: { edits: [{ type: 'compact_20260112' }] } },
      'context-management-2025-06-27,compact-2026-01-12',
    ],
    [{ betas: ['one-2026-01-01', 'two'] }, 'one-2026-01-01,two'],
    [{ betas: ['one-2026-01-01'], speed: 'fast' }, 'fast-mode-2026-02-01,one-2026-01-01'],
    [{ betas: ['fast-mode-2027-01-01'], speed: 'fast' }, 'fast-mode-2027-01-01'],
  ])('that needs a beta names it: %j', (keys, betas) => {
    expect(requestOf(keys).headers).toEqual({ ...requestOf({}).headers, 'anthropic-beta': betas });
  });

  it('for what upstream shortens goes as it is written', () => {
    expect(requestOf({ context_management: { edits } }).body['context_management']).toEqual({ edits });
    const { thinking } = requestOf({ thinking: { show: 'updates' } }).body;
    expect(thinking).toEqual({ type: 'adaptive', display: 'updates' });
  });

  it('writes only fields that it owns, so that `extra` can’t overwrite them', () => {
    const everything = {
      thinking: {},
      effort: 'low',
      output: schema,
      stop_sequences: ['END'],
      temperature: 0,
      top_p: 1,
      top_k: 1,
      tools: { web: { type: 'web_search_20260318' } },
      tool_choice: 'auto',
      parallel_tools: false,
      mcp_servers: [{ name: 'a', url: 'https://a.example' }],
      cache: { system: true, tools: true, messages: true },
      context_management: { edits },
      container: 'c',
      user_id: 'caller',
      service_tier: 'auto',
      inference_geo: 'us',
      speed: 'fast',
    };
    const owned = new Set(
      Object.values<ConfigEntry>(configKeys).flatMap(({ owns = [] }) => owns.map((path) => path.split('.')[0])),
    );
    const written = Object.keys(requestOf(everything).body);
    expect(written.filter((field) => !owned.has(field))).toEqual(['stream', 'messages']);
    expect([...owned].filter((field) => !written.includes(field!))).toEqual([]);
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
