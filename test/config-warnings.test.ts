/** Configs that are valid but most likely not meant: they get a warning with a suggestion, and are served. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfigs, type ConfigSource } from '../src/configs/configs.ts';
import { commandLine } from './support/command-line.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';

finishesCleanly();

const plain = { model: 'claude-sonnet-5-5', max_tokens: 5_000, system_prompt: 'Be brief.' };
const older = { ...plain, model: 'claude-sonnet-4-6' };

/** The warnings of one config, as `key: message`. */
function warningsOf(fields: object, source: ConfigSource = { env: {} }): string[] {
  const { warnings } = parseConfigs({ one: { ...plain, ...fields } }, source);
  return warnings.map(({ path, message }) => `${path.replace('one.', '')}: ${message}`);
}

describe('the id of a model', () => {
  it.each([
    ['claude-sonet-5-5', 'claude-sonnet-5-5'],
    ['claude-sonnet-5.5', 'claude-sonnet-5-5'],
    ['Claude Sonnet 5.5', 'claude-sonnet-5-5'],
    ['claude-opus-5-4', 'claude-opus-5-5'],
    ['claud-haiku-5-5', 'claude-haiku-5-5'],
    ['claude-haiku-4-5-20251010', 'claude-haiku-4-5-20251001'],
  ])('that is nearly one: %s', (model, meant) => {
    expect(warningsOf({ model })).toEqual([
      `model: "${model}" is no model that is known here; did you mean "${meant}"?`,
    ]);
  });

  it.each(['claude-3-5-sonnet-20240620', 'claude-3-opus-latest', 'claude-opus-4-20250514', 'claude-2.1'])(
    'that is retired: %s',
    (model) => {
      expect(warningsOf({ model })).toEqual([
        `model: "${model}" is retired; current are claude-opus-5-5, claude-sonnet-5-5, claude-haiku-5-5`,
      ]);
    },
  );

  it('that can’t be Anthropic’s, if requests go there', () => {
    expect(warningsOf({ model: 'gpt-4o' })).toEqual([expect.stringMatching(/base_url names another server$/)]);
    expect(warningsOf({ model: 'gpt-4o' }, { env: { ANTHROPIC_BASE_URL: 'http://localhost' } })).toEqual([]);
    expect(warningsOf({ model: 'm' }, {})).toEqual([]);
  });

  it.each(['claude-sonnet-5-5', 'claude-haiku-4-5-20251001'])('is not doubted where it is one: %s', (model) =>
    expect(warningsOf({ model })).toEqual([]),
  );

  it.each(['claude-sonnet-6', 'claude-opus-5-6', 'claude-mythos-preview', 'claude-opus-4-8'])(
    'that may be one, and has no price here, is served with costs that are null: %s',
    (model) => {
      const warning = `model: the price of ${model} is not known here, so each costUsd is null; price sets it`;
      expect(warningsOf({ model })).toEqual([warning]);
      expect(warningsOf({ model }, { env: { ANTHROPIC_BASE_URL: 'http://localhost' } })).toEqual([]);
      const price = { input: 1, output: 1, cache_write: 1, cache_read: 1 };
      expect(warningsOf({ model, price })).toEqual([]);
    },
  );

  it('gets no warning if the config names another server', () => {
    const base_url = 'http://127.0.0.1:11434';
    expect(warningsOf({ model: 'claude-sonet-5-5', base_url, temperature: 0.5, max_tokens: 10 })).toEqual([]);
  });
});

describe('a parameter', () => {
  it('that the model refuses', () => {
    const all = { temperature: 0.5, top_p: 0.9, top_k: 3 };
    expect(warningsOf(all).map((each) => each.split(':')[0])).toEqual(['temperature', 'top_p', 'top_k']);
    expect(warningsOf({ temperature: 0.5 })).toEqual([
      'temperature: refused by claude-sonnet-5-5, as by all models from 4.7 on; leave it out',
    ]);
    expect(warningsOf({ ...older, temperature: 0.5 })).toEqual([]);
    expect(warningsOf({ ...older, temperature: 0.5, top_p: 0.9 })).toEqual([expect.stringMatching(/^top_p: /)]);
    const thinking = { type: 'enabled', budget_tokens: 2_000 };
    expect(warningsOf({ ...older, temperature: 0.5, thinking })).toEqual([expect.stringMatching(/^temperature: /)]);
    expect(warningsOf({ thinking })).toEqual([expect.stringMatching(/^thinking\.budget_tokens: /)]);
    expect(warningsOf({ thinking: { type: 'disabled' } })).toEqual([expect.stringMatching(/^thinking\.type: /)]);
    expect(warningsOf({ max_tokens: 250 })).toEqual([expect.stringMatching(/^max_tokens: .*may stay empty$/)]);
  });

  it('that changes the price to one that is not known', () => {
    expect(warningsOf({ speed: 'fast' })).toEqual([expect.stringMatching(/^speed: the price of fast tokens/)]);
    expect(warningsOf({ inference_geo: 'us' })).toEqual([expect.stringMatching(/^inference_geo: the price of tokens/)]);
    expect(warningsOf({ speed: 'standard', inference_geo: 'global' })).toEqual([]);
  });

  it('for a limit in dollars, where no cost is known', () => {
    const steps = { cost_usd: 1 };
    const warning = expect.stringMatching(
      /^steps\.cost_usd: the price of m is not known here, so this limit/,
    ) as string;
    expect(warningsOf({ model: 'm', base_url: 'http://127.0.0.1:11434', steps })).toEqual([warning]);
    expect(warningsOf({ steps })).toEqual([]);
  });

  it('for text between calls of tools that is hidden thinking', () => {
    const tools = { web: { type: 'web_search_20260318' } };
    expect(warningsOf({ tools })).toEqual([expect.stringMatching(/^thinking\.show: claude-sonnet-5-5 writes/)]);
    expect(warningsOf({ tools, thinking: { show: true } })).toEqual([]);
    expect(warningsOf({ ...older, tools })).toEqual([]);
  });

  it('for effort, where the model has none', () => {
    const haiku = { model: 'claude-haiku-4-5', effort: 'low' };
    expect(warningsOf(haiku)).toEqual(['effort: refused by claude-haiku-4-5; leave it out']);
    expect(warningsOf({ effort: 'low' })).toEqual([]);
  });

  it('that has no effect beside another one', () => {
    expect(
      warningsOf({ timeouts: { idle_ms: 700_000, first_byte_ms: 900_000 }, retries: { total_ms: 601_000 } }),
    ).toEqual([
      'timeouts.first_byte_ms: 900000 is never reached, since timeouts.total_ms (600000) ends it before',
      'timeouts.idle_ms: 700000 is never reached, since timeouts.total_ms (600000) ends it before',
      'retries.total_ms: 601000 is never reached, since timeouts.total_ms (600000) ends it before',
    ]);
    expect(warningsOf({ timeouts: { total_ms: 1_000 } })).toEqual([]);
  });
});

describe('a prompt', () => {
  it.each([
    [
      'Hi {{ a b }}',
      'line 1, column 4: the text between {{ and }} is no name, so it stays as text; a name has letters, digits and "_": {{a_b}}',
    ],
    [
      'one\n{{user-name}}',
      'line 2, column 1: the text between {{ and }} is no name, so it stays as text; a name has letters, digits and "_": {{user_name}}',
    ],
    ['{{#if x}}', expect.stringMatching(/is no name.*\{\{if_x\}\}$/)],
    ['{{größe}}', expect.stringMatching(/is no name/)],
    ['{{}}', expect.stringMatching(/\{\{\}\} has no name/)],
    ['{{ }}', expect.stringMatching(/\{\{\}\} has no name/)],
    ['a {{x} b', 'line 1, column 3: "x" is closed by one brace and stays as text; a variable is {{x}}'],
    ['a {x}} b', 'line 1, column 3: "x" is opened by one brace and stays as text; a variable is {{x}}'],
    ['a { {x}} b', expect.stringMatching(/"x" has a blank between its braces/)],
    ['a {{x} } b', expect.stringMatching(/"x" is closed by one brace/)],
    ['a {{x', 'line 1, column 3: "x" is never closed and stays as text; a variable is {{x}}'],
    ['a {{x, and more', expect.stringMatching(/"x" is never closed/)],
    ['a {{{x}}} b', expect.stringMatching(/three braces leave one on each side/)],
    ['a {{x}}} b', expect.stringMatching(/a third closing brace/)],
    ['a {{{x}} b', expect.stringMatching(/a third opening brace/)],
  ])('with braces that resemble a variable: %j', (system_prompt, warning) => {
    expect(warningsOf({ system_prompt })).toEqual([
      typeof warning === 'string' ? `system_prompt: ${warning}` : warning,
    ]);
  });

  it.each([
    'Hi {{name}} and {{ other }}',
    '{"user": {{name}}}',
    "const { a: {b} } = c; style={{ color: 'red' }}",
    '{"a": {"b": {}}}',
    'f"{name}" ${name} {id}',
  ])('is not doubted for other braces: %j', (system_prompt) => expect(warningsOf({ system_prompt })).toEqual([]));

  it('that looks like the path of a file', () => {
    expect(warningsOf({ system_prompt: './prompts/tutor.md' })).toEqual([expect.stringMatching(/write \{file: …\}/)]);
  });

  it('gets ten warnings at most, and none quotes it', () => {
    const warnings = warningsOf({ system_prompt: 'the secret {{ : }} {{x} '.repeat(12) });
    expect(warnings).toHaveLength(11);
    expect(warnings.at(-1)).toBe('system_prompt: and 2 more of this kind');
    expect(warnings.join()).not.toContain('secret');
  });
});

describe('are told', () => {
  const cli = commandLine();
  const doubtful = { default: { ...plain, model: 'claude-sonet-5-5' } };
  const warning = 'default.model: "claude-sonet-5-5" is no model that is known here; did you mean "claude-sonnet-5-5"?';

  it('by config check on stderr, with exit code 0, or 2 with --strict', async () => {
    await writeFile(join(cli.cwd, 'a.json'), JSON.stringify(doubtful));
    const stderr = `a.json has warnings:\n  ${warning}\n`;
    expect(await cli.run(['config', 'check', 'a.json'])).toEqual({
      code: 0,
      stdout: 'a.json is valid: default\n',
      stderr,
    });
    expect(await cli.run(['config', 'check', '--strict', 'a.json'])).toEqual({ code: 2, stdout: '', stderr });
  }, 60_000);

  it('by serve in its log, at the start and after a change', async () => {
    await writeFile(join(cli.cwd, 'b.json'), JSON.stringify(doubtful));
    const service = cli.start(['serve'], { env: { LLM_CONFIG: 'b.json', PORT: '0' } });
    await service.until('stdout', /claude-sonet-5-5.*configs are served with warnings/);
    await service.until('stderr', /listens on/);
    await writeFile(join(cli.cwd, 'b.json'), JSON.stringify({ default: { ...plain, temperature: 1 } }));
    await service.until('stdout', /default\.temperature.*configs are served with warnings/);
    service.child.kill('SIGTERM');
    await service.ended;
  }, 60_000);
});
