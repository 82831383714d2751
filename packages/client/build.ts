/**
 * Builds this package from the sources of the service. Each file that package.json exports as `dist/NAME.js` is made of
 * `src/NAME.ts`, with what it needs and nothing else: the client imports types of the service, and of their declarations only those
 * are kept that it names. Entries share their chunks, so that there is one LlmClientError.
 *
 * The first argument is the folder to build in, `dist` of this package by default.
 */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { rolldown, type InputOptions } from 'rolldown';
import { dts } from 'rolldown-plugin-dts';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));
const dir = process.argv[2] ?? join(here, 'dist');

const { exports } = JSON.parse(await readFile(join(here, 'package.json'), 'utf8')) as {
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
};
const targets = Object.values(exports).flatMap((target) => (typeof target === 'string' ? [] : Object.values(target)));

/** The names of the exported files that end like this. */
function namesOf(ending: '.js' | '.d.ts'): string[] {
  const found = targets.filter((target) => target.endsWith(ending)).map((target) => target.slice('./dist/'.length));
  return [...new Set(found)].map((path) => path.slice(0, -ending.length));
}

async function bundle(ending: '.js' | '.d.ts', from: string, options: InputOptions = {}): Promise<void> {
  const names = namesOf(ending);
  const sourceEnding = ending === '.js' ? '.ts' : ending;
  const input = Object.fromEntries(names.map((name) => [name, join(from, `${name}${sourceEnding}`)]));
  const build = await rolldown({
    input,
    external: /^[^./]/,
    platform: 'neutral',
    treeshake: { moduleSideEffects: false },
    ...options,
  });
  await build.write({
    dir,
    format: 'esm',
    entryFileNames: `[name]${ending}`,
    chunkFileNames: `chunks/[name]${ending}`,
  });
  await build.close();
}

await rm(dir, { recursive: true, force: true });
await bundle('.js', join(root, 'src'));

// Within the project, so that the declarations find the packages that they name.
const declarations = await mkdtemp(join(root, 'node_modules/.client-declarations-'));
try {
  const tsc = [join(root, 'node_modules/typescript/bin/tsc'), '--project', join(root, 'tsconfig.build.json')];
  const options = ['--emitDeclarationOnly', '--sourceMap', 'false', '--outDir', declarations];
  await promisify(execFile)(process.execPath, [...tsc, ...options]);
  await bundle('.d.ts', declarations, { plugins: [dts({ dtsInput: true, tsconfig: false })] });
} finally {
  await rm(declarations, { recursive: true });
}
await cp(join(root, 'LICENSE'), join(here, 'LICENSE'));
