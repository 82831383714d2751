/**
 * When `chat` reads stdin: a pipe that delivers is read to its end, and a pipe that only stays open is not waited for.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { commandLine } from './support/command-line.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { plainConfig } from './support/service.ts';

finishesCleanly();
vi.setConfig({ testTimeout: 60_000 });
const cli = commandLine();

let upstream: Simulator;
let env: Record<string, string>;
beforeEach(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  upstream.respondWith({ kind: 'text', text: 'Fine' });
  env = { ANTHROPIC_BASE_URL: upstream.url, LLM_CONFIG: 'configs.json' };
  await writeFile(join(cli.cwd, 'configs.json'), JSON.stringify({ default: plainConfig }));
});
afterEach(() => upstream[Symbol.asyncDispose]());

/** `chat` beside a pipe that is open and silent. */
const chat = (...words: string[]) => cli.start(['chat', 'default', ...words], { env, openStdin: true });
const asked = () => upstream.requests.map(({ body }) => body.messages[0]!.content);

describe('beside words', () => {
  it('a pipe that stays open and silent is given up after a moment, with a note on stderr', async () => {
    const running = chat('hello');
    expect(await running.ended).toEqual({
      code: 0,
      stdout: 'Fine\n',
      stderr: expect.stringMatching(
        /^Waiting 5 s for stdin; .*--no-stdin.*\nstdin has delivered nothing: asking without it\n$/,
      ),
    });
    expect(asked()).toEqual(['hello']);
  });

  it('a pipe that delivers late, and in pieces, is read to its end', async () => {
    const running = chat('Write a commit message');
    await running.until('stderr', /Waiting 5 s for stdin/);
    running.child.stdin!.write('one\n');
    running.child.stdin!.end('two\n');
    expect(await running.ended).toMatchObject({ code: 0 });
    expect(asked()).toEqual(['one\ntwo\n\nWrite a commit message']);
  });

  it('--no-stdin reads nothing, and waits for nothing', async () => {
    const running = chat('--no-stdin', 'hello');
    running.child.stdin!.write('not this');
    expect(await running.ended).toEqual({ code: 0, stdout: 'Fine\n', stderr: '' });
    expect(asked()).toEqual(['hello']);
  });

  it('--stdin waits as long as it takes', async () => {
    const running = chat('--stdin', 'hello');
    await running.until('stderr', /^Waiting for stdin; Ctrl-D ends it\n/);
    running.child.stdin!.end('late');
    expect(await running.ended).toMatchObject({ code: 0 });
    expect(asked()).toEqual(['late\n\nhello']);
  });
});

describe('in place of words', () => {
  it.each([[[]], [['-']]])('stdin is waited for: chat default %j', async (words) => {
    const running = chat(...words);
    await running.until('stderr', /^Waiting for stdin; Ctrl-D ends it\n/);
    running.child.stdin!.end('the prompt');
    expect(await running.ended).toMatchObject({ code: 0 });
    expect(asked()).toEqual(['the prompt']);
  });

  it('nothing at all is refused with exit code 2', async () => {
    expect(await cli.run(['chat', 'default'], { env, stdin: ' \n' })).toEqual({
      code: 2,
      stdout: '',
      stderr: 'error: expected a prompt, as words or on stdin\n',
    });
  });
});

it('Ctrl-C ends the wait', async () => {
  const running = chat('hello');
  await running.until('stderr', /Waiting/);
  running.child.kill('SIGINT');
  expect(await running.ended).toMatchObject({ code: 130, stdout: '' });
  expect(asked()).toEqual([]);
});
