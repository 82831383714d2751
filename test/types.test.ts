import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');

/** A folder that is gone after the test. */
async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'types-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

/** Compiles one file and what it imports, under this project's options and the given ones. Resolves to tsc's complaints. */
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

it.each(['types', 'client'])('the compiler knows what clients may send and refuses the rest: %s', async (name) => {
  expect(await compile(join(root, `test/${name}.test-d.ts`), await temporaryFolder())).toBe('');
});

it('the declaration file of a config file holds names and variables, and no prompt', async () => {
  const folder = await temporaryFolder();
  const secret = 'the-secret-of-the-prompt';
  await writeFile(
    join(folder, 'canary.config.mts'),
    `import { defineConfigs } from ${JSON.stringify(join(root, 'src/define-configs.ts'))};
     const configs = defineConfigs({
       plain: { model: 'm', max_tokens: 10, system_prompt: '${secret}' },
       tutor: { model: 'm', max_tokens: 10, system_prompt: '${secret} {{subject}}', base_url: 'http://${secret}' },
       filed: { model: 'm', max_tokens: 10, system_prompt: { file: '${secret}', variables: ['topic'] } },
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
  expect(declaration.replace(/\s+/g, ' ')).toContain('Configs<{ plain: never; tutor: "subject"; filed: "topic"; }>');
  expect(declaration).not.toContain(secret);
});
