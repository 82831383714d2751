import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, onTestFinished, vi } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');

/** A folder that is deleted after the test. */
async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'types-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

/** Compiles one file and its imports, with this project's options and the given ones. Resolves to tsc's messages. */
async function compile(file: string, folder: string, compilerOptions: object = {}): Promise<string> {
  const project = join(folder, 'tsconfig.json');
  const typeRoots = [join(root, 'node_modules/@types')];
  const options = {
    extends: join(root, 'tsconfig.json'),
    files: [file],
    include: [],
    compilerOptions: { typeRoots, ...compilerOptions },
  };
  await writeFile(project, JSON.stringify(options));
  return promisify(execFile)(process.execPath, [tsc, '--project', project]).then(
    () => '',
    (error: Error & { readonly stdout?: string }) => error.stdout ?? String(error),
  );
}

// Each test runs the compiler, which is slow on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

it.each(['types', 'client', 'tools', 'host', 'react'])(
  'the compiler knows what clients may send and refuses the rest: %s',
  async (name) => {
    expect(await compile(join(root, `test/${name}.test-d.ts`), await temporaryFolder())).toBe('');
  },
);

/** The compiler's messages about the snippets, which can use `configs`, `common`, `messages` and `llm`. */
async function complaintsAbout(snippets: readonly string[]): Promise<string[]> {
  const folder = await temporaryFolder();
  const from = (file: string) => JSON.stringify(join(root, 'src', file));
  const file = join(folder, 'wrong.mts');
  const known = [
    `import { createLlmClient, type Message } from ${from('client.ts')};`,
    `import { clientTool, defineConfigs, tool } from ${from('define-configs.ts')};`,
    `import { z } from ${JSON.stringify(join(root, 'node_modules/zod/index.js'))};`,
    `import type { LlmRouter } from ${from('doors/trpc/router.ts')};`,
    `import { initTRPC } from ${JSON.stringify(join(root, 'node_modules/@trpc/server/dist/index.d.mts'))};`,
    "const common = { model: 'm', max_tokens: 10 } as const;",
    'const configs = defineConfigs({',
    "  plain: { ...common, system_prompt: 'No variables' },",
    "  tutor: { ...common, system_prompt: 'On {{subject}}, {{level}}' },",
    "  picks: { ...common, system_prompt: '', tools: { pick: clientTool({",
    "    description: '', input: z.object({ kind: z.string() }), output: z.number() }) } },",
    '});',
    'declare const messages: Message[];',
    "const to = { url: 'http://127.0.0.1', transport: 'sse' } as const;",
    'const llm = createLlmClient<LlmRouter<typeof configs>>(to);',
  ];
  await writeFile(file, [...known, ...snippets].join('\n'));
  const output = await compile(file, folder, { rewriteRelativeImportExtensions: false });
  return snippets.map((_, index) => {
    const start = output.indexOf(`wrong.mts(${known.length + index + 1},`);
    if (start === -1) return '';
    const next = output.indexOf('wrong.mts(', start + 1);
    return output.slice(start, next === -1 ? undefined : next);
  });
}

/** A mistake, and what the message about it must name. */
const mistakes: readonly (readonly [snippet: string, ...named: string[]])[] = [
  ["llm.stream({ config: 'tutour', messages });", '"picks" | "plain" | "tutor"'],
  ["llm.stream({ config: String('tutor'), messages });", '"picks" | "plain" | "tutor"'],
  ["llm.stream({ config: 'tutor', messages, variables: { subject: '' } });", "'level' is missing"],
  ["llm.stream({ config: 'tutor', messages });", "'variables' is missing", '"level" | "subject"'],
  [
    "llm.stream({ config: 'tutor', messages, variables: { subjet: '', level: '' } });",
    "'subjet' does not exist",
    '"level" | "subject"',
  ],
  ["llm.stream({ config: 'tutor', messages, variables: { subject: '', level: '', x: '' } });", "'x' does not exist"],
  ["llm.stream({ config: 'tutor', messages, variables: { subject: 1, level: '' } });", "assignable to type 'string'"],
  ["llm.stream({ config: 'plain', messages, variables: { x: '' } });", "'x' does not exist", 'NoVariables<"plain">'],
  ["llm.stream({ config: 'plain', mesages: messages });", "write 'messages'"],
  ["llm.stream({ config: 'tutor', messages, variabels: { subject: '' } });", "write 'variables'"],
  ["llm.stream({ config: 'plain', messages: [{ role: 'robot', content: '' }] });", '"assistant" | "system" | "user"'],
  [
    "createLlmClient<ReturnType<typeof mounted>>(to).stream({ config: 'plain', messages }); " +
      'function mounted() { const t = initTRPC.create(); return t.router({ ai: t.router({}) }); }',
    'the procedures of createLlmRouter under llm',
  ],
  ["defineConfigs({ a: { modle: 'm', max_tokens: 1, system_prompt: '' } });", "write 'model'"],
  ["defineConfigs({ a: { max_tokens: 1, system_prompt: '' } });", "'model' is missing"],
  ['defineConfigs({ a: { ...common } });', "'system_prompt' is missing"],
  ["defineConfigs({ a: { ...common, system_prompt: '', tempurature: 1 } });", "write 'temperature'"],
  ["defineConfigs({ a: { ...common, system_prompt: '', timeouts: { idleMs: 1 } } });", "write 'idle_ms'"],
  ["defineConfigs({ a: { ...common, system_prompt: '', on_disconnect: 'stop' } });", '"continue"', 'cancel_after_ms'],
  [
    "defineConfigs({ a: { ...common, system_prompt: { file: 'a.md', variable: ['x'] } } });",
    'file or variables, and no key variable',
  ],
  [
    "defineConfigs({ a: { ...common, system_prompt: '', fallback: 'bb' }, b: { ...common, system_prompt: '' } });",
    `"bb"' is not assignable to type '"b"'`,
  ],
  [
    "defineConfigs({ a: { ...common, system_prompt: '', fallback: 'a' }, b: { ...common, system_prompt: '' } });",
    `"a"' is not assignable to type '"b"'`,
  ],
  [
    "defineConfigs({ a: { ...common, system_prompt: '', fallback: 'a' } });",
    'the name of another config, and there is none',
  ],
  [
    "defineConfigs({ a: { ...common, system_prompt: '', tools: { t: { description: '' } } } });",
    'AnyTool | ServerTool',
  ],
  ["defineConfigs({ a: { ...common, system_prompt: '', output: { type: 'object' } } });", "'Schema"],
  ["clientTool({ description: '', input: z.object({}) });", "'output' is missing"],
  ["tool({ description: '', input: z.object({}) });", "'execute' is missing"],
  [
    "tool({ description: '', input: z.object({}), output: z.object({ n: z.number() }), execute: () => ({ n: '' }) });",
    "'string' is not assignable to type 'number'",
  ],
  ["llm.stream({ config: 'plain', messages }, { tools: { pick: () => 1 } });", "'pick' does not exist", 'NoHandlers'],
  ["llm.stream({ config: 'picks', messages }, { tools: { pik: () => 1 } });", "write 'pick'"],
  [
    "llm.stream({ config: 'picks', messages }, { tools: { pick: ({ kind }) => kind } });",
    "'string' is not assignable to type 'number",
  ],
];

it('the compiler names what it expects of a config and of a request, and never prints `never`', async () => {
  const complaints = await complaintsAbout(mistakes.map(([snippet]) => snippet));
  for (const [index, [snippet, ...named]] of mistakes.entries()) {
    for (const name of named) expect(complaints[index], snippet).toContain(name);
    expect(complaints[index], snippet).not.toContain("type 'never'");
  }
});

it('the declaration file of a config file holds names, variables and the types of tools, and no text of theirs', async () => {
  const folder = await temporaryFolder();
  const secret = 'the-secret-of-the-prompt';
  await writeFile(
    join(folder, 'canary.config.mts'),
    `import { clientTool, defineConfigs, tool } from ${JSON.stringify(join(root, 'src/define-configs.ts'))};
     import { z } from ${JSON.stringify(join(root, 'node_modules/zod/index.js'))};
     const configs = defineConfigs({
       plain: { model: 'm', max_tokens: 10, system_prompt: '${secret}' },
       tutor: { model: 'm', max_tokens: 10, system_prompt: '${secret} {{subject}}', base_url: 'http://${secret}' },
       filed: { model: 'm', max_tokens: 10, system_prompt: { file: '${secret}', variables: ['topic'] } },
       tools: { model: 'm', max_tokens: 10, system_prompt: '${secret}', output: z.object({ n: z.number().describe('${secret}') }), tools: {
         get: tool({ description: '${secret}', input: z.object({ city: z.string().default('${secret}') }), execute: () => ({ a: '${secret}' as const }) }),
         pick: clientTool({ description: '${secret}', input: z.object({}), output: z.enum(['a', 'b']) }),
         web: { type: 'web_search_20260318', url: '${secret}' },
       } },
     });
     export default configs;
     export type Defined = typeof configs;`,
  );
  const emit = {
    noEmit: false,
    rewriteRelativeImportExtensions: false,
    declaration: true,
    emitDeclarationOnly: true,
    rootDir: '/',
    outDir: join(folder, 'out'),
  };
  expect(await compile(join(folder, 'canary.config.mts'), folder, emit)).toBe('');
  const declaration = await readFile(join(folder, 'out', folder, 'canary.config.d.mts'), 'utf8');
  const types = declaration.replaceAll(/\s+/g, ' ');
  expect(types).toContain('Configs<{ plain: never; tutor: "subject"; filed: "topic"; tools: never; }, { tools: { ');
  expect(types).toContain('get: { input: { city?: string | undefined; }; output: undefined; by: "service"; };');
  expect(types).toContain('output: "a" | "b"; by: "client"; }; }; }, { tools: { n: number; }; }>');
  expect(declaration).not.toContain(secret);
});
