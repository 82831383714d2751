/** What may end the process of `serve` without being asked to, and what becomes of its answers then. */
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { commandLine, type Running } from './support/command-line.ts';
import { doors, readAll, terminalOf, type View } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { ask, plainConfig } from './support/service.ts';
import { bySteps, call, message, text } from './support/tool-scripts.ts';

finishesCleanly();
vi.setConfig({ testTimeout: 60_000 });
const cli = commandLine();

// The folder of the command line is no project with installed packages.
const ofThePackage = fileURLToPath(new URL('../src/define-configs.ts', import.meta.url));
/** Configs with tools whose author has forgotten an error in a callback, or a promise. */
const configs = `
import { defineConfigs, tool } from '${ofThePackage}';
import { z } from '${createRequire(import.meta.url).resolve('zod')}';

const plain = ${JSON.stringify(plainConfig)};
const forgets = (forget: () => void) => ({
  forgets: tool({ description: 'Forgets', input: z.object({}), execute: () => { forget(); return 'x'; } }),
});
export default defineConfigs({
  default: plain,
  callback: { ...plain, tools: forgets(() => setTimeout(() => { throw new Error('canary'); })) },
  promise: { ...plain, tools: forgets(() => void Promise.reject(new Error('canary'))) },
});
`;

let upstream: Simulator;
beforeEach(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  await writeFile(join(cli.cwd, 'llm.config.ts'), configs);
});
afterEach(() => upstream[Symbol.asyncDispose]());

async function serve(): Promise<Running & { readonly url: string }> {
  const env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'sk-test', PORT: '0', LLM_DRAIN_MS: '60000' };
  const service = cli.start(['serve'], { env });
  const [, url = ''] = await service.until('stderr', /listens on (http:[^\s]+)/);
  return { ...service, url };
}

async function silentAnswer(view: View): Promise<View> {
  await view.until(({ type }) => type === 'start');
  return view;
}

describe.each(['callback', 'promise'])('an error that nobody catches, from a %s', (config) => {
  it('gives every running answer its terminal event, is logged without its message, and ends the process with 1', async () => {
    const service = await serve();
    upstream.enqueue({ kind: 'manual' }, { kind: 'manual' }, { kind: 'manual' });
    const views: View[] = [];
    for (const door of doors) views.push(await silentAnswer(door.stream(service.url, ask('hi'))));
    for (const _view of views) await upstream.nextRequest();
    upstream.respondWith(
      bySteps(
        () => message(call('toolu_1', 'forgets', {})),
        () => message(text('Well.')),
      ),
    );
    const last = doors[0]!.stream(service.url, ask('hi', { config }));
    for (const view of views) {
      expect(terminalOf(await readAll(view))).toMatchObject({ type: 'cancelled', reason: 'shutdown' });
    }
    await readAll(last);
    const { code, stdout, stderr } = await service.ended;
    expect(code).toBe(1);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { msg: string; where?: string });
    expect(lines.find(({ msg }) => msg === 'internal error')).toMatchObject({ where: 'process' });
    expect(lines.filter(({ msg }) => msg === 'generation ended')).toHaveLength(4);
    expect(lines.at(-1)!.msg).toBe('stopped');
    expect(stderr).toContain('nobody has caught');
    expect(stdout + stderr).not.toContain('canary');
  });
});

it('SIGUSR2, which replaces workers, does not end a service that has none', async () => {
  const service = await serve();
  service.child.kill('SIGUSR2');
  await service.until('stderr', /SIGUSR2 replaces the workers/);
  expect((await send(`${service.url}/readyz`)).status).toBe(200);
  service.child.kill('SIGTERM');
  expect(await service.ended).toMatchObject({ code: 0 });
});
