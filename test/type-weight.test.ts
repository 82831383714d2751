/** How much work the compiler has with many configs and tools. Beyond some size an editor would take seconds for each letter. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, onTestFinished, vi } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const configCount = 50;
const toolCount = 10;
const instantiationsMax = 2_000_000;

// The compiler is slow on a busy machine.
vi.setConfig({ testTimeout: 240_000 });

const from = (file: string) => JSON.stringify(join(root, 'src', file));
const times = (count: number, each: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => each(index)).join('\n');

function toolSource(config: number, index: number): string {
  const own = `${config}_${index}`;
  const input = `z.object({ a: z.string(), b: z.number().int(), c: z.enum(['x', 'y', 'z']).optional(), d: z.array(z.object({ e: z.string(), f: z.boolean() })).optional(), g${own}: z.string().nullable() })`;
  const output = `z.object({ r${own}: z.number(), list: z.array(z.string()), ok: z.boolean() })`;
  const schemas = `description: 'x', input: ${input}, output: ${output}`;
  return index % 5 === 4
    ? `tool${own}: clientTool({ ${schemas} }),`
    : `tool${own}: tool({ ${schemas}, execute: async ({ a, b }, { signal }) => ({ r${own}: a.length + b, list: [a], ok: signal.aborted }) }),`;
}

const configsSource = `
import { z } from 'zod';
import { clientTool, defineConfigs, tool } from ${from('define-configs.ts')};
const common = { model: 'm', max_tokens: 10 } as const;
export const configs = defineConfigs({
${times(
  configCount,
  (config) => `config${config}: {
  ...common,
  system_prompt: 'Hello {{a${config}}} and {{b${config}}}, with a longer text that has some words in it to be parsed',
  tools: {
    ${times(toolCount, (index) => toolSource(config, index))}
  },
  output: z.object({ title: z.string(), o${config}: z.array(z.object({ k: z.string(), v: z.number() })) }),
},`,
)}
});
`;

const readsEvent = (config: number) => `
  if (e.type === 'tool_call' && e.name === 'tool${config}_3') e.input.g${config}_3 satisfies string | null;
  if (e.type === 'tool_result' && e.name === 'tool${config}_3' && e.ok) e.output.r${config}_3 satisfies number;
  if (e.type === 'text') e.text satisfies string;
`;
const inputSource = (config: number) =>
  `{ config: 'config${config}', messages, variables: { a${config}: '', b${config}: '' } }`;

const useSource = `
import type { TRPCClient } from ${JSON.stringify(join(root, 'node_modules/@trpc/client/dist/index.d.mts'))};
import { createLlmClient, type Message } from ${from('client.ts')};
import type { LlmRouter } from ${from('doors/trpc/router.ts')};
import type { configs } from './configs.mts';
type AppRouter = LlmRouter<typeof configs>;
declare const messages: Message[];
const llm = createLlmClient<AppRouter>({ url: '', transport: 'sse' });
export async function ours() {
${times(
  configCount,
  (config) => `for await (const e of llm.stream(${inputSource(config)})) {${readsEvent(config)}}
(await llm.stream(${inputSource(config)}).object()).o${config} satisfies unknown[];`,
)}
}
declare const client: TRPCClient<AppRouter>;
export function stock() {
${times(
  configCount,
  (config) =>
    `client.llm.stream.subscribe(${inputSource(config)}, { onData: ({ data: e }) => {${readsEvent(config)}} });`,
)}
}
`;

it(`${configCount} configs with ${toolCount} tools each, used ${configCount} times by both clients, take at most ${instantiationsMax} instantiations`, async () => {
  // Within the project, so that the files find zod.
  const parent = join(root, 'node_modules/.cache');
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, 'type-weight-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'configs.mts'), configsSource);
  await writeFile(join(folder, 'use.mts'), useSource);
  const project = join(folder, 'tsconfig.json');
  const compilerOptions = { rewriteRelativeImportExtensions: false, typeRoots: [join(root, 'node_modules/@types')] };
  await writeFile(
    project,
    JSON.stringify({ extends: join(root, 'tsconfig.json'), files: ['use.mts'], include: [], compilerOptions }),
  );
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  // Several checkers would each instantiate the types that they share.
  const options = ['-p', project, '--extendedDiagnostics', '--singleThreaded'];
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, ...options]).catch(
    (failure: { readonly stdout: string }) => expect.fail(failure.stdout),
  );
  const instantiations = Number(/^Instantiations:\s*(\d+)$/m.exec(stdout)?.[1]);
  expect(instantiations).toBeGreaterThan(configCount * toolCount);
  expect(instantiations).toBeLessThan(instantiationsMax);
});
