/** The tools of a config are judged when it is loaded, and change its hash. */
import { expect, it } from 'vitest';
import { z } from 'zod';
import { ConfigError, parseConfigs } from '../src/configs/configs.ts';
import { clientTool, tool } from '../src/tools/tool.ts';

const plain = { model: 'claude-sonnet-5-5', max_tokens: 100, system_prompt: 'Be brief.' };
const city = z.object({ city: z.string() });
const execute = () => 'ok';
const weather = tool({ description: 'The weather', input: city, execute });

function problemsOf(tools: unknown, others: object = {}): readonly string[] {
  try {
    parseConfigs({ default: { ...plain, tools }, ...others });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
}

function hashOf(tools: unknown): string {
  return parseConfigs({ default: { ...plain, tools } }).get('default')!.hash;
}

it('tools of all kinds are valid: of the service, of the client, of upstream, and as JSON', () => {
  const json = {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  };
  const pick = clientTool({ description: 'Picks', input: city, output: z.string() });
  const tools = {
    weather,
    pick,
    web: { type: 'web_search_20260318' },
    asked: { description: 'Asks', input: json, output: json },
  };
  expect(problemsOf(tools)).toEqual([]);
  const { tools: set } = parseConfigs({ default: { ...plain, tools } }).get('default')!;
  expect(set?.body).toMatchObject([
    { name: 'weather', description: 'The weather', input_schema: { type: 'object' } },
    { name: 'pick' },
    { type: 'web_search_20260318', name: 'web_search' },
    { name: 'asked', input_schema: json },
  ]);
  expect(set?.get('asked')).toMatchObject({ by: 'client' });
});

it.each<[what: string, tools: unknown, problem: RegExp]>([
  ['no map', ['weather'], /^default\.tools: expected a map from name to tool/],
  ['a name that upstream refuses', { 'the weather': weather }, /^default\.tools\["the weather"\]: expected a name of/],
  [
    'no description',
    { weather: tool({ input: city, execute } as never) },
    /^default\.tools\.weather\.description: expected text/,
  ],
  [
    'no execute',
    { weather: tool({ description: 'x', input: city } as never) },
    /^default\.tools\.weather\.execute: expected a function/,
  ],
  [
    'a misspelt key',
    { weather: tool({ description: 'x', input: city, execute, timeout: 1 } as never) },
    /^default\.tools\.weather\.timeout: unknown key/,
  ],
  [
    'a value of the wrong kind',
    { weather: tool({ description: 'x', input: city, execute, timeout_ms: 0.5 }) },
    /^default\.tools\.weather\.timeout_ms: expected .*found 0\.5/,
  ],
  [
    'no schema',
    { weather: tool({ description: 'x', input: 7 as never, execute }) },
    /^default\.tools\.weather\.input: expected a schema/,
  ],
  [
    'a client tool without output',
    { pick: { description: 'x', input: { type: 'object' } } },
    /^default\.tools\.pick\.output: expected a schema/,
  ],
  [
    'a hidden call that would wait',
    { weather: tool({ description: 'x', input: city, hidden: true, approval: true, execute }) },
    /^default\.tools\.weather\.hidden: expected false/,
  ],
  [
    'two tools of one name',
    { web_search: weather, web: { type: 'web_search_20260318' } },
    /^default\.tools\.web: expected one tool of each name/,
  ],
])('%s is a problem, with its place', (_what, tools, problem) => {
  const problems = problemsOf(tools);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(problem);
});

it('no problem quotes a description', () => {
  const tools = { weather: tool({ description: 'canary-1', input: city, execute, strict: 'canary-2' as never }) };
  expect(problemsOf(tools).join()).not.toContain('canary');
});

it('a fallback whose tools differ is a problem', () => {
  const other = { ...plain, tools: { weather: tool({ description: 'Another', input: city, execute }) } };
  const configs = { default: { ...plain, tools: { weather }, fallback: 'other' }, other };
  expect(() => parseConfigs(configs)).toThrow(/default\.fallback: expected a config with the same tools/);
  const same = { ...configs, other: { ...plain, tools: { weather } } };
  expect(parseConfigs(same).names).toEqual(['default', 'other']);
});

it('the hash changes with what the model or a client sees of a tool, and not with its function', () => {
  const hash = hashOf({ weather });
  expect(hashOf({ weather: tool({ description: 'The weather', input: city, execute: () => 'other' }) })).toBe(hash);
  const changed = [
    tool({ description: 'Other words', input: city, execute }),
    tool({ description: 'The weather', input: z.object({ city: z.number() }), execute }),
    tool({ description: 'The weather', input: city, output: z.string(), execute }),
    tool({ description: 'The weather', input: city, timeout_ms: 1, execute }),
    tool({ description: 'The weather', input: city, approval: true, execute }),
  ];
  const hashes = changed.map((each) => hashOf({ weather: each }));
  expect(new Set([hash, ...hashes]).size).toBe(changed.length + 1);
});
