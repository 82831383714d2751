/**
 * Every parameter of the Messages API that the SDK knows has its place: a key of a config, the service itself, a header, or
 * `extra`. The list is read from the SDK's types, so that a new version's new parameter fails here until somebody decides.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ConfigEntry } from '../src/configs/config-entry.ts';
import { configKeys } from '../src/configs/config-keys.ts';
import { parseConfigs } from '../src/configs/configs.ts';

/** Parameters that a key of a config says, in whole or in part. */
const ofKeys: Readonly<Record<string, readonly string[]>> = {
  model: ['model'],
  max_tokens: ['max_tokens'],
  system: ['system_prompt', 'cache_prompt', 'cache'],
  stop_sequences: ['stop_sequences'],
  thinking: ['thinking'],
  output_config: ['effort', 'output'],
  tool_choice: ['tool_choice', 'parallel_tools'],
  tools: ['tools'],
  mcp_servers: ['mcp_servers'],
  cache_control: ['cache'],
  context_management: ['context_management'],
  container: ['container'],
  metadata: ['user_id'],
  service_tier: ['service_tier'],
  inference_geo: ['inference_geo'],
  speed: ['speed'],
  betas: ['betas'],
};

/** Parameters that the service sets by itself. */
const ofService = ['messages', 'stream'];

/** Parameters that the SDK sends as headers; the key `headers` can. */
const asHeaders: Readonly<Record<string, string>> = {
  user_profile_id: 'anthropic-user-profile-id',
  workspace_id: 'anthropic-workspace-id',
};

/** Parameters that are left to `extra`: betas of few, and what belongs to one request and not to a config. */
const leftToExtra = [
  'billing_policy',
  'compaction',
  'diagnostics',
  'fallback_credit_token',
  'fallbacks',
  'output_format',
  'thread',
];

const sdk = (file: string) =>
  readFileSync(new URL(`../node_modules/@anthropic-ai/sdk/resources/${file}`, import.meta.url), 'utf8');

/** The parameters in the SDK's types: the members of one interface, at their first level. */
function parametersIn(file: string): string[] {
  const body = /export interface MessageCreateParamsBase \{\n([^]*?)\n\}/.exec(sdk(file))?.[1] ?? '';
  return [...body.matchAll(/^ {4}(\w+)\??:/gm)].map(([, name]) => name!);
}

const files = ['messages/messages.d.ts', 'beta/messages/messages.d.ts'];
const parameters = [...new Set(files.flatMap(parametersIn))];

it('the SDK’s types are read', () => {
  for (const file of files) expect(parametersIn(file)).toEqual(expect.arrayContaining(['model', 'messages', 'tools']));
});

describe('each parameter of the SDK has one place', () => {
  const places = [...Object.keys(ofKeys), ...ofService, ...Object.keys(asHeaders), ...leftToExtra];

  it.each(parameters)('%s', (parameter) => {
    expect(places.filter((name) => name === parameter)).toEqual([parameter]);
  });

  it('and no place is left for one that the SDK doesn’t know any more', () => {
    expect(places.filter((name) => !parameters.includes(name))).toEqual([]);
  });
});

describe('a parameter', () => {
  const owned = Object.entries<ConfigEntry>(configKeys).flatMap(([key, { owns = [] }]) =>
    owns.map((field) => [field.split('.')[0], key]),
  );
  const plain = { model: 'm', max_tokens: 10, system_prompt: '' };

  it.each(Object.keys(ofKeys).filter((name) => name !== 'betas'))('of a key belongs to it: %s', (name) => {
    expect(owned.map(([field]) => field)).toContain(name);
  });

  it.each(leftToExtra)('that is left to extra can be said there: %s', (name) => {
    expect(owned.map(([field]) => field)).not.toContain(name);
    expect(() => parseConfigs({ one: { ...plain, extra: { [name]: null } } })).not.toThrow();
  });

  it.each(Object.entries(asHeaders))('that is a header can be said in headers: %s', (_, header) => {
    const source = files.map((file) => sdk(file.replace('.d.ts', '.js'))).join('');
    expect(source).toContain(header);
    expect(() => parseConfigs({ one: { ...plain, headers: { [header]: 'x' } } })).not.toThrow();
  });
});
