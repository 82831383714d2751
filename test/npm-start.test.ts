/** The service under npm, which stands between the service and whoever stops it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startSimulator, type Simulator, type SimulatorRequest } from '../src/simulator.ts';
import { commandLine, type Running } from './support/command-line.ts';
import { doors, readAll, terminalOf, textOf, type View } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { ask, plainConfig } from './support/service.ts';

finishesCleanly();
// Each test starts npm, a shell and the service.
vi.setConfig({ testTimeout: 60_000 });
const cli = commandLine();

let upstream: Simulator;
beforeEach(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  await writeFile(join(cli.cwd, 'configs.json'), JSON.stringify({ default: plainConfig }));
});
afterEach(() => upstream[Symbol.asyncDispose]());

// npm would build first; the tests have already done that.
const npmStart = ['start', '--ignore-scripts'];
const npx = ['exec', '--', 'llm-service', 'serve'];

interface MidAnswer {
  readonly npm: Running;
  readonly url: string;
  readonly view: View;
  readonly request: SimulatorRequest;
}

async function inMidAnswer(args: readonly string[]): Promise<MidAnswer> {
  const env = { ANTHROPIC_BASE_URL: upstream.url, LLM_CONFIG: join(cli.cwd, 'configs.json'), PORT: '0' };
  const npm = cli.startNpm(args, { env });
  const [, url = ''] = await npm.until('stderr', /listens on (\S+)/);
  upstream.enqueue({ kind: 'manual' });
  const view = doors[0]!.stream(url, ask('hi'));
  const request = await upstream.nextRequest();
  await request.text('first ');
  await view.until(({ type }) => type === 'text');
  return { npm, url, view, request };
}

/** Lets the answer continue while the service drains, and checks that it ends. */
async function finish({ npm, url, view, request }: MidAnswer) {
  await npm.until('stderr', /Finishing running answers/);
  expect((await send(`${url}/readyz`)).status).toBe(503);
  await request.text('last');
  request.finish();
  const seen = await readAll(view);
  expect(textOf(seen)).toBe('first last');
  expect(terminalOf(seen)).toMatchObject({ type: 'done' });
  // Resolves when no process holds npm's output any more, so the service doesn't either.
  return npm.ended;
}

describe.skipIf(process.platform === 'win32')('npm start', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('at %s lets the answer finish, and ends after the service', async (name) => {
    const running = await inMidAnswer(npmStart);
    running.npm.child.kill(name);
    expect(await finish(running)).toMatchObject({ code: 0 });
  });

  it.each(['SIGHUP', 'SIGQUIT', 'SIGKILL'] as const)('that dies of %s leaves no service behind', async (name) => {
    const running = await inMidAnswer(npmStart);
    running.npm.child.kill(name);
    expect(await finish(running)).toMatchObject({ code: null });
  });

  it('ends at once at a second signal', async () => {
    const { npm, view } = await inMidAnswer(npmStart);
    npm.child.kill('SIGTERM');
    await npm.until('stderr', /a second signal ends the process at once/);
    npm.child.kill('SIGINT');
    expect(await npm.ended).toMatchObject({ code: 130 });
    view.close();
  });
});

it.skipIf(process.platform === 'win32')('npx that is ended leaves no service behind', async () => {
  const running = await inMidAnswer(npx);
  running.npm.child.kill('SIGTERM');
  await finish(running);
});
