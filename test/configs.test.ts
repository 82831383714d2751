import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { checkVariables, ConfigError, defineConfigs, parseConfigs, type ConfigSource } from '../src/configs/configs.ts';
import { LlmError } from '../src/errors.ts';

const plain = { model: 'claude-sonnet-5-5', max_tokens: 1_000, system_prompt: 'Be brief.' };
const secret = 'the-secret-of-the-prompt';

/** The config of a map that has only one. */
function parseOne(fields: object, source?: ConfigSource) {
  return parseConfigs({ one: { ...plain, ...fields } }, source).get('one')!;
}

/** The problems of a map, as `path: message`. */
function problemsOf(written: unknown, source?: ConfigSource): string[] {
  try {
    parseConfigs(written, source);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path, message }) => `${path}: ${message}`);
    throw error;
  }
  return [];
}

describe('a config that is sound', () => {
  it('gets a default for everything that it leaves out', () => {
    const config = parseOne({});
    expect(config).toMatchObject({
      name: 'one',
      model: 'claude-sonnet-5-5',
      maxTokens: 1_000,
      cachePrompt: false,
      onDisconnect: { cancelAfterMs: 15_000 },
      timeouts: { firstByteMs: 60_000, idleMs: 120_000, totalMs: 600_000 },
      retries: { max: 2, totalMs: 20_000 },
    });
    for (const absent of [
      'description',
      'temperature',
      'topP',
      'topK',
      'stopSequences',
      'thinking',
      'fallback',
      'price',
    ]) {
      expect(config).not.toHaveProperty(absent);
    }
  });

  it('keeps all of its values', () => {
    const written = defineConfigs({
      full: {
        model: 'm',
        max_tokens: 5_000,
        system_prompt: 'About {{subject}}',
        description: 'd',
        temperature: 0.5,
        top_p: 0.9,
        top_k: 40,
        stop_sequences: ['END'],
        thinking: { type: 'enabled', budget_tokens: 2_000, show: true },
        base_url: 'http://localhost:11434',
        messages_path: '/claude',
        api_key_env: 'OTHER_KEY',
        api_key_header: 'x-api-key',
        headers: { 'X-Tenant': 'blue', 'x-gateway-key': { env: 'OTHER_KEY' } },
        cache_prompt: true,
        on_disconnect: 'continue',
        timeouts: { first_byte_ms: 1, idle_ms: 2, total_ms: 3 },
        retries: { max: 0, total_ms: 4 },
        fallback: 'plain',
        price: { input: 1, output: 2, cache_write: 3, cache_read: 0 },
      },
      plain,
    });
    const configs = parseConfigs(written, { env: { OTHER_KEY: 'k' } });
    const { prompt, hash, headers, ...values } = configs.get('full')!;
    expect(values).toEqual({
      name: 'full',
      model: 'm',
      maxTokens: 5_000,
      description: 'd',
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      stopSequences: ['END'],
      thinking: { type: 'enabled', budgetTokens: 2_000, show: true },
      baseUrl: 'http://localhost:11434',
      messagesPath: '/claude',
      apiKeyEnv: 'OTHER_KEY',
      apiKeyHeader: 'x-api-key',
      cachePrompt: true,
      steps: { max: 8, atLimit: 'answer' },
      clientTools: { waitMs: 60_000 },
      onDisconnect: 'continue',
      timeouts: { firstByteMs: 1, idleMs: 2, totalMs: 3 },
      retries: { max: 0, totalMs: 4 },
      fallback: configs.get('plain'),
      price: { input: 1, output: 2, cacheWrite: 3, cacheRead: 0 },
    });
    expect(prompt.render({ subject: 'rivers' })).toBe('About rivers');
    expect(headers!.resolve({ OTHER_KEY: 'k' })).toEqual({ 'x-tenant': 'blue', 'x-gateway-key': 'k' });
    expect(hash).toMatch(/^[0-9a-f]{12}$/);
  });

  it('works in the form in which the FastAPI service had it in LLM_CONFIGS', () => {
    const before = { model: 'm', max_tokens: 250, temperature: 0.5, system_prompt: 'Default system prompt here' };
    expect(parseConfigs({ default: before }).summaries()).toEqual([
      { name: 'default', model: 'm', maxTokens: 250, temperature: 0.5, variables: [] },
    ]);
  });

  it('is frozen through and through', () => {
    const config = parseOne({ stop_sequences: ['END'], thinking: { show: true } });
    const parts = [config, config.timeouts, config.retries, config.onDisconnect, config.stopSequences, config.thinking];
    for (const part of [...parts, config.prompt, config.prompt.variables]) expect(Object.isFrozen(part)).toBe(true);
  });

  it('has a hash that depends on its values, not on how it is written', () => {
    const { hash } = parseOne({});
    expect(parseConfigs({ other: Object.fromEntries(Object.entries(plain).toReversed()) }).get('other')!.hash).toBe(
      hash,
    );
    expect(parseOne({ cache_prompt: false }).hash).toBe(hash);
    expect(parseOne({ system_prompt: { file: 'brief.md' } }, { readPrompt: () => 'Be brief.' }).hash).toBe(hash);
    for (const change of [{ max_tokens: 1_001 }, { system_prompt: 'Be brief!' }, { description: 'x' }]) {
      expect(parseOne(change).hash).not.toBe(hash);
    }
  });
});

describe('a snapshot', () => {
  const configs = parseConfigs({ b: plain, a: { ...plain, description: 'A', system_prompt: `${secret} {{x}}` } });

  it('lists its configs in the order of the file', () => {
    expect(configs.names).toEqual(['b', 'a']);
  });

  it('tells clients names, models and variables, never prompts, keys or URLs', () => {
    const hidden = { base_url: 'http://internal.example', api_key_env: 'HIDDEN_KEY' };
    const summaries = parseConfigs({
      a: { ...plain, ...hidden, system_prompt: `${secret} {{x}} {{ y }}` },
    }).summaries();
    expect(summaries).toEqual([{ name: 'a', model: plain.model, maxTokens: 1_000, variables: ['x', 'y'] }]);
  });

  it('finds no config by a name that any object has', () => {
    expect(configs.get('constructor')).toBeUndefined();
    expect(configs.get('__proto__')).toBeUndefined();
  });
});

describe('a prompt', () => {
  it('is filled in with plain text, in one pass', () => {
    const { prompt } = parseOne({ system_prompt: '{{a}} and {{ b }}, {{\n a\t}}' });
    expect(prompt.variables).toEqual(['a', 'b']);
    expect(prompt.render({ a: '{{b}} $& $1', b: 'B', c: 'unused' })).toBe('{{b}} $& $1 and B, {{b}} $& $1');
  });

  it('keeps braces that don’t hold a name', () => {
    const text = '{{}} {{ }} {{a b}} {{1}} {{a.b}} {{#if}} {a} {{a} {{a';
    expect(parseOne({ system_prompt: text }).prompt.variables).toEqual([]);
    expect(parseOne({ system_prompt: text }).prompt.render({})).toBe(text);
    expect(parseOne({ system_prompt: '{{{a}}} {{x {{b}} }}' }).prompt.render({ a: '1', b: '2' })).toBe('{1} {{x 2 }}');
  });

  it('never appears in JSON or on a console, neither of a config nor of the result of defineConfigs', () => {
    const defined = defineConfigs({ one: { ...plain, system_prompt: `${secret} {{x}}` } });
    const configs = parseConfigs(defined);
    for (const holder of [defined, configs, configs.get('one'), configs.get('one')!.prompt]) {
      expect(inspect(holder, { depth: Infinity, showHidden: false })).not.toContain(secret);
      expect(JSON.stringify(holder)).not.toContain(secret);
    }
  });

  it('may come from a file, whose variables must be those that the types have', () => {
    const readPrompt = (file: string) => `${file}: {{subject}} {{level}}`;
    const file = 'p.md';
    expect(parseOne({ system_prompt: { file } }, { readPrompt }).prompt.variables).toEqual(['subject', 'level']);
    const listed = { file, variables: ['level', 'subject'] };
    expect(parseOne({ system_prompt: listed }, { readPrompt }).prompt.render({ subject: 's', level: 'l' })).toBe(
      'p.md: s l',
    );
    expect(problemsOf({ one: { ...plain, system_prompt: { file, variables: ['subjet'] } } }, { readPrompt })).toEqual([
      'one.system_prompt: expected "subject" in variables, since the file uses it',
      'one.system_prompt: expected "level" in variables, since the file uses it',
      'one.system_prompt: expected only variables that the file uses, found "subjet"; did you mean "subject"?',
    ]);
    expect(problemsOf({ one: { ...plain, system_prompt: { file } } })).toEqual([
      'one.system_prompt: expected text, found a file; set the option promptFolder, the folder that its path is relative to',
    ]);
  });
});

describe('variables of a request', () => {
  const config = parseOne({ system_prompt: '{{subject}} {{level}}' });

  it('are accepted when they are the prompt’s', () => {
    expect(() => checkVariables(config, { subject: 'rivers', level: '' })).not.toThrow();
  });

  it('are refused with every missing and unknown name', () => {
    const expected = LlmError.invalidInput([
      { path: 'variables.subject', message: 'missing; the prompt of this config needs it' },
      { path: 'variables.level', message: 'missing; the prompt of this config needs it' },
      { path: 'variables.subjet', message: 'unknown to this config; did you mean "subject"?' },
    ]);
    expect(() => checkVariables(config, { subjet: 'rivers' })).toThrow(expected);
  });

  it('are not echoed at any length', () => {
    const name = 'x'.repeat(100_000);
    expect(() => checkVariables(parseOne({}), { [name]: '' })).toThrow(/^variables\.x{100}…|^variables\["x{100}…"\]/);
  });
});

describe('configs that are not sound', () => {
  it('are refused with every problem, where it is, what was expected and what was found', () => {
    const written = {
      default: { ...plain, max_tokens: 'many', fallback: 'tutr' },
      tutor: { ...plain, tempurature: 1, timeouts: { idle_ms: 0, idleMs: 5 } },
    };
    const refused = () => parseConfigs(written, { file: 'llm.config.yaml' });
    expect(refused).toThrow(ConfigError);
    expect(refused).toThrow(
      expect.objectContaining({
        message: [
          'llm.config.yaml is not a valid config file:',
          '  default.max_tokens: expected a whole number of at least 1, found "many" (string)',
          '  tutor.timeouts.idle_ms: expected a whole number from 1 to 2147483647, found 0 (number)',
          '  tutor.timeouts.idleMs: unknown key; did you mean "idle_ms"?',
          '  tutor.tempurature: unknown key; did you mean "temperature"?',
          '  default.fallback: expected the name of another config, found "tutr"; did you mean "tutor"?',
        ].join('\n'),
      }),
    );
  });

  it.each([
    [{ model: undefined }, 'one.model: expected the id of a model, found nothing'],
    [{ max_tokens: 0.5 }, 'one.max_tokens: expected a whole number of at least 1, found 0.5 (number)'],
    [{ temperature: 1.5 }, 'one.temperature: expected a number from 0 to 1, found 1.5 (number)'],
    [{ top_k: -1 }, 'one.top_k: expected a whole number of at least 0, found -1 (number)'],
    [{ stop_sequences: 'END' }, 'one.stop_sequences: expected a list of texts, found "END" (string)'],
    [{ stop_sequences: [' '] }, 'one.stop_sequences[0]: expected text that is not blank, found " " (string)'],
    [{ description: null }, 'one.description: expected text, found null'],
    [{ cache_prompt: 1 }, 'one.cache_prompt: expected true or false, found 1 (number)'],
    [{ system_prompt: 1 }, 'one.system_prompt: expected text, or {file, variables?}, found 1 (number)'],
    [
      { system_prompt: { file: '' } },
      'one.system_prompt.file: expected the path of a text file, found text, not shown here',
    ],
    [{ on_disconnect: 'stop' }, 'one.on_disconnect: expected "continue", or {cancel_after_ms}, found "stop" (string)'],
    [
      { on_disconnect: { cancel_after_ms: 2 ** 31 } },
      'one.on_disconnect.cancel_after_ms: expected a whole number from 1 to 2147483647, found 2147483648 (number)',
    ],
    [{ retries: { max: -1 } }, 'one.retries.max: expected a whole number from 0 to 100, found -1 (number)'],
    [
      { thinking: { type: 'enabled' } },
      'one.thinking.budget_tokens: expected a number of tokens, since type is "enabled", found nothing',
    ],
    [
      { max_tokens: 9_999, thinking: { budget_tokens: 2_000 } },
      'one.thinking.budget_tokens: expected nothing, since only type "enabled" takes it, found 2000 (number)',
    ],
    [
      { thinking: { type: 'enabled', budget_tokens: 1_024 } },
      'one.thinking.budget_tokens: expected fewer tokens than max_tokens, found 1024 (number)',
    ],
    [{ price: { input: 1 } }, 'one.price.output: expected a number of US dollars, at least 0, found nothing'],
    [{ fallback: 'one' }, 'one.fallback: expected a chain that ends, found one → one'],
    [{ system_prompt: '{{__proto__}}' }, 'one.system_prompt: expected other variables than "__proto__"'],
    [{ notes: 'x' }, expect.stringMatching(/^one\.notes: unknown key; known are model, max_tokens, .*, price$/)],
  ])('are refused for %j', (fields, problem) => {
    expect(problemsOf({ one: { ...plain, ...fields } })).toContainEqual(problem);
  });

  it.each(['ftp://a.example', 'localhost:11434', 'https://user:pass@a.example', 'https://a.example/?key=1', 'x'])(
    'are refused for the base_url %s, which may hold a secret and isn’t told',
    (base_url) => {
      expect(problemsOf({ one: { ...plain, base_url } })).toEqual([
        'one.base_url: expected an http or https URL without credentials, query or fragment, found text, not shown here',
      ]);
    },
  );

  it('are refused for a key’s variable that is not set, or for a key in its place, without telling it', () => {
    const unset = 'one.api_key_env: expected the name of an environment variable that is set, found one that is not';
    expect(problemsOf({ one: { ...plain, api_key_env: 'NO_KEY' } }, { env: { NO_KEY: '' } })).toEqual([unset]);
    expect(problemsOf({ one: { ...plain, api_key_env: 'sk-ant-1' } }, { env: {} })).toEqual([
      'one.api_key_env: expected the name of an environment variable, found text, not shown here',
    ]);
  });

  it('are refused for fallbacks in a circle and for fallbacks that need other variables', () => {
    const circle = { a: { ...plain, fallback: 'b' }, b: { ...plain, fallback: 'c' }, c: { ...plain, fallback: 'b' } };
    expect(problemsOf(circle)).toEqual([
      'b.fallback: expected a chain that ends, found b → c → b',
      'c.fallback: expected a chain that ends, found c → b → c',
    ]);
    const needy = { a: { ...plain, fallback: 'b' }, b: { ...plain, system_prompt: '{{x}} {{y}}' } };
    expect(problemsOf(needy)).toEqual([
      'a.fallback: expected a config with no variables but this one\'s, found "b" with x, y',
    ]);
  });

  it.each(['', 'a b', 'a/b', 'ü', '..', 'constructor', '__proto__', 'x'.repeat(65)])(
    'are refused for the name %j',
    (name) => {
      expect(problemsOf(Object.fromEntries([[name, plain]]))).toEqual([
        expect.stringContaining('expected a name of 1 to 64 letters'),
      ]);
    },
  );

  it.each([undefined, null, 'text', 5, [plain], {}])('are refused where the map is %j', (written) => {
    expect(problemsOf(written)).toHaveLength(1);
  });

  it('never quote a prompt in a problem', () => {
    const badly = [secret, { one: secret }, { one: { ...plain, system_prompt: [secret] } }];
    const nested = [
      { one: { ...plain, system_prompt: { file: 5, text: secret } } },
      { one: { system_prompt: secret } },
    ];
    for (const written of [...badly, ...nested]) {
      expect(problemsOf(written)).not.toEqual([]);
      expect(problemsOf(written).join('\n')).not.toContain(secret);
    }
  });
});

describe('LLM_CONFIGS', () => {
  it('replaces whole configs by name and adds others', () => {
    const file = { a: { ...plain, description: 'from the file' }, b: plain };
    const configs = parseConfigs(file, { overrides: { a: { ...plain, max_tokens: 7 }, c: plain } });
    expect(configs.names).toEqual(['a', 'b', 'c']);
    expect(configs.get('a')).toMatchObject({ maxTokens: 7 });
    expect(configs.get('a')).not.toHaveProperty('description');
  });

  it('is named in its own problems', () => {
    expect(problemsOf({ a: plain }, { overrides: { a: { ...plain, max_tokens: 0 } } })).toEqual([
      'LLM_CONFIGS.a.max_tokens: expected a whole number of at least 1, found 0 (number)',
    ]);
    expect(problemsOf({ a: plain }, { overrides: [] })).toEqual([
      'LLM_CONFIGS: expected a map from config name to config, found a list of 0',
    ]);
  });
});
