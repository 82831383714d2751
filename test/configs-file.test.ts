import { execFile } from 'node:child_process';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfigs, type LoadConfigsOptions } from '../src/configs/config-file.ts';
import { ConfigError } from '../src/configs/configs.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const secret = 'the-secret-of-the-prompt';
const plain = { model: 'm', max_tokens: 10, system_prompt: 'Be brief.' };

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'configs-'));
});
afterEach(() => rm(cwd, { recursive: true }));

async function write(file: string, content: string | Buffer) {
  await mkdir(dirname(join(cwd, file)), { recursive: true });
  await writeFile(join(cwd, file), content);
}

function load(file: string, options: Partial<LoadConfigsOptions> = {}) {
  return loadConfigs({ file, cwd, env: {}, ...options });
}

async function refusalOf(file: string, options: Partial<LoadConfigsOptions> = {}): Promise<string> {
  const thrown: unknown = await load(file, options).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(ConfigError);
  return (thrown as ConfigError).message;
}

function typescript(prompt: string): string {
  const module = JSON.stringify(join(root, 'src/define-configs.ts'));
  return `
    import { defineConfigs } from ${module};
    import type { Unwritten } from './unwritten.ts';
    const model: string = 'm';
    export default defineConfigs({ one: { model, max_tokens: 10, system_prompt: ${JSON.stringify(prompt)} } });
    export type Router = Unwritten;
  `;
}

describe('the schema of an output', () => {
  const zod = JSON.stringify(join(root, 'node_modules/zod/index.js'));
  const said = { type: 'object', properties: { title: { type: 'string' } }, required: ['title'] };
  const sent = { ...said, additionalProperties: false };

  it.each([
    [
      'of zod in TypeScript',
      'a.ts',
      `import { z } from ${zod};\nexport default { one: { ...${JSON.stringify(plain)}, output: z.object({ title: z.string() }) } };`,
    ],
    ['of JSON Schema in JSON', 'a.json', JSON.stringify({ one: { ...plain, output: said } })],
    [
      'of JSON Schema in YAML',
      'a.yaml',
      'one:\n  model: m\n  max_tokens: 10\n  system_prompt: Be brief.\n  output:\n    type: object\n    properties: { title: { type: string } }\n    required: [title]\n',
    ],
  ])('may be one %s', async (_, file, content) => {
    await write(file, content);
    const { output } = (await load(file)).get('one')!;
    expect(output!.json).toEqual(sent);
    expect(await output!.validate({ title: 'x' })).toEqual({ ok: true, value: { title: 'x' } });
    expect(await output!.validate({ title: 1 })).toMatchObject({ ok: false, issues: [{ path: 'title' }] });
  });

  it('is refused with the place in the file', async () => {
    await write(
      'a.yaml',
      `one: ${JSON.stringify({ ...plain, output: { type: 'object', additionalProperties: true } })}`,
    );
    expect(await refusalOf('a.yaml')).toContain('one.output.additionalProperties: expected an object with these keys');
  });
});

describe('a config file', () => {
  it.each([
    ['llm.config.ts', typescript('Be brief.')],
    ['llm.config.mjs', `export default { one: ${JSON.stringify(plain)} };`],
    ['llm.config.js', `export default { one: ${JSON.stringify(plain)} };`],
    ['llm.config.js', `module.exports = { one: ${JSON.stringify(plain)}, default: ${JSON.stringify(plain)} };`],
    ['llm.config.json', JSON.stringify({ one: plain })],
    ['llm.config.yaml', 'one:\n  model: m\n  max_tokens: 10\n  system_prompt: Be brief.\n'],
    ['llm.config.yml', `\uFEFF${JSON.stringify({ one: plain })}`],
  ])('may be %s', async (file, content) => {
    await write(file, content);
    const config = (await load(file)).get('one')!;
    expect(config).toMatchObject({ name: 'one', model: 'm', maxTokens: 10 });
    expect(config.prompt.render({})).toBe('Be brief.');
  });

  it('is read anew at every load, with the modules that it imports', async () => {
    await write('prompt.ts', `export const prompt = 'first';`);
    await write('llm.config.ts', `import { prompt } from './prompt.ts';\n${typescript('x').replace('"x"', 'prompt')}`);
    expect((await load('llm.config.ts')).get('one')!.prompt.render({})).toBe('first');
    await write('prompt.ts', `export const prompt = 'second';`);
    expect((await load('llm.config.ts')).get('one')!.prompt.render({})).toBe('second');
    await write('llm.config.ts', typescript('third'));
    expect((await load('llm.config.ts')).get('one')!.prompt.render({})).toBe('third');
  });

  it('of this repository is sound', async () => {
    const configs = await load('llm.config.ts', { cwd: root });
    expect(configs.summaries().map(({ name, variables }) => [name, variables])).toEqual([
      ['default', []],
      ['welcome', []],
      ['assistant', []],
      ['tutor', ['subject']],
      ['extract', []],
    ]);
  });

  it('is refused with its name and the problem of the file as a whole', async () => {
    await write('a.toml', '');
    await write('a.json', '{"one": }');
    await write('a.yaml', 'one:\n  model: [');
    await write('twice.yaml', 'one: {}\none: {}');
    await write('named.ts', 'export const configs = {};');
    await write('syntax.ts', 'export default {');
    await write('throws.ts', `throw new Error('no good');`);
    await write('big.json', Buffer.alloc(1024 * 1024 + 1, ' '));
    await mkdir(join(cwd, 'folder.yaml'));
    const told = async (file: string) => (await refusalOf(file)).replace(`${file} is not a valid config file:\n  `, '');
    expect(await told('folder.yaml')).toBe('expected a text file of at most 1 MiB, found a directory');
    expect(await told('big.json')).toBe('expected a text file of at most 1 MiB, found 1048577 bytes');
    expect(await told('a.toml')).toBe('expected a name that ends in .ts, .mts, .js, .mjs, .json, .yaml or .yml');
    expect(await told('a.json')).toMatch(/^expected JSON: Unexpected token/);
    expect(await told('a.yaml')).toMatch(/^expected YAML: .* in line 2, column \d+$/);
    expect(await told('twice.yaml')).toBe('expected YAML: a key that its map has twice in line 2, column 1');
    expect(await told('named.ts')).toBe('expected a default export: export default defineConfigs({ … })');
    expect(await told('syntax.ts')).toMatch(/^expected a module that loads: .*syntax\.ts:1:\d+$/);
    expect(await told('throws.ts')).toBe('expected a module that loads: no good (throws.ts:1)');
  });

  it.each([
    ['a.json', '{"one": {"model": 1,}}', 'Expected double-quoted property name in line 1, column 21'],
    ['a.json', '{\n  "one": nope\n}', /^expected JSON: .* in line 2, column 10$/],
    ['a.json', '{\n', /^expected JSON: .* in line 2, column 1$/],
    ['a.json', '{"one": {},\n "one": {}}', 'expected JSON: a key that its map has twice in line 2, column 2'],
    ['a.json', '// none\n{}', "Unexpected token '/' in line 1, column 1; JSON has no comments"],
    ['a.yaml', 'one:\n\tmodel: m', 'a tab at the beginning of a line in line 2, column 1; indent with blanks'],
    ['a.yaml', 'one: *two', /an alias \(\*name\) without an anchor .* in line 1, column 6; .* quotes$/],
    ['a.yaml', 'one:\n  model: !!js x', /a tag \(!name\) that is not known in line 2, column 10; .* quotes$/],
    ['a.yaml', 'a: 1\n---\nb: 2', 'a second document after --- in line 2, column 1; one file holds one'],
    ['a.ts', 'const a = 1;\nthrow new Error("no\\ngood");', 'no good (a.ts:2)'],
    ['a.ts', 'export default nope.one;', 'nope is not defined (a.ts:1)'],
    ['a.ts', "import x from './none.ts'; export default x;", "Cannot find module './none.ts' (a.ts:1)"],
    ['a.ts', 'throw "text";', 'it throws a value that is no Error'],
    ['a.yaml', '\n', 'expected a map from config name to config, found an empty file'],
    ['a.json', '', 'expected a map from config name to config, found an empty file'],
  ])('is refused in words, with the place: %s, %j', async (file, text, words) => {
    await write(file, text);
    const [headline, message = '', ...more] = (await refusalOf(file)).split('\n  ');
    expect([headline, more]).toEqual([`${file} is not a valid config file:`, []]);
    expect(message).toMatch(words);
    expect(message).not.toMatch(/[A-Z]+_[A-Z]+|node_modules|\s{2}at /);
  });

  it('is refused with every problem of its YAML', async () => {
    await write('a.yaml', 'one: {}\none: {}\ntwo: !x 1\ntwo: 2');
    expect((await refusalOf('a.yaml')).match(/in line \d/g)).toEqual(['in line 2', 'in line 3', 'in line 4']);
  });

  it('that doesn’t exist is reported as missing, with what to do and the file that was probably meant', async () => {
    const missing = await refusalOf('none.ts');
    expect(missing).toBe(
      `there is no config file none.ts in ${cwd}:\n` +
        '  found no file there; `llm-service init` writes a first one, and LLM_CONFIG can name another',
    );
    await mkdir(join(cwd, 'etc'));
    await write('etc/llm.config.yaml', '');
    await write('etc/notes.txt', '');
    expect(await refusalOf('etc/llm.config.ts')).toMatch(/; did you mean "etc\/llm\.config\.yaml"\?$/);
    expect(await refusalOf('no/such/folder.json')).toContain(`there is no config file folder.json in ${cwd}/no/such:`);
  });

  it('is not quoted if it can’t be read, because it may hold a prompt', async () => {
    await write('a.json', `{"one": {"system_prompt": "${secret}" oops`);
    await write('b.json', secret);
    await write('a.yaml', `one:\n  system_prompt: "${secret}\n  model: m`);
    await write('b.yaml', secret);
    await write('a.ts', `export default { one: { system_prompt: '${secret}' oops`);
    for (const file of ['a.json', 'b.json', 'a.yaml', 'b.yaml', 'a.ts']) {
      expect(await refusalOf(file)).not.toContain(secret);
    }
    expect(await refusalOf('b.yaml', { overrides: secret })).not.toContain(secret);
  });

  it.skipIf(process.platform === 'win32')('that is a pipe is refused, not waited for', async () => {
    await promisify(execFile)('mkfifo', [join(cwd, 'pipe.yaml')]);
    expect(await refusalOf('pipe.yaml')).toMatch(/found no regular file$/);
  });
});

describe('a prompt file', () => {
  it('is found from the config file’s folder', async () => {
    await write(
      'conf/llm.config.yaml',
      'one: { model: m, max_tokens: 10, system_prompt: { file: ../prompts/one.md } }',
    );
    await write('prompts/one.md', 'About {{subject}}');
    const configs = await load('conf/llm.config.yaml');
    expect(configs.get('one')!.prompt.variables).toEqual(['subject']);
  });

  it('is refused if it is not there, no text, or too big', async () => {
    const prompts = { missing: 'missing.md', folder: '.', binary: 'binary.md', big: 'big.md' };
    const configs = Object.entries(prompts).map(([name, file]) => [name, { ...plain, system_prompt: { file } }]);
    await write('a.json', JSON.stringify(Object.fromEntries(configs)));
    await write('binary.md', Buffer.from([0xff, 0xfe, 0x00]));
    await write('big.md', Buffer.alloc(1024 * 1024 + 1, 'x'));
    const expected = 'expected a text file of at most 1 MiB at';
    expect(await refusalOf('a.json')).toBe(
      [
        'a.json is not a valid config file:',
        `  missing.system_prompt: ${expected} missing.md, found no file there`,
        `  folder.system_prompt: ${expected} ., found a directory`,
        `  binary.system_prompt: ${expected} binary.md, found bytes that are not UTF-8`,
        `  big.system_prompt: ${expected} big.md, found 1048577 bytes`,
      ].join('\n'),
    );
  });
});

it('a missing prompt file is reported together with the other problems of all configs', async () => {
  const system_prompt = { file: 'missing.md' };
  await write('a.json', JSON.stringify({ one: { model: '', max_tokens: 0, system_prompt }, two: { ...plain, x: 1 } }));
  const paths = (await refusalOf('a.json')).match(/^  [\w.]+/gm)!.map((path) => path.trim());
  expect(paths).toEqual(['one.model', 'one.max_tokens', 'one.system_prompt', 'two.x']);
});

describe('LLM_CONFIGS', () => {
  const overrides = JSON.stringify({ one: { ...plain, max_tokens: 20 }, two: plain });

  it('replaces configs of the file by name', async () => {
    await write('a.json', JSON.stringify({ one: plain, three: plain }));
    const configs = await load('a.json', { overrides });
    expect(configs.names).toEqual(['one', 'three', 'two']);
    expect(configs.get('one')!.maxTokens).toBe(20);
  });

  it('needs no file, unless one is named', async () => {
    expect((await load('llm.config.ts', { overrides })).names).toEqual(['one', 'two']);
    expect(await refusalOf('named.ts', { overrides })).toContain('there is no config file named.ts');
  });

  it('is refused together with the file if neither can be read', async () => {
    await write('a.yaml', 'one: [');
    const told = await refusalOf('a.yaml', { overrides: '{' });
    expect(told).toMatch(
      /^a\.yaml and LLM_CONFIGS are not valid:\n  a\.yaml: expected YAML: [^\n]*\n  LLM_CONFIGS: expected JSON: /,
    );
  });

  it('is refused by its own name if it is not JSON', async () => {
    expect(await refusalOf('llm.config.ts', { overrides: '{' })).toMatch(
      /^LLM_CONFIGS is not valid:\n  expected JSON: /,
    );
  });
});

it('a key’s variable is looked up in the environment that is given', async () => {
  await write('a.json', JSON.stringify({ one: { ...plain, api_key_env: 'OTHER_KEY' } }));
  expect((await load('a.json', { env: { OTHER_KEY: 'k' } })).get('one')!.apiKeyEnv).toBe('OTHER_KEY');
  expect(await refusalOf('a.json')).toContain(
    'one.api_key_env: expected the name of an environment variable that is set',
  );
});
