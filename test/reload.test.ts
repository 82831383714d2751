import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openConfigs, type LiveConfigs } from '../src/configs/config-watch.ts';
import type { Problem } from '../src/settings/problems.ts';
import type { LlmEvent } from '../src/protocol.ts';
import { readSettings } from '../src/settings/settings.ts';
import { createCore, type ServiceCore } from '../src/service.ts';
import { startSimulator, type Simulator, type SimulatorRequest } from '../src/simulator.ts';
import { Telemetry, type ConfigChanges } from '../src/telemetry/telemetry.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';

finishesCleanly();

const plain = { model: 'claude-sonnet-5-5', max_tokens: 100, system_prompt: 'Be brief.' };

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'reload-'));
});
afterEach(() => rm(cwd, { recursive: true }));

/** By rename, so that no look finds half a file. */
async function write(file: string, content: unknown) {
  const path = join(cwd, file);
  await writeFile(`${path}.new`, typeof content === 'string' ? content : JSON.stringify(content));
  await rename(`${path}.new`, path);
}

describe('a reload', () => {
  it('swaps the snapshot, logs the changes, and doesn’t touch configs that are in use', async () => {
    await write('a.json', { same: plain, changes: plain, goes: plain });
    const { configs, told } = await open('a.json');
    const held = configs.snapshot().get('changes')!;
    await write('a.json', { same: plain, changes: { ...plain, max_tokens: 200 }, comes: plain });
    expect(await configs.reload()).toBe('reloaded');
    expect(told).toEqual([{ added: ['comes'], changed: ['changes'], removed: ['goes'] }]);
    expect(configs.snapshot().names).toEqual(['same', 'changes', 'comes']);
    expect(configs.snapshot().get('changes')!.maxTokens).toBe(200);
    expect(held.maxTokens).toBe(100);
  });

  it('of files with the same meaning in other words is not logged', async () => {
    await write('a.yaml', JSON.stringify({ one: plain }));
    const { configs, told } = await open('a.yaml');
    await write('a.yaml', `one:\n  max_tokens: 100\n  model: ${plain.model}\n  system_prompt: Be brief.\n`);
    expect(await configs.reload()).toBe('unchanged');
    expect(told).toEqual([]);
  });

  it('that finds no valid configs is refused with every reason, and the old ones stay', async () => {
    await write('a.json', { one: plain });
    const { configs, told } = await open('a.json');
    const before = configs.snapshot();
    await write('a.json', { one: { ...plain, max_tokens: 0, temprature: 1 } });
    expect(await configs.reload()).toBe('refused');
    await unlink(join(cwd, 'a.json'));
    expect(await configs.reload()).toBe('refused');
    expect(told).toEqual([
      [
        expect.objectContaining({ path: 'one.max_tokens' }),
        { path: 'one.temprature', message: 'unknown key; did you mean "temperature"?' },
      ],
      [{ path: '', message: expect.stringContaining('found no file there') }],
    ]);
    expect(configs.snapshot()).toBe(before);
  });

  it('keeps the configs of LLM_CONFIGS on top', async () => {
    await write('a.json', { one: plain, two: plain });
    const { configs } = await open('a.json', { one: { ...plain, max_tokens: 7 } });
    await write('a.json', { one: { ...plain, max_tokens: 8 }, two: { ...plain, max_tokens: 9 } });
    await configs.reload();
    expect(['one', 'two'].map((name) => configs.snapshot().get(name)!.maxTokens)).toEqual([7, 9]);
  });

  it.each(['mjs', 'js', 'ts'])('reads a module anew: .%s', async (extension) => {
    const file = `a.${extension}`;
    await write('package.json', { type: 'module' });
    await write(file, `export default { one: ${JSON.stringify(plain)} };`);
    const { configs } = await open(file);
    await write(file, `export default { one: ${JSON.stringify({ ...plain, max_tokens: 200 })} };`);
    expect(await configs.reload()).toBe('reloaded');
    expect(configs.snapshot().get('one')!.maxTokens).toBe(200);
  });
});

describe('the watch', () => {
  it('notices files that an editor writes in place, or replaces by rename', async () => {
    await write('a.json', { one: plain });
    const { configs, next } = await open('a.json');
    configs.watch();
    await writeFile(join(cwd, 'a.json'), JSON.stringify({ one: { ...plain, max_tokens: 200 } }));
    let told = await next();
    // A look in the middle of the write finds an empty file, and reports that.
    while (Array.isArray(told)) told = await next();
    expect(told).toMatchObject({ changed: ['one'] });
    await write('a.json', { one: { ...plain, max_tokens: 300 } });
    expect(await next()).toMatchObject({ changed: ['one'] });
    expect(configs.snapshot().get('one')!.maxTokens).toBe(300);
  });

  it('sees a symlink that is swapped above the file, as in a Kubernetes ConfigMap', async () => {
    for (const [folder, max_tokens] of Object.entries({ first: 100, second: 200 })) {
      await mkdir(join(cwd, folder));
      await write(`${folder}/a.json`, { one: { ...plain, max_tokens } });
    }
    await symlink('first', join(cwd, 'data'));
    await symlink('data/a.json', join(cwd, 'a.json'));
    const { configs, next } = await open('a.json');
    configs.watch();
    await symlink('second', join(cwd, 'data.new'));
    await rename(join(cwd, 'data.new'), join(cwd, 'data'));
    expect(await next()).toMatchObject({ changed: ['one'] });
    expect(configs.snapshot().get('one')!.maxTokens).toBe(200);
  });

  it('sees prompt files and the modules that a config file imports, also those that a broken one lacks', async () => {
    await write('model.ts', `export const model = 'm1';`);
    await write('one.md', 'Be brief.');
    await write(
      'a.ts',
      `import { model } from './model.ts';
       export default { one: { model, max_tokens: 10, system_prompt: { file: 'one.md' } } };`,
    );
    const { configs, next } = await open('a.ts');
    configs.watch();
    await write('one.md', 'Be long.');
    expect(await next()).toMatchObject({ changed: ['one'] });
    await write('model.ts', `export const model = 'm2';`);
    expect(await next()).toMatchObject({ changed: ['one'] });
    await unlink(join(cwd, 'model.ts'));
    expect(await next()).toEqual([expect.objectContaining({ message: expect.stringContaining('model.ts') })]);
    await write('model.ts', `export const model = 'm3';`);
    expect(await next()).toMatchObject({ changed: ['one'] });
    await unlink(join(cwd, 'one.md'));
    expect(await next()).toMatchObject([{ path: 'one.system_prompt' }]);
    await write('one.md', 'Be there.');
    expect(await next()).toMatchObject({ changed: ['one'] });
    expect(configs.snapshot().get('one')).toMatchObject({ model: 'm3' });
  });
});

describe('1,000 reloads, a third of them invalid, under 50 generations', () => {
  let upstream: Simulator;
  let core: ServiceCore;
  let logged: string[];
  const limit = (max_tokens: number) => ({ one: { ...plain, max_tokens } });

  beforeEach(async () => {
    upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
    await write('a.json', limit(1));
    const env = { LLM_CONFIG: 'a.json', ANTHROPIC_BASE_URL: upstream.url, LOG_LEVEL: 'info' };
    logged = [];
    core = await createCore({
      settings: readSettings(env),
      env,
      cwd,
      telemetry: new Telemetry({
        logLevel: 'info',
        logContent: false,
        destination: { write: (line) => logged.push(line) },
      }),
    });
  });
  afterEach(async () => {
    await core[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
  });

  it('fail no generation, change the config of none, and cost no memory', async () => {
    const caller = { name: 'anonymous' };
    upstream.respondWith({ kind: 'manual' });
    const request = { config: 'one', messages: [{ role: 'user' as const, content: 'hi' }] };
    const answers = Array.from({ length: 50 }, async () => {
      let last: LlmEvent | undefined;
      for await (const batch of core.generations.stream(caller, request, new AbortController().signal)) {
        last = batch.at(-1)!.event;
      }
      return last;
    });
    const requests: SimulatorRequest[] = [];
    while (requests.length < answers.length) requests.push(await upstream.nextRequest());
    const before = core.configs().get('one')!;

    const outcomes: unknown[] = [];
    const heapBytes: number[] = [];
    for (let n = 0; n < 1_000; n += 1) {
      await write('a.json', n % 3 === 2 ? { one: { ...plain, max_tokens: `not a number, ${n}` } } : limit(n + 2));
      outcomes.push(await core.liveConfigs!.reload());
      // Upstream continues meanwhile.
      await requests[n % requests.length]!.text(`${n} `);
      if (n % 100 === 99) heapBytes.push(heapUsedBytes());
    }
    expect(outcomes.filter((outcome) => outcome === 'refused')).toHaveLength(333);
    expect(outcomes.filter((outcome) => outcome === 'reloaded')).toHaveLength(667);
    expect(core.configs().get('one')!.maxTokens).toBe(1_001);

    for (const each of requests) each.finish();
    for (const last of await Promise.all(answers)) expect(last).toMatchObject({ type: 'done', config: 'one' });
    // A viewer may receive the terminal event before its log line is written.
    await core.generations.drain(0);
    const lines = logged.map((line) => JSON.parse(line) as { msg: string; configHash?: string });
    const hashes = lines.flatMap(({ configHash }) => configHash ?? []);
    expect(hashes).toEqual(Array.from({ length: 50 }, () => before.hash));
    expect(lines.filter(({ msg }) => msg === 'configs reloaded')).toHaveLength(667);
    expect(lines.filter(({ msg }) => msg.startsWith('configs refused'))).toHaveLength(333);
    // Only the answers and the log lines may grow, because this test keeps them.
    expect(heapBytes.at(-1)! - heapBytes[2]!).toBeLessThan(3 * 2 ** 20);
  });
});

/** The memory in use after a garbage collection. */
function heapUsedBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

type Told = ConfigChanges | readonly Problem[];

/** The configs of a file, and the reports about their reloads, in order. */
async function open(file: string, overrides?: object) {
  const told: Told[] = [];
  let wake = () => {};
  let taken = 0;
  const tell = (_file: string, what: Told) => {
    told.push(what);
    wake();
  };
  const configs = await openConfigs({
    file,
    cwd,
    env: {},
    overrides: overrides && JSON.stringify(overrides),
    telemetry: {
      configsReloaded: tell,
      configsRefused: tell,
      reloadFailed: (error) => {
        throw error;
      },
    },
  });
  opened.add(configs);
  /** The next report. */
  async function next(): Promise<Told> {
    while (told.length <= taken) await new Promise<void>((resolve) => (wake = resolve));
    taken += 1;
    return told[taken - 1]!;
  }
  return { configs, told, next };
}

const opened = new Set<LiveConfigs>();
afterEach(async () => {
  for (const each of opened) await each[Symbol.asyncDispose]();
  opened.clear();
});
