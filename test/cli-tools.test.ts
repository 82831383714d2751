/** At a terminal, calls of tools are shown, and those that wait are answered by whoever sits there, or refused in words. */
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { commandLine, type RunOptions, type Running } from './support/command-line.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { requires } from './support/skip.ts';

finishesCleanly();
vi.setConfig({ testTimeout: 60_000 });
const cli = commandLine();

// The folder of the command line is no project with installed packages.
const ofThePackage = fileURLToPath(new URL('../src/define-configs.ts', import.meta.url));
const configs = `
import { clientTool, defineConfigs, tool } from '${ofThePackage}';
import { z } from '${createRequire(import.meta.url).resolve('zod')}';

const plain = { model: 'claude-sonnet-5-5', max_tokens: 10_000, system_prompt: 'You are a test.' };
const description = 'A tool of a test';
const city = z.object({ city: z.string() });
export default defineConfigs({
  open: {
    ...plain,
    tools: {
      noonIn: tool({
        description,
        input: city,
        output: z.object({ noon: z.string() }),
        execute: ({ city }) => ({ noon: city + '\\u001b[2J' }),
      }),
      broken: tool({ description, input: city, execute: () => { throw new Error('a secret'); } }),
    },
    steps: { max: 3, at_limit: 'answer' },
  },
  careful: {
    ...plain,
    tools: {
      sendMail: tool({
        description,
        input: z.object({ to: z.string() }),
        output: z.object({ sent: z.boolean() }),
        approval: true,
        execute: () => ({ sent: true }),
      }),
    },
  },
  curious: {
    ...plain,
    tools: { pickFile: clientTool({ description, input: city, output: z.object({ name: z.string() }) }) },
  },
});
`;

let upstream: Simulator;
let env: Record<string, string>;
beforeEach(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  env = { ANTHROPIC_BASE_URL: upstream.url, ANTHROPIC_API_KEY: 'sk-test', LLM_CONFIG: 'configs.ts' };
  await writeFile(join(cli.cwd, 'configs.ts'), configs);
});
afterEach(() => upstream[Symbol.asyncDispose]());

const run = (args: string[]) => cli.run(args, { env });
const start = (args: string[], options: RunOptions = {}) => cli.start(args, { ...options, env });
/** What the model has read of its calls in the step number `step`, counted from 2. */
const resultsIn = (step: number) => upstream.requests[step - 1]!.body.messages.at(-1)!.content;

describe('chat', () => {
  it('shows each call and its result on stderr, without control characters, and only the answer on stdout', async () => {
    const { code, stdout, stderr } = await run(['chat', 'open', '/sim tool']);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: '→ noonIn {"city":"example"}\n← noonIn {"noon":"example\\u001b[2J"}\n',
    });
    expect(stdout).toMatch(/^I will look that up\.\n\n\*\*noonIn\*\* /);
  });

  it('shows the failure of a call, and no more of it than the model reads', async () => {
    const { code, stderr } = await run(['chat', 'open', '/sim tool broken']);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^→ broken .*\n← broken failed: .+\n$/);
    expect(stderr).not.toContain('secret');
  });

  it('prints all events with --json', async () => {
    const { stdout } = await run(['chat', 'open', '--json', '/sim tool']);
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as LlmEvent);
    const kinds = events.map(({ type }) => type).filter((type, index, all) => type !== all[index - 1]);
    expect(kinds).toEqual(['start', 'text', 'tool_start', 'tool_call', 'tool_result', 'step', 'text', 'done']);
    expect(events.find(({ type }) => type === 'tool_call')).toMatchObject({
      name: 'noonIn',
      input: { city: 'example' },
      by: 'service',
    });
  });

  it('says which limit kept the model from calling on, and how many steps there were', async () => {
    const { code, stderr } = await run(['chat', 'open', '-u', '/sim tool 9']);
    expect(code).toBe(0);
    expect(stderr).toContain('no more tools were called: the answer reached steps.max of its config\n');
    expect(stderr).toMatch(/^done: claude-sonnet-5-5, 3 steps, /m);
  });

  it('denies a call that needs an approval where there is no terminal, and says so to both sides', async () => {
    const { code, stderr } = await run(['chat', 'careful', '/sim tool']);
    expect(code).toBe(0);
    expect(stderr).toContain('sendMail needs an approval, and there is no terminal to ask at: denied\n');
    expect(stderr).toContain('← sendMail denied: ');
    expect(JSON.stringify(resultsIn(2))).toContain('Nobody is at a terminal');
  });

  it('refuses to answer for a person where there is no terminal', async () => {
    const { code, stderr } = await run(['chat', 'curious', '/sim tool']);
    expect(code).toBe(0);
    expect(stderr).toContain('pickFile needs an answer, and there is no terminal to ask at: refused\n');
    expect(JSON.stringify(resultsIn(2))).toContain('Nobody is at a terminal');
  });
});

requires('script')('at a terminal', () => {
  const inTerminal = (args: string[]) => start(args, { terminal: true, openStdin: true });
  const type = ({ child }: Running, line: string) => child.stdin!.write(`${line}\n`);

  it.each([
    ['y', /← sendMail {"sent":true}/],
    ['', /← sendMail denied: /],
    ['no', /← sendMail denied: /],
  ])('chat asks for an approval, and takes %j as an answer', async (typed, result) => {
    const chat = inTerminal(['chat', 'careful', '/sim tool']);
    await chat.until('stdout', /→ sendMail {"to":"example"}\r?\nAllow it\? \[y\/N\] /);
    type(chat, typed);
    await chat.until('stdout', result);
    expect((await chat.ended).code).toBe(0);
  });

  it('chat asks for the answer of a tool, and once more where it does not fit', async () => {
    const chat = inTerminal(['chat', 'curious', '/sim tool']);
    await chat.until('stdout', /→ pickFile .*\r?\nIts answer, as JSON or text: /);
    type(chat, 'notes.txt');
    await chat.until('stdout', /pickFile: .*\r?\n→ pickFile .*\r?\nIts answer, as JSON or text: /);
    type(chat, '{"name": "notes.txt"}');
    await chat.until('stdout', /← pickFile {"name":"notes.txt"}/);
    expect((await chat.ended).code).toBe(0);
    expect(JSON.stringify(resultsIn(2))).toContain('notes.txt');
  });

  it('Ctrl-C during a question cancels the answer', async () => {
    const chat = inTerminal(['chat', 'careful', '/sim tool']);
    await chat.until('stdout', /Allow it\?/);
    chat.child.stdin!.write('\u0003');
    await chat.until('stdout', /cancelled: claude-sonnet-5-5/);
    expect((await chat.ended).code).toBe(130);
    expect(upstream.requestCount).toBe(1);
  });

  it('a question is withdrawn when another client has answered', async () => {
    const service = start(['serve'], {});
    const [, url = ''] = await service.until('stderr', /listens on (\S+)/);
    const chat = inTerminal(['chat', 'careful', '--url', url, '/sim tool']);
    await chat.until('stdout', /Allow it\?/);
    const [generation] = await (await fetch(`${url}/trpc/llm.generations`)).json().then(listOf);
    const call = /"id":"(toolu_\w+)"/.exec(await followed(url, generation!.generationId))![1];
    await fetch(`${url}/api/llm/generations/${generation!.generationId}/results`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ results: [{ id: call, approved: true }] }),
    });
    await chat.until('stdout', /← sendMail {"sent":true}/);
    expect((await chat.ended).code).toBe(0);
    service.child.kill('SIGTERM');
    await service.ended;
  });
});

function listOf(answer: unknown): readonly { readonly generationId: string }[] {
  return (answer as { result: { data: { json: { generationId: string }[] } } }).result.data.json;
}

/** The beginning of a generation's events, up to its first call. */
async function followed(url: string, generationId: string): Promise<string> {
  const response = await fetch(`${url}/api/llm/generations/${generationId}/events`);
  let text = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.includes('event: tool_call')) break;
  }
  return text;
}
