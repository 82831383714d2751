/** All limits together fit a heap of 2 GB. A service logs a warning at its start if they don't fit its own heap. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { doubtsOf, readSettings } from '../src/settings/settings.ts';
import { heapBytesFor, sharesOf, sizingProblem } from '../src/settings/sizing.ts';
import { commandLine } from './support/command-line.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { defaultLimits } from './support/limits.ts';
import { plainConfig } from './support/service.ts';

finishesCleanly();
const MiB = 2 ** 20;

it('the defaults fit a heap of 2 GB, with a fifth to spare', () => {
  const held = sharesOf(defaultLimits).reduce((sum, { bytes }) => sum + bytes, 0);
  expect(held).toBeLessThan(0.8 * 2_000_000_000);
  expect(sizingProblem(defaultLimits, 2_000_000_000)).toBeUndefined();
});

it('the document names the need of the defaults, and its rows of limits fit their heaps', async () => {
  const text = await readFile(new URL('../docs/sizing.md', import.meta.url), 'utf8');
  const needed = Math.ceil(heapBytesFor(defaultLimits) / MiB);
  expect(text).toContain(`The defaults need ${needed.toLocaleString('en')} MiB`);
  const rows = text.split('\n').filter((line) => /^\| (heap, MiB|\d+) \|/.test(line));
  const [head = [], ...heaps] = rows.map((row) => row.split('|').map((cell) => cell.trim().replaceAll('`', '')));
  expect(heaps).toHaveLength(4);
  for (const [, heap, ...values] of heaps) {
    const env = Object.fromEntries(head.slice(2, -1).map((name, at) => [name, values[at]]));
    expect(sizingProblem(readSettings(env).limits, Number(heap) * MiB), heap).toBeUndefined();
    expect(sizingProblem(readSettings(env).limits, 0.9 * Number(heap) * MiB), heap).toBeDefined();
  }
});

it.each(sharesOf(defaultLimits).flatMap(({ limits }) => limits))('%s counts', (key) => {
  const larger = { ...defaultLimits, [key]: 2 * defaultLimits[key] };
  expect(heapBytesFor(larger)).toBeGreaterThan(heapBytesFor(defaultLimits));
});

it('the warning about a small heap names the need, what takes the most, and what to do', () => {
  const needed = Math.ceil(heapBytesFor(defaultLimits) / MiB);
  const { message } = sizingProblem(defaultLimits, 500 * MiB)!;
  expect(message).toContain(`${needed} MiB, this one is 500`);
  expect(message).toContain(`--max-old-space-size=${needed}`);
  expect(message).toMatch(/LLM_VIEWERS_MAX.*LLM_LOGS_BYTES_MAX/);
  expect(message).not.toContain('\n');
});

describe('doubts', () => {
  it.each([
    [{ HOST: '0.0.0.0', LLM_AUTH: 'none' }, ['LLM_ALLOWED_HOSTS']],
    [{ HOST: '0.0.0.0', LLM_AUTH: 'none', LLM_ALLOWED_HOSTS: 'llm.example' }, []],
    [{ HOST: '0.0.0.0', LLM_API_KEYS: `ada:${'0'.repeat(64)}` }, []],
    [{}, []],
  ])('of %j are about %j', (env, paths) => {
    expect(doubtsOf(readSettings(env), 2_000_000_000).map(({ path }) => path)).toEqual(paths);
  });
});

describe('serve', () => {
  const cli = commandLine();
  beforeAll(() => writeFile(join(cli.cwd, 'configs.json'), JSON.stringify({ default: plainConfig })));

  async function linesOf(env: Readonly<Record<string, string>>): Promise<string[]> {
    const service = cli.start(['serve'], { env: { LLM_CONFIG: 'configs.json', PORT: '0', ...env } });
    await service.until('stderr', /listens on/);
    service.child.kill('SIGTERM');
    const { stdout } = await service.ended;
    return stdout.split('\n').filter((line) => line.includes('"level":40'));
  }

  it('warns in one line if its heap is too small, and serves', async () => {
    const warnings = await linesOf({ NODE_OPTIONS: '--max-old-space-size=300' });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('--max-old-space-size=');
    expect(warnings[0]).toContain('LLM_LOGS_BYTES_MAX');
  });

  it('warns of nothing with a heap of 2 GB and its defaults', async () => {
    expect(await linesOf({ NODE_OPTIONS: '--max-old-space-size=2000' })).toEqual([]);
  });

  it('warns in one line if everyone may ask under any name', async () => {
    const env = { NODE_OPTIONS: '--max-old-space-size=2000', HOST: '0.0.0.0', LLM_AUTH: 'none' };
    const warnings = await linesOf(env);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('LLM_ALLOWED_HOSTS');
    expect(await linesOf({ ...env, LLM_ALLOWED_HOSTS: 'llm.example' })).toEqual([]);
  });
});
