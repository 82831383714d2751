/** What upstream refuses whatever the model is, and what two keys would both write, is found when the configs are loaded. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ConfigError, parseConfigs } from '../src/configs/configs.ts';
import { tool } from '../src/tools/tool.ts';

const plain = { model: 'claude-sonnet-5-5', max_tokens: 5_000, system_prompt: 'Be brief.' };
const server = { name: 'docs', url: 'https://docs.example/mcp' };
const output = z.object({ title: z.string() });
const base_url = 'http://127.0.0.1:11434';

function problemsOf(keys: object, others: object = {}): string[] {
  try {
    parseConfigs({ one: { ...plain, ...keys }, ...others }, { env: { TOKEN: 't' } });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ path, message }) => `${path}: ${message}`);
  }
  return [];
}

describe('a key is refused where upstream would refuse it', () => {
  it.each([
    [{ effort: 'maximal' }, 'one.effort: expected "low", "medium", "high", "xhigh" or "max", found "maximal" (string)'],
    [{ tool_choice: 'any', mcp_servers: [server] }, 'one.tool_choice: expected "auto" or "none", found "any" (string)'],
    [{ tool_choice: 'auto' }, 'one.tool_choice: expected tools or mcp_servers beside it, found neither'],
    [{ parallel_tools: false }, 'one.parallel_tools: expected tools or mcp_servers beside it, found neither'],
    [{ mcp_servers: [server, server] }, 'one.mcp_servers[1].name: expected a name that no server before it has'],
    [{ mcp_servers: [{ ...server, token: 'x' }] }, 'one.mcp_servers[0].token: unknown key'],
    [
      { mcp_servers: [{ ...server, token_env: 'NONE' }] },
      'one.mcp_servers[0].token_env: expected the name of an environment',
    ],
    [{ thinking: { type: 'between_tools', show: 'updates' } }, 'one.thinking.show: expected true or false'],
    [{ thinking: { type: 'between_tools', budget_tokens: 2_000 } }, 'one.thinking.budget_tokens: expected nothing'],
    [
      { context_management: { edits: [{ kind: 'x' }] } },
      'one.context_management.edits[0].type: expected the type of an edit',
    ],
    [{ cache: { ttl: '2h' } }, 'one.cache.ttl: expected "5m" or "1h", found "2h" (string)'],
    [{ user_id: 'me' }, 'one.user_id: expected "caller", found "me" (string)'],
    [{ service_tier: 'priority' }, 'one.service_tier: expected "auto" or "standard_only"'],
    [{ speed: 'slow' }, 'one.speed: expected "standard" or "fast"'],
    [{ betas: ['a b'] }, 'one.betas[0]: expected the name of a beta'],
    [{ extra: { when: new Date(0) } }, 'one.extra.when: expected a value that JSON can hold'],
    [{ output: z.object({ due: z.date() }) }, 'one.output.due: expected a part that JSON can hold, found a date'],
    [{ output: { type: 'strnig' } }, 'one.output.type: expected JSON Schema'],
    [{ output: 5 }, 'one.output: expected a schema'],
    [
      { output, tools: { fetch: { type: 'web_fetch_20260318', citations: { enabled: true } } } },
      'one.tools.fetch.citations: expected no citations beside output',
    ],
    [
      { tools: { get: tool({ description: 'd', input: z.object({ at: z.date() }), execute: () => '' }) } },
      'one.tools.get.input.at: expected a part that JSON can hold, found a date',
    ],
    [{ output_mode: 'tool', base_url }, 'one.output_mode: expected an output beside it'],
    [{ output_mode: 'tool', output, model: 'm' }, 'one.output_mode: expected a base_url beside it'],
    [{ output_mode: 'tool', output, base_url }, 'one.output_mode: expected another model than claude-sonnet-5-5'],
    [
      { output_mode: 'tool', output: z.array(z.string()), base_url, model: 'm' },
      'one.output_mode: expected an output that is an object',
    ],
    [
      { output_mode: 'tool', output, base_url, model: 'm', mcp_servers: [server] },
      'one.output_mode: expected no tools beside it',
    ],
  ])('%j', (keys, problem) => {
    const problems = problemsOf(keys);
    expect(problems.filter((each) => each.startsWith(problem))).toHaveLength(1);
  });

  it('and only there', () => {
    expect(problemsOf({ output_mode: 'tool', output, base_url, model: 'm' })).toEqual([]);
    expect(problemsOf({ tool_choice: 'none', parallel_tools: false, mcp_servers: [server] })).toEqual([]);
    expect(problemsOf({ parallel_tools: true, output, effort: 'max', speed: 'standard' })).toEqual([]);
  });
});

describe('marks of what is kept', () => {
  const marked = (count: number) =>
    Array.from({ length: count }, (_, index) => ({
      ...server,
      name: `s${index}`,
      default_config: { cache_control: { type: 'ephemeral' } },
    }));

  it('are four at most, those of tools included', () => {
    const cache = { system: true, tools: true, messages: true };
    expect(problemsOf({ cache, cache_prompt: true, mcp_servers: marked(1) })).toEqual([]);
    expect(problemsOf({ cache, mcp_servers: marked(2) })).toEqual([
      'one.cache: expected at most 4 marks of what is kept, found 5: 2 tools have a cache_control of their own',
    ]);
  });
});

describe('extra', () => {
  it.each([
    ['model', 'model'],
    ['system', 'system_prompt'],
    ['tools', 'tools'],
    ['tool_choice', 'tool_choice'],
    ['mcp_servers', 'mcp_servers'],
    ['metadata', 'user_id'],
    ['cache_control', 'cache'],
    ['container', 'container'],
  ])('refuses the field %s, which the key %s sets', (field, key) => {
    expect(problemsOf({ extra: { [field]: {} } })).toEqual([
      `one.extra.${field}: expected no ${field}, since the key ${key} sets it`,
    ]);
  });

  it.each(['stream', 'messages'])('refuses the field %s, which is the service’s', (field) => {
    expect(problemsOf({ extra: { [field]: true } })).toEqual([
      `one.extra.${field}: expected no ${field}, since the service sets it`,
    ]);
  });

  it('may complete an object of which keys write parts, and not replace it', () => {
    expect(
      problemsOf({ extra: { output_config: { task_budget: { total: 1 } }, thinking: { block_binding: {} } } }),
    ).toEqual([]);
    expect(problemsOf({ extra: { output_config: { effort: 'low' }, thinking: 5 } })).toEqual([
      'one.extra.output_config.effort: expected no output_config.effort, since the key effort sets it',
      'one.extra.thinking: expected an object, since keys of the config write parts of thinking',
    ]);
  });
});

describe('a fallback', () => {
  const other = (keys: object) => ({ other: { ...plain, ...keys } });
  const problem = 'one.fallback: expected a config with the same output, found "other" with other output';
  const get = tool({ description: 'Gets it', input: z.object({ at: z.string() }), execute: () => '' });

  it('has the same tools', () => {
    expect(problemsOf({ tools: { get }, fallback: 'other' }, other({ tools: { get } }))).toEqual([]);
    const noTools = 'one.fallback: expected a config with the same tools, found "other" with other tools';
    expect(problemsOf({ tools: { get }, fallback: 'other' }, other({}))).toEqual([noTools]);
  });

  it('has the same output, however it is written', () => {
    const asJson = {
      additionalProperties: false,
      required: ['title'],
      properties: { title: { type: 'string' } },
      type: 'object',
    };
    expect(problemsOf({ output, fallback: 'other' }, other({ output: asJson }))).toEqual([]);
    expect(problemsOf({ output, fallback: 'other' }, other({}))).toEqual([problem]);
    expect(problemsOf({ fallback: 'other' }, other({ output }))).toEqual([problem]);
    expect(problemsOf({ output, fallback: 'other' }, other({ output: z.object({ name: z.string() }) }))).toEqual([
      problem,
    ]);
  });
});

describe('a config with a schema', () => {
  it('changes its hash with the schema, and keeps it while the schema says the same', () => {
    const hashOf = (schema: unknown) => parseConfigs({ one: { ...plain, output: schema } }).get('one')!.hash;
    expect(hashOf(z.object({ title: z.string() }))).toBe(hashOf(output));
    expect(hashOf(z.object({ title: z.string().describe('Short.') }))).not.toBe(hashOf(output));
  });

  it('can be frozen, printed and used again', () => {
    const configs = { one: { ...plain, output }, two: { ...plain, output } };
    expect(parseConfigs(configs).get('two')!.output!.json).toEqual(parseConfigs(configs).get('one')!.output!.json);
  });
});
