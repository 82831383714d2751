/**
 * The project as JavaScript, for tests that run it in a process of its own: a process that compiles nothing starts with a third of
 * the CPU. It is compiled once for each state of the sources, by the first test that needs it, and found there by all others.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Below node_modules, so that the compiled files find their packages. */
const cacheFolder = join(root, 'node_modules', '.cache');
const prefix = 'compiled-';
const child = 'test/support/service-child.ts';
/** A folder that no run can be using any more. */
const staleMs = 24 * 3_600_000;

let compiled: Promise<string> | undefined;

/** Resolves to a folder with package.json, `dist`, and test/support/service-child.js. Nobody may change what is in it. */
export function compiledProject(): Promise<string> {
  return (compiled ??= findOrCompile());
}

async function findOrCompile(): Promise<string> {
  const folder = join(cacheFolder, `${prefix}${await hashOfSources()}`);
  if (existsSync(folder)) return folder;
  await mkdir(cacheFolder, { recursive: true });
  await removeStale();
  const aside = await mkdtemp(join(cacheFolder, 'compiling-'));
  try {
    await compileTo(aside);
    await rename(aside, folder);
  } catch (error) {
    // Another test file may have compiled the same meanwhile.
    if (!existsSync(folder)) throw error;
    await rm(aside, { recursive: true });
  }
  return folder;
}

async function compileTo(folder: string): Promise<void> {
  const config = {
    extends: join(root, 'tsconfig.json'),
    // Types are checked elsewhere.
    compilerOptions: { noEmit: false, noCheck: true, rootDir: root, outDir: folder },
    files: [join(root, child)],
    include: [join(root, 'src')],
    exclude: [],
  };
  const configFile = join(folder, 'tsconfig.json');
  await writeFile(configFile, JSON.stringify(config));
  await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', configFile]);
  // As npm installs a program of a package.
  await cp(join(root, 'package.json'), join(folder, 'package.json'));
  await symlink('src', join(folder, 'dist'));
  await chmod(join(folder, 'dist', 'cli.js'), 0o755);
  const installed = join(folder, 'node_modules', '.bin');
  await mkdir(installed, { recursive: true });
  await symlink('../../dist/cli.js', join(installed, 'llm-service'));
}

async function hashOfSources(): Promise<string> {
  const hash = createHash('sha256');
  const sources = (await readdir(join(root, 'src'), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
  for (const path of [...sources, join(root, child), join(root, 'tsconfig.json'), join(root, 'package.json')]) {
    hash
      .update(path.slice(root.length))
      .update('\0')
      .update(await readFile(path))
      .update('\0');
  }
  return hash.digest('hex').slice(0, 16);
}

async function removeStale(): Promise<void> {
  for (const name of await readdir(cacheFolder)) {
    if (!name.startsWith(prefix)) continue;
    const path = join(cacheFolder, name);
    if ((await stat(path)).mtimeMs < Date.now() - staleMs) await rm(path, { recursive: true, force: true });
  }
}
