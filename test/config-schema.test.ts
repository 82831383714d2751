import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { configFileJsonSchema, configSchema } from '../src/configs/config-schema.ts';
import { parseConfigs } from '../src/configs/configs.ts';

const schema = configFileJsonSchema();
// Strict, so that an unknown keyword in the schema is an error.
const validate = new Ajv({ strict: true, allowMatchingProperties: true }).compile(schema);
const plain = { model: 'm', max_tokens: 10, system_prompt: 'Be brief.' };

const whole = {
  ...plain,
  system_prompt: 'About {{subject}}',
  description: 'What it is for',
  temperature: 0.5,
  top_p: 1,
  top_k: 0,
  stop_sequences: ['END'],
  thinking: { type: 'adaptive', show: 'updates' },
  effort: 'low',
  output: { type: 'object', properties: { title: { type: 'string' } } },
  tools: { web: { type: 'web_search_20260318' } },
  tool_choice: 'auto',
  parallel_tools: false,
  mcp_servers: [
    { name: 'docs', url: 'https://docs.example/mcp', token_env: 'OTHER_KEY', configs: {}, default_config: {} },
  ],
  cache: { system: true, tools: true, messages: true, ttl: '1h' },
  context_management: { edits: [{ type: 'clear_tool_uses_20250919', keep: { value: 3 } }] },
  container: { id: 'c', skills: [{ type: 'anthropic', skill_id: 'pptx' }] },
  user_id: 'caller',
  service_tier: 'auto',
  inference_geo: 'us',
  speed: 'fast',
  betas: ['one-2026-01-01'],
  extra: { diagnostics: null },
  base_url: 'http://127.0.0.1:11434',
  messages_path: '/v1/messages?beta=true',
  api_key_env: 'OTHER_KEY',
  api_key_header: 'x-api-key',
  headers: { 'x-tenant': 'blue', 'x-gateway-key': { env: 'OTHER_KEY' } },
  cache_prompt: true,
  on_disconnect: { cancel_after_ms: 1 },
  timeouts: { first_byte_ms: 1 },
  retries: { max: 0 },
  fallback: 'other',
  price: { input: 0, output: 0, cache_write: 0, cache_read: 0 },
};

describe('the JSON Schema of config files', () => {
  it.each([
    ['a plain config', { one: plain }],
    ['every key', { one: whole, other: { ...plain, output: whole.output, tools: whole.tools } }],
    [
      'an output by a tool',
      { one: { ...plain, base_url: 'http://a.example', output: whole.output, output_mode: 'tool' } },
    ],
    ['the name of the schema', { $schema: './llm.config.schema.json', one: plain }],
    ['`continue`', { one: { ...plain, on_disconnect: 'continue' } }],
  ])('takes what the service takes: %s', (_, written) => {
    validate(written);
    expect(validate.errors).toBeNull();
    expect(() => parseConfigs(written, { env: { OTHER_KEY: 'k' } })).not.toThrow();
  });

  it.each([
    ['a key that is missing', { one: { model: 'm', max_tokens: 10 } }],
    ['a key with a typo', { one: { ...plain, maxTokens: 10 } }],
    ['a key with a typo further in', { one: { ...plain, retries: { maximum: 1 } } }],
    ['a value of another kind', { one: { ...plain, max_tokens: 'many' } }],
    ['a value out of bounds', { one: { ...plain, temperature: 1.5 } }],
    ['a blank text', { one: { ...plain, model: ' ' } }],
    ['a prompt without its file', { one: { ...plain, system_prompt: { variables: [] } } }],
    ['a name that no config may have', { 'a/b': plain }],
    ['a list', [plain]],
  ])('refuses what the service refuses: %s', (_, written) => {
    expect(validate(written)).toBe(false);
    expect(() => parseConfigs(written)).toThrow(/expected|unknown key/);
  });

  it('describes every key of a config, as README does', () => {
    const [config] = Object.values(
      (schema as { patternProperties: Record<string, { properties: object }> }).patternProperties,
    );
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    expect(Object.keys(config!.properties)).toEqual(Object.keys(configSchema.shape));
    for (const [key, property] of Object.entries(config!.properties)) {
      expect({ key, ...property }).toMatchObject({ description: expect.stringMatching(/\.$/) });
      expect(readme).toMatch(new RegExp(`^\\|[^|]*\`${key}\``, 'm'));
    }
  });
});
