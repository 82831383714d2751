/** The code that the documents show compiles against the package's own types. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, vi } from 'vitest';
import { read } from './support/printed.ts';
import { needsOthers } from './support/recipes.ts';

// The compiler is slow on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

const root = fileURLToPath(new URL('..', import.meta.url));

/** What the examples import from the reader's own project. */
const ofTheReader = {
  'db.ts':
    'export declare const pool: { query(sql: string, values: readonly unknown[]): Promise<{ rows: { id: string; product: string; state: string }[] }> };',
  'llm.config.ts': /^```ts\n(\/\/ llm\.config\.ts\n.*?)^```/ms.exec(read('README.md'))![1]!,
  'polyfills.d.ts': "declare module 'react-native-get-random-values';",
  'mailer.ts':
    'export declare const mailer: { send(mail: Readonly<Record<"from" | "to" | "subject" | "text", string>>, options: { signal: AbortSignal }): Promise<void> };',
};

it.each(['README.md', 'docs/tools.md', 'docs/front-ends.md'])('the TypeScript of %s compiles', async (page) => {
  const examples = [...read(page).matchAll(/^```tsx?\n(.*?)^```/gms)]
    .map(([, code]) => code!)
    .filter((code) => !needsOthers(code));
  expect(examples.length).toBeGreaterThan(1);
  // Within the project, so that the examples find the packages that they name.
  const parent = join(root, 'node_modules/.cache');
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, 'docs-code-'));
  try {
    const named = examples.map(
      (code, index) => [/^\/\/ (\S+\.(?:m?ts|tsx))\n/.exec(code)?.[1] ?? `example-${index}.ts`, code] as const,
    );
    for (const [name, code] of [...Object.entries(ofTheReader), ...named]) await writeFile(join(folder, name), code);
    const source = (entry: string) => [join(root, 'src', entry)];
    const project = {
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        jsx: 'react-jsx',
        paths: {
          'llm-service': source('index.ts'),
          'llm-service/config': source('define-configs.ts'),
          'llm-service/client': source('client.ts'),
          'llm-service/react': source('react.ts'),
          '@llm-service/client': source('client.ts'),
        },
      },
      include: ['*.ts', '*.tsx', '*.mts'],
      exclude: [],
    };
    await writeFile(join(folder, 'package.json'), '{"type": "module"}');
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(project));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', folder], { cwd: folder }).catch(
      (error: { stdout: string }) => error,
    );
    // Problems of the package itself are found by `npm run check`.
    expect(stdout.split('\n').filter((line) => /^[\w-]/.test(line))).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
