/** The package `@llm-service/client` as its users get it: packed, in an empty project, bundled, compiled against and run. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type * as Client from '../src/client.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

vi.setConfig({ hookTimeout: 120_000, testTimeout: 120_000 });
finishesCleanly();

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'packages/client');
const exec = promisify(execFile);

interface Manifest {
  readonly version: string;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
}
const manifestOf = async (folder: string) =>
  JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;

let folder: string;
let packed: string;
let manifest: Manifest;
beforeAll(async () => {
  manifest = await manifestOf(source);
  folder = await mkdtemp(join(tmpdir(), 'client-package-'));
  const staged = join(folder, 'staged');
  await mkdir(staged);
  for (const file of ['package.json', 'README.md']) await cp(join(source, file), join(staged, file));
  await exec('node', [join(root, 'node_modules/tsx/dist/cli.mjs'), join(source, 'build.ts'), join(staged, 'dist')]);
  await exec('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: staged });
  await exec('tar', ['--extract', '--file', `llm-service-client-${manifest.version}.tgz`], { cwd: folder });
  packed = join(folder, 'package');
});
afterAll(() => rm(folder, { recursive: true }));

/** A project with the package, with its dependencies, and with tRPC from this folder. */
async function project(name: string, trpc: Readonly<Record<'client' | 'server', string>>): Promise<string> {
  const path = join(folder, name);
  const modules = join(path, 'node_modules');
  await mkdir(join(modules, '@trpc'), { recursive: true });
  await writeFile(join(path, 'package.json'), '{"type": "module"}');
  await cp(packed, join(modules, '@llm-service/client'), { recursive: true });
  for (const part of ['client', 'server'] as const) {
    // A link would lead tRPC's client to the tRPC server beside it.
    await cp(trpc[part], join(modules, '@trpc', part), { recursive: true, dereference: true });
  }
  for (const dependency of [...Object.keys(manifest.dependencies), 'react', '@types']) {
    await symlink(join(root, 'node_modules', dependency), join(modules, dependency));
  }
  return path;
}

const ours = { client: join(root, 'node_modules/@trpc/client'), server: join(root, 'node_modules/@trpc/server') };
const oldest = {
  client: join(root, 'test/front-ends/node_modules/@trpc/client'),
  server: join(root, 'test/front-ends/node_modules/@trpc/server'),
};

it('has the version, the exports and the dependencies that the service has', async () => {
  const service = await manifestOf(root);
  expect(manifest.version).toBe(service.version);
  for (const [name, range] of Object.entries(manifest.dependencies)) expect(service.dependencies[name]).toBe(range);
  const { '.': client, './package.json': _manifest, ...others } = manifest.exports;
  expect(client).toEqual(service.exports['./client']);
  for (const [name, target] of Object.entries(others)) expect(service.exports[name]).toEqual(target);
});

it('publint and attw find nothing wrong with it', async () => {
  const tarball = join(folder, `llm-service-client-${manifest.version}.tgz`);
  await exec(join(root, 'node_modules/.bin/publint'), ['--strict', tarball]);
  await exec(join(root, 'node_modules/.bin/attw'), ['--profile', 'esm-only', tarball]);
});

it('each export bundles for a browser without a module of Node, and is small', async () => {
  const path = await project('bundled', ours);
  const sizes: Record<string, number> = {};
  for (const name of Object.keys(manifest.exports).filter((each) => each !== './package.json')) {
    const { outputFiles } = await build({
      stdin: { contents: `export * from "${name.replace('.', '@llm-service/client')}";`, resolveDir: path },
      bundle: true,
      write: false,
      minify: true,
      platform: 'browser',
      format: 'esm',
      external: ['react'],
      logLevel: 'silent',
    });
    sizes[name] = gzipSync(outputFiles[0]!.text).length;
    expect(outputFiles[0]!.text).not.toMatch(/from"(?!react")|require\(|ZodError/);
  }
  expect(sizes['.']).toBeLessThan(20_500);
  // Without the client, which the app brings.
  expect(sizes['./react']).toBeLessThan(7_000);
});

it('its declarations need nothing of the service, and know the types of a service that has declarations of its own', async () => {
  const path = await project('compiled', ours);
  const declarations = await exec('grep', [
    '-rhoE',
    '(from|import) "[^.][^"]*"|from \'[^.][^\']*\'',
    join(packed, 'dist'),
    '--include=*.d.ts',
  ]);
  const named = new Set(
    declarations.stdout
      .trim()
      .split('\n')
      .map((line) => line.replace(/^.*['"](.*)['"]$/, '$1')),
  );
  expect([...named].filter((each) => !/^(?:@trpc\/(?:client|server)(?:\/.*)?|react)$/.test(each))).toEqual([]);
  await writeFile(
    join(path, 'app.ts'),
    `import { createLlmClient } from '@llm-service/client';
     import { useAnswer } from '@llm-service/client/react';
     import type { LlmRouter } from '${join(root, 'src/doors/trpc/router.ts')}';
     import type { TypedConfigs } from '${join(root, 'test/support/typed-configs.ts')}';
     const llm = createLlmClient<LlmRouter<TypedConfigs>>({ url: 'http://127.0.0.1:1', transport: 'ws' });
     const messages = [{ role: 'user', content: 'hi' }] as const;
     export async function read(): Promise<string> {
       for await (const event of llm.stream({ config: 'weather', messages, variables: { place: '' } })) {
         if (event.type === 'tool_call' && event.name === 'getWeather') return event.input.city;
       }
       return (await llm.stream({ config: 'extract', messages }).object()).title;
     }
     // @ts-expect-error: there is no such config
     llm.stream({ config: 'wether', messages });
     export const useTitle = () => useAnswer(llm, { config: 'extract', messages }).answer.object?.title satisfies string | undefined;`,
  );
  const options = {
    strict: true,
    module: 'nodenext',
    types: ['node'],
    noEmit: true,
    skipLibCheck: false,
    allowImportingTsExtensions: true,
  };
  await writeFile(join(path, 'tsconfig.json'), JSON.stringify({ files: ['app.ts'], compilerOptions: options }));
  const { stdout } = await exec(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', path]).catch(
    (error: { stdout: string }) => error,
  );
  // Problems of the sources that this names are found by `npm run check`.
  expect(stdout.split('\n').filter((line) => /^(?:app|node_modules\/@llm-service)/.test(line))).toEqual([]);
});

// It is installed with other people's clients, without which their suites are skipped, too.
const hasOldest = existsSync(oldest.client) || process.env['REQUIRE_ALL'] === '1';

describe.each([
  ['our tRPC', ours] as const,
  ...(hasOldest ? [['the oldest tRPC that it takes', oldest] as const] : []),
])('on Node, with %s', (name, trpc) => {
  const test = serviceForEachTest();
  let client: typeof Client;
  beforeAll(async () => {
    const path = await project(name.replaceAll(' ', '-'), trpc);
    const entry = createRequire(join(path, 'app.js')).resolve('@llm-service/client');
    client = (await import(/* @vite-ignore */ pathToFileURL(entry).href)) as typeof Client;
  });

  it.each(['sse', 'ws'] as const)('over %s an answer streams, resumes after a cut, and stops', async (transport) => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    await using llm = client.createLlmClient<AnyConfigRouter>({ url: proxy.url, transport, reconnect: { delayMs: 1 } });
    upstream.enqueue({ kind: 'manual' });
    const run = llm.stream(ask('hi'));
    const seen: string[] = [];
    const reading = (async () => {
      for await (const event of run) seen.push(event.type === 'text' ? event.text : event.type);
    })();
    const model = await upstream.nextRequest();
    await model.text('one ');
    await eventually(() => expect(seen.join('')).toBe('startone '));
    proxy.cut();
    await model.text('two');
    await eventually(() => expect(seen.join('')).toBe('startone two'));
    expect(await run.cancel()).toBe('cancelled');
    await reading;
    expect(seen.at(-1)).toBe('cancelled');
    expect(await model.outcome).toBe('client_closed');
    expect(
      await llm
        .follow({ generationId: run.generationId })
        .text()
        .catch((error: unknown) => error),
    ).toMatchObject({
      code: 'cancelled',
    });
    expect(upstream.requestCount).toBe(1);
  });

  it('a refusal has its code, over a subscription and over a call', async () => {
    await using llm = client.createLlmClient<AnyConfigRouter>({ url: test.current.url, transport: 'ws' });
    await expect(llm.stream(ask('hi', { config: 'none' })).text()).rejects.toMatchObject({ code: 'config_not_found' });
    const unknown = { generationId: crypto.randomUUID(), results: [{ id: 'a', approved: true }] };
    await expect(llm.resolve(unknown)).rejects.toMatchObject({ code: 'generation_not_found' });
    expect((await llm.trpc.llm.configs.query()).map(({ name: config }) => config)).toContain('default');
  });
});
