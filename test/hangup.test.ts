/** SIGHUP is a request to read the configs again, unless it means that the terminal was closed. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { commandLine, type Running } from './support/command-line.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { ask, plainConfig } from './support/service.ts';
import { requires } from './support/skip.ts';

finishesCleanly();
vi.setConfig({ testTimeout: 60_000 });
const cli = commandLine();

let upstream: Simulator;
beforeEach(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  await write({ default: plainConfig });
});
afterEach(() => upstream[Symbol.asyncDispose]());

const write = (configs: object) => writeFile(join(cli.cwd, 'configs.json'), JSON.stringify(configs));
const env = () => ({ ANTHROPIC_BASE_URL: upstream.url, LLM_CONFIG: 'configs.json', PORT: '0', LLM_DRAIN_MS: '60000' });

async function serve(options: { terminal?: boolean; env?: Record<string, string> } = {}) {
  const service = cli.start(['serve'], { ...options, env: { ...env(), ...options.env } });
  const [, url = ''] = await service.until(options.terminal ? 'stdout' : 'stderr', /listens on (http:[^\s]+)/);
  return { ...service, url };
}

async function stop({ child, ended }: Running) {
  child.kill('SIGTERM');
  expect(await ended).toMatchObject({ code: 0 });
}

/** An answer that has begun, and continues when the test tells it to. */
async function answerOf(url: string) {
  upstream.enqueue({ kind: 'manual' });
  const view = doors[0]!.stream(url, ask('hi'));
  const request = await upstream.nextRequest();
  await request.text('first ');
  await view.until(({ type }) => type === 'text');
  return async () => {
    await request.text('last');
    request.finish();
    const seen = await readAll(view);
    expect(textOf(seen)).toBe('first last');
    return terminalOf(seen);
  };
}

describe.skipIf(process.platform === 'win32')('at SIGHUP', () => {
  it('serve reads the configs again, logs the outcome, and lets running answers go on', async () => {
    const service = await serve();
    const finish = await answerOf(service.url);
    service.child.kill('SIGHUP');
    await service.until('stdout', /"msg":"configs read again, nothing has changed"/);
    await write({ default: plainConfig, added: plainConfig });
    service.child.kill('SIGHUP');
    await service.until('stdout', /"added":\["added"\].*"msg":"configs reloaded"/);
    await write({ default: { ...plainConfig, max_tokens: 'many' } });
    service.child.kill('SIGHUP');
    await service.until('stdout', /default\.max_tokens.*"msg":"configs refused, the old ones stay"/);
    expect((await send(`${service.url}/api/llm/configs`)).text).toContain('added');
    expect(await finish()).toMatchObject({ type: 'done' });
    await stop(service);
  });

  it('serve says that LLM_CONFIGS can only be read by a new process', async () => {
    const service = await serve({ env: { LLM_CONFIGS: JSON.stringify({ other: plainConfig }) } });
    service.child.kill('SIGHUP');
    await service.until('stdout', /nothing has changed; LLM_CONFIGS is read at the start only/);
    await stop(service);
  });

  it('chat cancels its answer as it does at Ctrl-C', async () => {
    upstream.enqueue({ kind: 'manual' });
    const chat = cli.start(['chat', 'default', 'hi'], { env: env() });
    const request = await upstream.nextRequest();
    await request.text('half');
    await chat.until('stdout', /half/);
    chat.child.kill('SIGHUP');
    expect(await request.outcome).toBe('client_closed');
    expect(await chat.ended).toMatchObject({ code: 130, stderr: expect.stringMatching(/^cancelled: /) });
  });
});

requires('script', 'pgrep')('on a terminal', () => {
  it('after a SIGHUP from another process serve reads the configs again', async () => {
    const service = await serve({ terminal: true });
    // The child is `script`, which made the terminal.
    const { stdout } = await promisify(execFile)('pgrep', ['-P', String(service.child.pid)]);
    process.kill(Number(stdout), 'SIGHUP');
    await service.until('stdout', /configs read again, nothing has changed/);
    process.kill(Number(stdout), 'SIGTERM');
    await service.ended;
  });

  it('after a SIGHUP because the terminal was closed serve finishes running answers and ends', async () => {
    const service = await serve({ terminal: true });
    const finish = await answerOf(service.url);
    service.child.kill('SIGKILL');
    await eventually(async () => expect((await send(`${service.url}/readyz`)).status).toBe(503));
    expect(await finish()).toMatchObject({ type: 'done' });
    await service.ended;
    await eventually(() => expect(send(`${service.url}/healthz`)).rejects.toThrow('ECONNREFUSED'));
  });
});
