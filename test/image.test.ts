/** The image of deploy/Dockerfile, made step by step, and run as another user who may write nowhere. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { createKey, entryOf } from '../src/access/api-keys.ts';
import { startSimulator } from '../src/simulator.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { buildImage, type Image } from './support/image.ts';
import { postJson, send } from './support/raw-http.ts';
import { ask, plainConfig } from './support/service.ts';

finishesCleanly();
vi.setConfig({ hookTimeout: 300_000 });
const exec = promisify(execFile);
const isRoot = process.getuid?.() === 0;

let scratch: string;
let image: Image;
let configs: string;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'image-'));
  image = await buildImage(scratch);
  // What a deployment mounts.
  configs = join(scratch, 'etc');
  await mkdir(configs);
  await writeFile(join(configs, 'llm.config.yaml'), JSON.stringify({ default: plainConfig }));
  await exec('chmod', ['-R', 'a-w,a+rX', scratch]);
});
afterAll(async () => {
  await exec('chmod', ['-R', 'u+w', scratch]);
  await rm(scratch, { recursive: true });
});

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly said: string }>;
  /** The first group of the pattern in what it has said, or will say. Rejects where it ends before. */
  until(pattern: RegExp): Promise<string>;
}

/** Runs a command of the image with the image's variables, as a user who owns nothing; if this process may not change users, as its own. */
function inImage(words: readonly string[], env: Readonly<Record<string, string>>): Running {
  const [program, ...args] = words;
  expect(program).toBe('node');
  const asNobody = isRoot ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs'] : [];
  const [file = '', ...rest] = [...asNobody, process.execPath, ...args];
  const child = spawn(file, rest, {
    cwd: join(image.folder, image.workdir),
    env: {
      PATH: '/usr/bin:/bin',
      HOME: '/nonexistent',
      TMPDIR: '/nonexistent',
      ...image.env,
      LLM_CONFIG: join(configs, basename(image.env['LLM_CONFIG']!)),
      ...env,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, said }));
  const failed = ended.then(() => {
    throw new Error(`ended before: ${said}`);
  });
  failed.catch(() => {});
  return {
    child,
    ended,
    async until(pattern) {
      for (;;) {
        const match = pattern.exec(said);
        if (match) return match[1]!;
        await Promise.race([once(child.stderr, 'data'), failed]);
      }
    },
  };
}

it('serves with a key, the page included, is healthy, and drains at the signal that stops a container', async () => {
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  const key = createKey();
  const service = inImage(image.command, {
    PORT: '0',
    LLM_API_KEYS: entryOf('ada', key),
    ANTHROPIC_BASE_URL: upstream.url,
    ANTHROPIC_API_KEY: 'sk-test',
  });
  const port = await service.until(/listens on http:\/\/\S+:(\d+)/);
  const url = `http://127.0.0.1:${port}`;

  expect(await send(`${url}/healthz`)).toMatchObject({ status: 200 });
  expect(await send(`${url}/readyz`)).toMatchObject({ status: 200 });
  expect((await send(url)).text).toContain('<!doctype html>');
  expect(await postJson(`${url}/api/llm/process_stream/default`, ask('hi'))).toMatchObject({ status: 401 });
  upstream.respondWith({ kind: 'text', text: 'from the image' });
  for (const door of doors) {
    const seen = await readAll(door.stream(url, ask('hi'), key));
    expect([door.name, textOf(seen)]).toEqual([door.name, 'from the image']);
    expect(terminalOf(seen)).toMatchObject({ type: 'done' });
  }
  expect(await inImage(image.healthcheck, { PORT: port }).ended).toMatchObject({ code: 0 });

  service.child.kill('SIGTERM');
  expect(await service.ended).toMatchObject({ code: 0 });
  expect(await inImage(image.healthcheck, { PORT: port }).ended).toMatchObject({ code: 1 });
});

it('without keys it does not start, because others reach it', async () => {
  const { code, said } = await inImage(image.command, { PORT: '0' }).ended;
  expect(code).toBe(2);
  expect(said).toContain('LLM_API_KEYS');
});

it('belongs to another user than the one that runs it', () => {
  expect(image.user).toBe('node');
  expect(image.ports).toContain(Number(image.env['PORT']));
});

it('holds packages that the service needs, and no tools, in the size that docs/operations.md states', async () => {
  const modules = join(image.folder, image.workdir, 'node_modules');
  const installed = new Set(await readdir(modules));
  for (const tool of ['typescript', 'vite', 'vitest', 'react', 'tsx', 'esbuild', '.bin']) {
    expect([tool, installed.has(tool)]).toEqual([tool, false]);
  }
  const { dependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(
    await readFile('package.json', 'utf8'),
  ) as Record<'dependencies' | 'peerDependencies' | 'peerDependenciesMeta', Readonly<Record<string, unknown>>>;
  // Apps bring the optional ones.
  const wanted = Object.keys({ ...dependencies, ...peerDependencies }).filter(
    (name) => !(name in peerDependenciesMeta),
  );
  for (const name of wanted) {
    expect(await readdir(join(modules, name)), name).toContain('package.json');
  }
  const { stdout } = await exec('du', ['-sk', '--apparent-size', join(image.folder, image.workdir)]);
  const megabytes = (Number.parseInt(stdout, 10) * 1_024) / 1e6;
  const [, stated] = /takes (\d+) MB without Node/.exec(await readFile('docs/operations.md', 'utf8'))!;
  expect(megabytes).toBeGreaterThan(0.85 * Number(stated));
  expect(megabytes).toBeLessThan(1.1 * Number(stated));
});
