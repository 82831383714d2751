/** The package as its users get it: packed, installed in an empty project, compiled against, and run. */
import { execFile, spawn, type ExecFileOptions } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';

finishesCleanly();

const root = fileURLToPath(new URL('..', import.meta.url));
const binaries = join(root, 'node_modules/.bin');
const exec = promisify(execFile);

/** Resolves to what the program wrote to stdout. The error of a failure holds all of its output. */
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
  // Built in another folder, because other tests may be running the files in dist.
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

it('contains the files that are run and read, and no others', async () => {
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

it('every link of a packed document leads to something that is packed', async () => {
  const listed = await run('tar', ['--list', '--file', tarball]);
  const paths = listed
    .trim()
    .split('\n')
    .map((path) => path.replace('package/', ''));
  for (const path of paths.filter((each) => each.endsWith('.md'))) {
    const text = await readFile(join(root, path), 'utf8');
    for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      const target = posix.join(posix.dirname(path), link!);
      const packed = paths.some((each) => each === target || each.startsWith(`${target.replace(/\/$/, '')}/`));
      expect(packed, `${path} links ${link}`).toBe(true);
    }
  }
});

describe('installed elsewhere', () => {
  let installed: string;
  beforeAll(async () => {
    installed = join(folder, 'installed');
    await mkdir(installed);
    await install(installed);
    // npx finds it there, so it needn't be fetched.
    await symlink(join(root, 'node_modules/tsx'), join(installed, 'node_modules/tsx'));
    await symlink('../tsx/dist/cli.mjs', join(installed, 'node_modules/.bin/tsx'));
  }, 180_000);

  /** A project as `npm init -y` makes it, with the package installed. */
  async function project(type: 'commonjs' | 'module'): Promise<string> {
    const path = await mkdtemp(join(folder, `${type}-`));
    await run('npm', ['init', '-y'], { cwd: path });
    await run('npm', ['pkg', 'set', `type=${type}`], { cwd: path });
    await symlink(join(installed, 'node_modules'), join(path, 'node_modules'));
    return path;
  }

  it.each(['commonjs', 'module'] as const)(
    "README's quick start works word for word in a package of type %s",
    async (type) => {
      const cwd = await project(type);
      const commands = await quickStart();
      expect(commands.slice(0, 2)).toEqual(['npm init -y', expect.stringMatching(/^npm install .*\.tgz$/)]);
      const [init, serve, ask] = commands.slice(2) as [string, string, string];
      const written = await run('sh', ['-c', init], { cwd });
      // README shows the files that init writes; the client is compiled and run from these.
      const shown = await snippetsOf('README.md');
      expect(written.trim().split('\n')).toEqual([...shown.keys()]);
      for (const [name, text] of shown) expect(await readFile(join(cwd, name), 'utf8'), name).toBe(text);
      const url = await start(serve, cwd);
      const client = shown.get('ask.mts')!;
      expect(client.split('\n').length).toBeLessThanOrEqual(15);
      await writeFile(join(cwd, 'ask.mts'), client.replace('http://127.0.0.1:3000', url));
      await typeCheck(cwd, [...shown.keys()]);
      expect(await run('sh', ['-c', ask], { cwd })).toMatch(/\w+ \w+/);
    },
    180_000,
  );

  it('every snippet of docs/embedding.md compiles, and writes to stdout what it says and nothing else', async () => {
    const cwd = await project('module');
    await run('npx', ['llm-service', 'init'], { cwd });
    const snippets = await snippetsOf('docs/embedding.md');
    for (const [name, text] of snippets) await writeFile(join(cwd, name), text);
    const names = [...snippets.keys()];
    await typeCheck(cwd, names, { allowImportingTsExtensions: true, declaration: true });
    expect(names).toEqual(['server.ts', 'answer.ts']);
    expect(await run('npx', ['tsx', 'answer.ts'], { cwd })).toBe('Hello from upstream.\n');
  }, 180_000);
});

/** The commands of README's section for users, without their comments. */
async function quickStart(): Promise<string[]> {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const block = /## In a project of your own\n.*?```sh\n(.*?)```/s.exec(readme)?.[1] ?? expect.fail('there is none');
  return block
    .trim()
    .split('\n')
    .map((line) => line.replace(/\s+#.*/, ''));
}

/** The TypeScript snippets of a document, by the file name in their first line. */
async function snippetsOf(document: string): Promise<Map<string, string>> {
  const text = await readFile(join(root, document), 'utf8');
  const blocks = [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code!);
  return new Map(blocks.map((code) => [/^\/\/ (\S+)\n/.exec(code)?.[1] ?? expect.fail(`whose name?\n${code}`), code]));
}

/** With the options that README names, and with the types of libraries checked, too. */
async function typeCheck(cwd: string, files: readonly string[], options: object = {}): Promise<void> {
  const compilerOptions = {
    strict: true,
    module: 'nodenext',
    types: ['node'],
    noEmit: true,
    typeRoots: [join(root, 'node_modules/@types')],
    // Users have to install the peer dependencies of tRPC's client themselves.
    paths: { ws: [join(root, 'node_modules/@types/ws/index.d.ts')] },
    ...options,
  };
  await writeFile(join(cwd, 'tsconfig.json'), JSON.stringify({ files, compilerOptions }));
  await run(join(binaries, 'tsc'), ['--project', cwd]);
}

/** Resolves to the URL of the service once it listens. The service ends with the test. */
async function start(command: string, cwd: string): Promise<string> {
  const service = spawn('sh', ['-c', command], {
    cwd,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], PORT: '0' },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  const ended = new Promise((resolve) => service.once('exit', resolve));
  onTestFinished(async () => {
    // npx passes no signals on, so the test signals the whole process group, which it made.
    process.kill(-service.pid!, 'SIGTERM');
    await ended;
  });
  return listeningUrl(service.stderr);
}

/**
 * Installs the tarball in an empty project, with the exact versions of its dependencies that this project was tested
 * with. These are in npm's cache, so no registry is asked.
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
  // React is an optional one: npm installs it for nobody.
  const required = Object.keys(installed['peerDependencies'] as object).filter((name) => name !== 'react');
  const peers = new Set(required.map((name) => `node_modules/${name}`));
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
  await run('npm', ['ci', '--engine-strict', '--prefer-offline', '--no-audit', '--no-fund'], { cwd: project });
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
