import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startSimulator, type FaultName, type Simulator } from '../src/simulator.ts';
import type { LlmEvent } from '../src/protocol.ts';
import { commandLine, type Running } from './support/command-line.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { plainConfig } from './support/service.ts';

finishesCleanly();
const cli = commandLine();

const withoutRetries = { ...plainConfig, retries: { max: 0 } };
const configs = {
  default: { ...withoutRetries, description: 'Answers' },
  tutor: { ...withoutRetries, system_prompt: 'You teach {{subject}}.' },
};

let upstream: Simulator;
let env: Record<string, string>;
beforeEach(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'sk-test', LLM_CONFIG: 'configs.json' };
  await writeFile(join(cli.cwd, 'configs.json'), JSON.stringify(configs));
});
afterEach(() => upstream[Symbol.asyncDispose]());

const run = (args: string[], options: { stdin?: string; env?: Record<string, string> } = {}) =>
  cli.run(args, { ...options, env: { ...env, ...options.env } });
const start = (args: string[]) => cli.start(args, { env });

function says(text: string) {
  upstream.respondWith({ kind: 'text', text });
}

describe('chat', () => {
  it('writes only the answer to stdout', async () => {
    says('Hello there');
    expect(await run(['chat', 'default', 'say', 'hello'])).toEqual({ code: 0, stdout: 'Hello there\n', stderr: '' });
    expect(upstream.requests[0]!.body.messages).toEqual([{ role: 'user', content: 'say hello' }]);
  });

  it('says so if the simulator answers', async () => {
    const { code, stderr } = await run(['chat', 'default', 'hi'], {
      env: { ANTHROPIC_BASE_URL: '', ANTHROPIC_API_KEY: '' },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '(simulated)\n' });
  });

  it('joins piped input and words, fills variables, and prints the usage on stderr', async () => {
    says('Fine');
    const { code, stdout, stderr } = await run(
      ['chat', 'tutor', '--var', 'subject=a=b', '-u', 'Explain', '--', '-this'],
      { stdin: 'one\ntwo\n' },
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Fine\n' });
    expect(stderr).toMatch(
      /^done: claude-sonnet-5-5, \d+ tokens in, \d+ out, \$[\d.e-]+, first token [\d.]+ s, [\d.]+ s\n$/,
    );
    const { body } = upstream.requests[0]!;
    expect(body.messages).toEqual([{ role: 'user', content: 'one\ntwo\n\nExplain -this' }]);
    expect(JSON.stringify(body.system)).toContain('You teach a=b.');
  });

  it('prints each event as a line of JSON with --json', async () => {
    // Python's `splitlines` also ends a line at the last three of these.
    const text = 'Hello\nthere\u2028a\u2029b\u0085';
    says(text);
    const { code, stdout, stderr } = await run(['chat', 'default', '--json', 'hi']);
    const events = stdout
      .trimEnd()
      .split(/[\n\u0085\u2028\u2029]/)
      .map((line) => JSON.parse(line) as LlmEvent);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(events.at(0)).toMatchObject({ type: 'start', config: 'default', simulated: false });
    expect(events.at(-1)).toMatchObject({ type: 'done', stopReason: 'end_turn' });
    expect(events.map((event) => (event.type === 'text' ? event.text : '')).join('')).toBe(text);
  });

  it('-c goes on with the last conversation, which nobody else can read', async () => {
    const state = { XDG_STATE_HOME: join(cli.cwd, 'state') };
    expect(await run(['chat', 'tutor', '-c', 'and?'], { env: state })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no conversation to continue'),
    });
    says('First');
    await run(['chat', 'tutor', '--var', 'subject=algebra', 'one'], { env: state });
    await run(['chat', 'tutor', '-c', '--no-keep', 'aside'], { env: state });
    await run(['chat', 'default', '-c', 'two'], { env: state });
    const first = [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'First' },
    ];
    const [, aside, second] = upstream.requests.map(({ body }) => body);
    expect(aside!.messages).toEqual([...first, { role: 'user', content: 'aside' }]);
    expect(JSON.stringify(aside!.system)).toContain('You teach algebra.');
    expect(second!.messages).toEqual([...first, { role: 'user', content: 'two' }]);
    expect((await stat(join(state.XDG_STATE_HOME, 'llm-service', 'conversation.json'))).mode & 0o777).toBe(0o600);
  });

  it('cancels at Ctrl-C, and prints what it has cost', async () => {
    upstream.enqueue({ kind: 'manual' });
    const chat = start(['chat', 'default', 'hi']);
    const request = await upstream.nextRequest();
    await request.text('half an answer');
    await chat.until('stdout', /half an answer/);
    chat.child.kill('SIGINT');
    expect(await request.outcome).toBe('client_closed');
    const { code, stdout, stderr } = await chat.ended;
    expect({ code, stdout }).toEqual({ code: 130, stdout: 'half an answer\n' });
    expect(stderr).toMatch(/^cancelled: claude-sonnet-5-5, \d+ tokens in, \d+ out \(estimated\), .*\n$/);
  });

  it('cancels quietly when its reader has left', async () => {
    upstream.enqueue({ kind: 'manual' });
    const chat = start(['chat', 'default', '-u', 'hi']);
    const request = await upstream.nextRequest();
    await request.text('first line\n');
    await chat.until('stdout', /first line/);
    chat.child.stdout.destroy();
    await once(chat.child.stdout, 'close');
    await request.text('second line\n');
    expect(await request.outcome).toBe('client_closed');
    expect(await chat.ended).toMatchObject({ code: 0, stderr: '' });
  });

  it('fails with an exit code that says how', async () => {
    const faults: FaultName[] = ['unauthorized', 'overloaded', 'clean_end'];
    // One after the other, because each takes the next answer.
    const codes: unknown[] = [];
    for (const fault of faults) {
      upstream.enqueue({ kind: 'fault', fault, text: 'half' });
      const { code, stderr } = await run(['chat', 'default', 'hi']);
      codes.push([code, /^error: (\w+): /m.exec(stderr)?.[1]]);
    }
    expect(codes).toEqual([
      [3, 'upstream_auth'],
      [4, 'upstream_overloaded'],
      [1, 'upstream_truncated'],
    ]);
  });
});

describe('a wrong command line', () => {
  it('gets one message with what was probably meant, and exit code 2', async () => {
    const calls: [string[], RegExp][] = [
      [['chta', 'default', 'hi'], /unknown command 'chta'\n\(Did you mean chat\?\)/],
      [['chat', 'default', '--usgae', 'hi'], /unknown option '--usgae'\n\(Did you mean --usage\?\)/],
      [
        ['chat', 'defualt', 'hi'],
        /Configuration not found: "defualt"; did you mean "default"\? Known are: default, tutor/,
      ],
      [['chat', 'tutor', 'hi'], /variables\.subject: missing/],
      [['chat', 'tutor', '--var', 'subject', 'hi'], /Expected name=value/],
      [['chat', 'default'], /expected a prompt, as words or on stdin/],
      [['follow', 'x', '--url', 'ftp://a'], /Expected an http or https URL/],
      [['simulate', '--fault', 'overlaoded'], /did you mean "overloaded"\?/],
      [[], /Usage: llm-service/],
    ];
    const ended = await Promise.all(calls.map(([args]) => run(args)));
    for (const [index, [, message]] of calls.entries()) {
      expect(ended[index]).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(message) });
    }
    expect(upstream.requestCount).toBe(0);
  });

  it('is not a request for help or the version', async () => {
    const [help, version] = await Promise.all([run(['chat', '--help']), run(['--version'])]);
    expect(help).toMatchObject({ code: 0, stdout: expect.stringContaining('Examples:'), stderr: '' });
    expect(version).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), stderr: '' });
  });
});

describe('configs', () => {
  it('are listed, checked and described', async () => {
    const [table, json, check, schema] = await Promise.all(
      [['configs'], ['configs', '--json'], ['config', 'check'], ['config', 'schema']].map((args) => run(args)),
    );
    expect(table).toEqual({
      code: 0,
      stdout: 'default  claude-sonnet-5-5               Answers\ntutor    claude-sonnet-5-5  {{subject}}\n',
      stderr: '',
    });
    expect(JSON.parse(json!.stdout)).toMatchObject([{ name: 'default' }, { name: 'tutor', variables: ['subject'] }]);
    expect(check).toEqual({ code: 0, stdout: 'configs.json is valid: default, tutor\n', stderr: '' });
    expect(JSON.parse(schema!.stdout)).toMatchObject({ type: 'object' });
  });

  it('that are not valid are refused with every problem', async () => {
    await writeFile(
      join(cli.cwd, 'bad.json'),
      JSON.stringify({ one: { ...withoutRetries, maxTokens: 1, temperature: 2 } }),
    );
    const [check, chat] = await Promise.all([
      run(['config', 'check', 'bad.json']),
      run(['chat', 'one', 'hi'], { env: { LLM_CONFIG: 'bad.json' } }),
    ]);
    expect(chat).toEqual(check);
    expect(check).toMatchObject({ code: 2, stdout: '' });
    expect(check.stderr).toContain('bad.json is not a valid config file:');
    expect(check.stderr).toContain('one.maxTokens: unknown key; did you mean "max_tokens"?');
    expect(check.stderr).toContain('one.temperature: expected a number from 0 to 1, found 2');
  });

  it('that were fixed are served without a restart', async () => {
    const service = await serve();
    await writeFile(join(cli.cwd, 'configs.json'), JSON.stringify({ ...configs, added: withoutRetries }));
    await service.until('stdout', /"added":\["added"\].*"msg":"configs reloaded"/);
    const { stdout } = await run(['configs', '--url', service.url]);
    expect(stdout).toMatch(/^added /m);
    await stop(service);
  });
});

describe('a service', () => {
  it('is asked by chat, configs, follow and cancel through --url, with a token', async () => {
    const key = 'a-key';
    await writeFile(join(cli.cwd, 'key'), `${key}\n`);
    const service = await serve({ LLM_API_KEYS: `me:${createHash('sha256').update(key).digest('hex')}` });
    const there = ['--url', service.url, '--token', '@key'];

    upstream.enqueue({ kind: 'manual' });
    const chat = start(['chat', 'default', '--json', 'hi', ...there]);
    const request = await upstream.nextRequest();
    await request.text('half an answer');
    const [, id = ''] = await chat.until('stdout', /"generationId":"([^"]+)"/);
    const follow = start(['follow', id, '-u', ...there]);
    await follow.until('stdout', /half an answer/);
    const left = start(['follow', id, ...there]);
    await left.until('stdout', /half an answer/);
    left.child.kill('SIGINT');
    expect(await left.ended).toMatchObject({ code: 130 });

    expect(await run(['cancel', id, ...there])).toEqual({ code: 0, stdout: 'cancelled\n', stderr: '' });
    expect(await request.outcome).toBe('client_closed');
    expect(await chat.ended).toMatchObject({ code: 1, stdout: expect.stringContaining('"type":"cancelled"') });
    expect(await follow.ended).toMatchObject({
      code: 1,
      stdout: 'half an answer\n',
      stderr: expect.stringMatching(/^cancelled: requested\ncancelled: claude-sonnet-5-5, /),
    });

    const [again, stranger, wrong, none, listed, typo] = await Promise.all([
      run(['cancel', id, ...there]),
      run(['follow', crypto.randomUUID(), ...there]),
      run(['chat', 'default', 'hi', '--url', service.url, '--token', 'wrong']),
      run(['configs', '--url', service.url]),
      run(['configs', ...there]),
      run(['chat', 'defualt', 'hi', ...there]),
    ]);
    expect(again).toEqual({ code: 0, stdout: 'already_ended\n', stderr: '' });
    expect(stranger).toMatchObject({ code: 1, stdout: '' });
    expect(wrong).toMatchObject({ code: 3, stdout: '' });
    expect(none).toMatchObject({ code: 3, stdout: '' });
    expect(listed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^default .*\ntutor /) });
    expect(typo).toMatchObject({ code: 2, stderr: expect.stringContaining('did you mean "default"?') });
    await stop(service);
  });

  it('cancels its answer when chat is interrupted by Ctrl-C', async () => {
    const service = await serve();
    upstream.enqueue({ kind: 'manual' });
    const chat = start(['chat', 'default', 'hi', '--url', service.url]);
    const request = await upstream.nextRequest();
    await request.text('half');
    await chat.until('stdout', /half/);
    chat.child.kill('SIGINT');
    expect(await request.outcome).toBe('client_closed');
    expect(await chat.ended).toMatchObject({
      code: 130,
      stdout: 'half\n',
      stderr: expect.stringMatching(/^cancelled: /),
    });
    await stop(service);
  });

  it('that can’t be reached is a failure, reported after a few attempts', async () => {
    const { code, stderr } = await run(['configs', '--url', 'http://127.0.0.1:1']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/trying again\n[^]*error: No connection to [^]* attempts\)\n$/);
  });

  it('finishes running answers at SIGTERM, and ends at once at a second Ctrl-C', async () => {
    const finishes = await serve();
    upstream.enqueue({ kind: 'manual' });
    const chat = start(['chat', 'default', 'hi', '--url', finishes.url]);
    const request = await upstream.nextRequest();
    finishes.child.kill('SIGTERM');
    await finishes.until('stderr', /Finishing running answers/);
    await request.text('whole');
    request.finish();
    expect(await chat.ended).toMatchObject({ code: 0, stdout: 'whole\n' });
    expect(await finishes.ended).toMatchObject({ code: 0 });

    const leaves = await serve();
    upstream.enqueue({ kind: 'manual' });
    const cut = start(['chat', 'default', 'hi', '--url', leaves.url]);
    await (await upstream.nextRequest()).text('half');
    await cut.until('stdout', /half/);
    leaves.child.kill('SIGINT');
    await leaves.until('stderr', /a second signal ends the process at once/);
    // Signals that arrive right after the first count as the same signal.
    const again = setInterval(() => leaves.child.kill('SIGINT'), 50);
    expect(await leaves.ended).toMatchObject({ code: 130 });
    clearInterval(again);
    cut.child.kill('SIGINT');
    expect(await cut.ended).toMatchObject({ code: 130 });
  });
});

it('simulate prints its base URL, plays its fault, and ends at Ctrl-C', async () => {
  const simulate = start([
    'simulate',
    '--port',
    '0',
    '--fault',
    'overloaded',
    '--seed',
    '7',
    '--tokens-per-second',
    'unpaced',
  ]);
  const [, url = ''] = await simulate.until('stdout', /^(http:\S+)\n/);
  const chat = await run(['chat', 'default', 'hi'], { env: { ANTHROPIC_BASE_URL: url } });
  expect(chat).toMatchObject({ code: 4, stderr: expect.stringContaining('error: upstream_overloaded: ') });
  simulate.child.kill('SIGINT');
  expect(await simulate.ended).toEqual({ code: 0, stdout: `${url}\n`, stderr: '' });
});

async function serve(more: Record<string, string> = {}): Promise<Running & { readonly url: string }> {
  const service = cli.start(['serve'], { env: { ...env, PORT: '0', ...more } });
  const [, url = ''] = await service.until('stderr', /listens on (\S+)/);
  return { ...service, url };
}

async function stop(service: Running): Promise<void> {
  service.child.kill('SIGTERM');
  expect(await service.ended).toMatchObject({ code: 0 });
}
