/** The package as its users get it: packed, installed in an empty project elsewhere, compiled against, and run. */
import { execFile, spawn, type ExecFileOptions } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';

finishesCleanly();

const root = fileURLToPath(new URL('..', import.meta.url));
const binaries = join(root, 'node_modules/.bin');
const exec = promisify(execFile);

/** Resolves to what the program wrote to stdout; fails with all that it wrote. */
async function run(program: string, args: readonly string[], options: ExecFileOptions = {}): Promise<string> {
  try {
    return String((await exec(program, args, { maxBuffer: 2 ** 26, ...options })).stdout);
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    return expect.fail(`${program} ${args.join(' ')}\n${stdout}${stderr}`);
  }
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly files: readonly string[];
}

let folder: string;
let tarball: string;
let manifest: Manifest;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'package-'));
  manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Manifest;
  // Built aside, since other tests may be running what is in dist.
  const staged = join(folder, 'staged');
  await mkdir(staged);
  const copied = manifest.files.filter((file) => file !== 'dist');
  for (const file of ['package.json', 'LICENSE', ...copied]) {
    await cp(join(root, file), join(staged, file), { recursive: true });
  }
  const outDir = join(staged, 'dist');
  await run(join(binaries, 'tsc'), ['--project', join(root, 'tsconfig.build.json'), '--outDir', outDir]);
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: staged });
  tarball = join(folder, `${manifest.name}-${manifest.version}.tgz`);
});
afterAll(() => rm(folder, { recursive: true }));

it('holds what is run and read, and nothing else', async () => {
  const listed = await run('tar', ['--list', '--file', tarball]);
  const paths = listed
    .trim()
    .split('\n')
    .map((path) => path.replace('package/', ''));
  const within = ['package.json', 'LICENSE', ...manifest.files];
  const holds = (file: string, path: string) => path === file || path.startsWith(`${file}/`);
  expect(paths.filter((path) => !within.some((file) => holds(file, path)))).toEqual([]);
  expect(within.filter((file) => !paths.some((path) => holds(file, path)))).toEqual([]);
  expect(paths).toContain('dist/cli.js');
  expect(paths.filter((path) => /test|\.env|\.log$|\.tgz$/.test(path))).toEqual([]);
});

it('publint and attw find nothing wrong with its exports and types', async () => {
  await run(join(binaries, 'publint'), ['--strict', tarball]);
  await run(join(binaries, 'attw'), ['--profile', 'esm-only', tarball]);
});

it("installed elsewhere, the README's client compiles under strict and streams from the installed service", async () => {
  const project = join(folder, 'project');
  await mkdir(project);
  await install(project);
  await writeFile(
    join(project, 'llm.config.ts'),
    `import { defineConfigs } from 'llm-service/config';
     import type { LlmRouter } from 'llm-service';

     const configs = defineConfigs({
       default: { model: 'claude-sonnet-5-5', max_tokens: 1_000, system_prompt: 'You are brief.' },
     });
     export default configs;
     export type AppRouter = LlmRouter<typeof configs>;`,
  );
  const service = spawn('npx', ['llm-service', 'serve'], {
    cwd: project,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], PORT: '0' },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  const ended = new Promise((resolve) => service.once('exit', resolve));
  onTestFinished(async () => {
    // npx passes no signal on; the group is of this test's making.
    process.kill(-service.pid!, 'SIGTERM');
    await ended;
  });
  const url = await listeningUrl(service.stderr);
  const client = await readmeClient();
  expect(client.split('\n').length).toBeLessThanOrEqual(15);
  await writeFile(join(project, 'client.ts'), client.replace('http://127.0.0.1:3000', url));
  const compilerOptions = {
    strict: true,
    target: 'es2023',
    module: 'nodenext',
    rewriteRelativeImportExtensions: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    // Libraries are checked, too. What tRPC's client wants, its users have to install by themselves.
    paths: { ws: [join(root, 'node_modules/@types/ws/index.d.ts')] },
    outDir: 'out',
  };
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ files: ['client.ts'], compilerOptions }));
  await run(join(binaries, 'tsc'), ['--project', project]);
  expect(await run(process.execPath, ['out/client.js'], { cwd: project })).toMatch(/\w+ \w+/);
}, 180_000);

/**
 * Installs the tarball in an empty project, with the very versions of its dependencies that this project was tested with:
 * they are in npm's cache, so that no registry is asked.
 */
async function install(project: string): Promise<void> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { readonly dev?: boolean; readonly link?: boolean }>;
  };
  const {
    devDependencies: _devDependencies,
    scripts: _scripts,
    workspaces: _workspaces,
    ...installed
  } = manifest as Manifest & Record<string, unknown>;
  const peers = new Set(Object.keys(installed['peerDependencies'] as object).map((name) => `node_modules/${name}`));
  const kept = Object.entries(packages).filter(
    ([path, { dev, link }]) => path.startsWith('node_modules/') && !link && (!dev || peers.has(path)),
  );
  const dependencies = { [manifest.name]: `file:${tarball}` };
  const lock = {
    name: 'project',
    lockfileVersion: 3,
    packages: {
      '': { name: 'project', dependencies },
      ...Object.fromEntries(kept.map(([path, { dev: _dev, ...entry }]) => [path, entry])),
      [`node_modules/${manifest.name}`]: { ...installed, resolved: `file:${tarball}` },
    },
  };
  await writeFile(
    join(project, 'package.json'),
    JSON.stringify({ type: 'module', private: true, name: 'project', dependencies }),
  );
  await writeFile(join(project, 'package-lock.json'), JSON.stringify(lock));
  await run('npm', ['ci', '--prefer-offline', '--no-audit', '--no-fund'], { cwd: project });
}

/** The first block of README's that imports the router's type. */
async function readmeClient(): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code!.trim());
  return blocks.find((code) => code.includes('import type { AppRouter }')) ?? expect.fail('README has no client');
}

async function listeningUrl(output: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: output })) {
    const url = /listens on (http:\S+)/.exec(line)?.[1];
    if (url !== undefined) {
      output.resume();
      return url;
    }
  }
  return expect.fail('the service ended before it listened');
}
