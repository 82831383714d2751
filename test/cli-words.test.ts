/** Errors are explained in the words of a terminal: options, variables, and who can fix it. The exit code matches. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { commandLine } from './support/command-line.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { plainConfig, startTestService, type TestService } from './support/service.ts';

finishesCleanly();
vi.setConfig({ testTimeout: 60_000 });
const cli = commandLine();

const sim = (prompt: string) => ['chat', 'default', '-u', `/sim ${prompt}`];

describe('a simulated answer', () => {
  beforeEach(() => writeFile(join(cli.cwd, 'configs.json'), JSON.stringify({ default: plainConfig })));
  const env = { LLM_CONFIG: 'configs.json' };

  it('is reported as free, without dollars', async () => {
    const { code, stderr } = await cli.run(sim('echo hi'), { env });
    expect(code).toBe(0);
    expect(stderr).toMatch(/^done: .*, simulated, so free, /m);
    expect(stderr).not.toContain('$');
  });
});

describe('an answer that is not whole', () => {
  let upstream: Simulator;
  let env: Record<string, string>;
  beforeEach(async () => {
    upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
    env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'sk-test', LLM_CONFIG: 'configs.json' };
    await writeFile(
      join(cli.cwd, 'configs.json'),
      JSON.stringify({ default: { ...plainConfig, retries: { max: 0 } } }),
    );
  });
  afterEach(() => upstream[Symbol.asyncDispose]());

  it.each([
    ['refusal', 'the model refused to answer (refusal)'],
    ['max_tokens', 'the answer is cut off: it reached max_tokens of its config (max_tokens)'],
    ['model_context_window_exceeded', /^the answer is cut off: the conversation fills the context window/],
    ['something_new', 'the answer may not be whole (something_new)'],
  ])('fails with exit code 1 and a sentence: %s', async (stopReason, sentence) => {
    upstream.respondWith({ kind: 'blocks', blocks: [{ type: 'text', text: 'half' }], stopReason });
    const { code, stdout, stderr } = await cli.run(['chat', 'default', 'hi'], { env });
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'half\n' });
    expect(stderr.trim()).toMatch(sentence);
  });

  it('because upstream refuses the key: the variable that holds the key is named', async () => {
    upstream.enqueue({ kind: 'fault', fault: 'unauthorized', text: '' });
    expect(await cli.run(['chat', 'default', 'hi'], { env })).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^error: upstream_auth: .*; its key is in ANTHROPIC_API_KEY, or in /),
    });
  });
});

describe('a service elsewhere', () => {
  let service: TestService;
  beforeEach(async () => {
    service = await startTestService({
      env: { LLM_API_KEYS: `me:${createHash('sha256').update('a-key').digest('hex')}` },
      configs: {
        default: { ...plainConfig, retries: { max: 0 } },
        tutor: { ...plainConfig, system_prompt: '{{subject}}' },
      },
    });
  });
  afterEach(() => service[Symbol.asyncDispose]());

  const id = crypto.randomUUID();
  const commands: [string, string[]][] = [
    ['chat', ['chat', 'default', 'hi']],
    ['follow', ['follow', id]],
    ['cancel', ['cancel', id]],
    ['configs', ['configs']],
  ];

  it.each(commands)('that needs a key, or another key: the option is named: %s', async (_name, args) => {
    const [none, wrong] = await Promise.all([
      cli.run([...args, '--url', service.url]),
      cli.run([...args, '--url', service.url, '--token', 'wrong']),
    ]);
    const there = `error: the service at ${service.url}`;
    expect(none).toEqual({
      code: 3,
      stdout: '',
      stderr: `${there} requires a key: --token @FILE reads it from a file\n`,
    });
    expect(wrong).toEqual({ code: 3, stdout: '', stderr: `${there} doesn't know the key that --token gives\n` });
  });

  it('that has no such generation, variable or route', async () => {
    const there = ['--url', service.url, '--token', 'a-key'];
    const [follow, chat, route] = await Promise.all([
      cli.run(['follow', id, ...there]),
      cli.run(['chat', 'tutor', 'hi', ...there]),
      cli.run(['configs', '--url', `${service.url}/elsewhere`, '--token', 'a-key']),
    ]);
    expect(follow).toMatchObject({ code: 1, stderr: expect.stringMatching(/, at http:\S+ and for this key\n$/) });
    expect(chat).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: variables\.subject: missing; .* \(--var subject=…\)\n$/),
    });
    expect(route).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/has no llm-service; --url takes its address/),
    });
  });

  it('whose own key upstream refuses: the message says whose key it is', async () => {
    service.upstream.enqueue({ kind: 'fault', fault: 'unauthorized', text: '' });
    expect(await cli.run(['chat', 'default', 'hi', '--url', service.url, '--token', 'a-key'])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^error: upstream_auth: .*; that is the key of the service, not yours/),
    });
  });
});

it('an address where nothing listens: the message says how to start a service', async () => {
  const { code, stderr } = await cli.run(['configs', '--url', 'http://127.0.0.1:1']);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /error: No connection to \S+; `llm-service serve` starts a service, --url names another \(\d attempts\)\n$/,
  );
});

it.each(['follow', 'cancel'])('%s says what an id looks like and where it stands, and asks nobody', async (command) => {
  expect(await cli.run([command, 'abc'])).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(/Expected an id such as [0-9a-f-]{36}: the generationId of the start event/),
  });
});
