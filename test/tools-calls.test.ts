/** What becomes of the calls of tools that the service executes. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Reply, SimulatorRequest } from '../src/simulator.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { clientTool, tool, ToolError } from '../src/tools/tool.ts';
import { doors, readAll, terminalOf, textOf, type Seen } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, startTestService, type TestService } from './support/service.ts';
import { bySteps, call, city, message, resultsIn, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();

const [sse] = doors as [(typeof doors)[number]];
const never = new Promise<never>(() => {});
type Replies = readonly ((request: SimulatorRequest) => Reply)[];

/** A service with these tools, asked once. */
async function answerOf(
  tools: Readonly<Record<string, unknown>>,
  steps: Replies,
  keys: object = {},
): Promise<{ seen: readonly Seen[]; upstream: TestService['upstream'] } & AsyncDisposable> {
  const service = await startTestService({ configs: { default: withTools(tools, keys) } });
  service.upstream.respondWith(bySteps(...steps));
  const seen = await readAll(sse.stream(service.url, ask('What is it?')));
  return { seen, upstream: service.upstream, [Symbol.asyncDispose]: async () => service[Symbol.asyncDispose]() };
}

function typesOf(seen: readonly Seen[]): string[] {
  return seen.map(({ event }) => event.type);
}

function resultsOf(seen: readonly Seen[]) {
  return seen.flatMap(({ event }) => (event.type === 'tool_result' ? [event] : []));
}

const weather = tool({
  description: 'The weather',
  input: city,
  output: z.object({ celsius: z.number() }),
  execute: async ({ city: name }) => ({ celsius: name.length, secret: 'x' }) as { celsius: number },
});

describe.each(doors)('over $name', (door) => {
  it('a call, its result and the answer are the events of one generation, whose blocks count on', async () => {
    await using service = await startTestService({ configs: { default: withTools({ weather }) } });
    service.upstream.respondWith(
      bySteps(
        () => message(text('Let me look. '), call('toolu_1', 'weather', { city: 'Oslo' })),
        () => message(text('It is 4.')),
      ),
    );
    const seen = await readAll(door.stream(service.url, ask('How warm is Oslo?')));
    const merged = seen.map(({ event }) => event).filter(({ type }) => type !== 'text' && type !== 'start');
    expect(merged).toEqual([
      { type: 'tool_start', index: 1, id: 'toolu_1', name: 'weather' },
      { type: 'tool_call', index: 1, id: 'toolu_1', name: 'weather', input: { city: 'Oslo' }, by: 'service' },
      { type: 'tool_result', id: 'toolu_1', name: 'weather', ok: true, output: { celsius: 4 } },
      { type: 'step', step: 2, stopReason: 'tool_use' },
      expect.objectContaining({ type: 'done', stopReason: 'end_turn', steps: 2 }),
    ]);
    expect(textOf(seen)).toBe('Let me look. It is 4.');
    expect(
      seen.filter(({ event }) => event.type === 'text').map(({ event }) => 'index' in event && event.index),
    ).toEqual(expect.arrayContaining([0, 2]));
    expect(terminalOf(seen)).not.toHaveProperty('limit');
    expect(resultsIn(service.upstream.requests[1]!)).toEqual({ toolu_1: '{"celsius":4}' });
  });
});

it('all calls of a message run at once, and their results go back in one message, in the order of the calls', async () => {
  let running = 0;
  let release = () => {};
  const both = new Promise<void>((resolve) => (release = resolve));
  const slow = tool({
    description: 'Waits for the other one',
    input: city,
    execute: async ({ city: name }) => {
      running += 1;
      if (running === 2) release();
      await both;
      return name;
    },
  });
  await using answer = await answerOf({ slow }, [
    () => message(call('a', 'slow', { city: 'A' }), call('b', 'slow', { city: 'B' })),
    () => message(text('Both.')),
  ]);
  const [, second] = answer.upstream.requests;
  expect(second!.body.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user']);
  expect(second!.body.messages.at(-1)!.content).toEqual([
    { type: 'tool_result', tool_use_id: 'a', content: 'A' },
    { type: 'tool_result', tool_use_id: 'b', content: 'B' },
  ]);
  expect(terminalOf(answer.seen)).toMatchObject({ type: 'done', steps: 2 });
});

it('each request begins with all of the one before: hidden thinking, signatures and text as they came', async () => {
  const thinking = { type: 'thinking', thinking: 'I must look twice, “really”. ', signature: 'sig-1' };
  await using answer = await answerOf({ weather }, [
    () => message(thinking, text('First ☀ '), call('a', 'weather', { city: 'A' })),
    () => message(call('b', 'weather', { city: 'B' })),
    () => message(text('Done.')),
  ]);
  const bodies = answer.upstream.requests.map(({ body }) => body);
  expect(bodies).toHaveLength(3);
  for (const [at, body] of bodies.entries()) {
    const { messages: before, ...others } = bodies[at - 1] ?? { messages: [] };
    expect(body.messages.slice(0, before.length)).toEqual(before);
    if (at > 0) expect({ ...body, messages: 0 }).toEqual({ ...others, messages: 0 });
  }
  expect(bodies[2]!.messages.slice(1, 3)).toEqual([
    {
      role: 'assistant',
      content: [thinking, { type: 'text', text: 'First ☀ ' }, call('a', 'weather', { city: 'A' })],
    },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a', content: '{"celsius":1}' }] },
  ]);
  expect(typesOf(answer.seen)).not.toContain('thinking');
});

it('the message of a ToolError reaches model and client; of any other error neither reads anything', async () => {
  const secret = 'canary-7f3a';
  const broken = tool({
    description: `says ${secret}`,
    input: city,
    execute: ({ city: name }): string => {
      throw name === 'A' ? new ToolError('No such city') : new Error(secret);
    },
  });
  const lines: string[] = [];
  const destination = { write: (line: string) => lines.push(line) };
  await using service = await startTestService({
    configs: { default: withTools({ broken }) },
    telemetry: new Telemetry({ logLevel: 'info', logContent: false, destination }),
  });
  service.upstream.respondWith(
    bySteps(
      () => message(call('a', 'broken', { city: 'A' }), call('b', 'broken', { city: 'B' })),
      () => message(text('Sorry.')),
    ),
  );
  const seen = await readAll(sse.stream(service.url, ask('hi')));
  expect(resultsOf(seen)).toMatchObject([
    { id: 'a', ok: false, error: { code: 'failed', message: 'No such city' } },
    { id: 'b', ok: false, error: { code: 'failed', message: 'The tool failed' } },
  ]);
  expect(resultsIn(service.upstream.requests[1]!)).toEqual({
    a: { error: 'No such city' },
    b: { error: 'The tool failed' },
  });
  expect(JSON.stringify(seen)).not.toContain(secret);
  // The operator reads which call of which tool has failed, and where it threw, but no message.
  expect(lines.filter((line) => line.includes('tool failed')).map((line) => JSON.parse(line) as unknown)).toMatchObject(
    [{ tool: 'broken', callId: 'b', code: 'failed', config: 'default', cause: [{ name: 'Error' }] }],
  );
  expect(lines.join('')).not.toContain(secret);
});

it('what can’t be executed goes back to the model as an error: input that doesn’t fit, a name that it made up', async () => {
  let executed = 0;
  const counted = tool({ description: 'Counts', input: city, execute: () => void (executed += 1) });
  await using answer = await answerOf({ counted }, [
    () =>
      message(call('a', 'counted', { city: 7 }), call('b', 'invented', {}), {
        type: 'tool_use',
        id: 'c',
        name: 'counted',
        input: {},
        deltas: [{ type: 'input_json_delta', partial_json: '{"ci' }],
      }),
    () => message(text('I see.')),
  ]);
  expect(resultsOf(answer.seen)).toMatchObject([
    { id: 'a', error: { code: 'invalid_input', message: expect.stringContaining('city') as string } },
    { id: 'b', error: { code: 'unknown_tool' } },
    { id: 'c', error: { code: 'invalid_input' } },
  ]);
  const calls = answer.seen.flatMap(({ event }) => (event.type === 'tool_call' ? [event] : []));
  expect(calls.find(({ id }) => id === 'c')?.input).toBe('{"ci');
  const [, repeated] = answer.upstream.requests[1]!.body.messages;
  expect((repeated!.content as unknown as object[])[2]).toMatchObject({ input: { INVALID_JSON: '{"ci' } });
  expect(executed).toBe(0);
});

it('a result is judged: one that doesn’t fit, one that JSON can’t say, one that is too large, one that comes too late', async () => {
  const loop: Record<string, unknown> = {};
  loop['itself'] = loop;
  const results: Record<string, unknown> = { a: { celsius: 'warm' }, b: loop, c: 'x'.repeat(300_000) };
  const odd = tool({
    description: 'Gives odd things',
    input: city,
    output: z.union([z.string(), z.object({ celsius: z.number() }), z.looseObject({ itself: z.unknown() })]),
    execute: ({ city: name }) => results[name] as string,
  });
  const late = tool({ description: 'Is late', input: city, timeout_ms: 1, execute: () => never });
  await using answer = await answerOf({ odd, late }, [
    () =>
      message(...['a', 'b', 'c'].map((name) => call(name, 'odd', { city: name })), call('d', 'late', { city: 'd' })),
    () => message(text('Odd.')),
  ]);
  const codes = Object.fromEntries(resultsOf(answer.seen).map((event) => [event.id, !event.ok && event.error.code]));
  expect(codes).toEqual({ a: 'invalid_output', b: 'invalid_output', c: 'too_large', d: 'timeout' });
});

it('of a hidden tool clients see no event, and the model gets its result', async () => {
  const hidden = tool({
    description: 'In secret',
    input: city,
    hidden: true,
    stream_input: true,
    execute: () => 'canary',
  });
  await using answer = await answerOf({ hidden, weather }, [
    () => message(call('h', 'hidden', { city: 'H' }), call('w', 'weather', { city: 'W' })),
    () => message(text('Done.')),
  ]);
  expect(JSON.stringify(answer.seen)).not.toMatch(/canary|"h"|hidden/);
  expect(resultsIn(answer.upstream.requests[1]!)).toEqual({ h: 'canary', w: '{"celsius":1}' });
});

it('the input of a tool with stream_input comes while the model writes it, and in full with the call', async () => {
  const streamed = tool({ description: 'Streams', input: city, stream_input: true, execute: () => 'ok' });
  const deltas = ['{"city":', '"Os', 'lo ☀"}'].map((json) => ({ type: 'input_json_delta', partial_json: json }));
  await using service = await startTestService({ configs: { default: withTools({ streamed }) } });
  service.upstream.respondWith(
    bySteps(
      () => message({ type: 'tool_use', id: 's', name: 'streamed', input: {}, deltas }),
      () => message(text('Done.')),
    ),
  );
  const generationId = crypto.randomUUID();
  const piecesOf = (seen: readonly Seen[]) => seen.flatMap(({ event }) => (event.type === 'tool_input' ? [event] : []));
  const live = piecesOf(await readAll(sse.stream(service.url, ask('hi', { generationId }))));
  expect(live.map((piece) => piece.text).join('')).toBe('{"city":"Oslo ☀"}');
  expect(live.every(({ index }) => index === 0)).toBe(true);
  // Whoever comes late gets the pieces merged, as those of text.
  const late = piecesOf(await readAll(sse.follow(service.url, { generationId })));
  expect(late).toEqual([{ type: 'tool_input', index: 0, text: '{"city":"Oslo ☀"}' }]);
  expect(service.upstream.requests[0]!.body.tools).toMatchObject([{ eager_input_streaming: true }]);
});

it('what the service gets of the request reaches the tool, and the key of a call is the same when the request is run anew', async () => {
  const contexts: { callId: string; idempotencyKey: string; place: unknown; caller: string }[] = [];
  const curious = tool({
    description: 'Looks at its context',
    input: z.object({ a: z.number(), b: z.number() }),
    execute: (_input, { callId, idempotencyKey, variables, caller }) => {
      contexts.push({ callId, idempotencyKey, place: variables['place'], caller: caller.name });
    },
  });
  const generationId = crypto.randomUUID();
  for (const [run, inputs] of [
    [
      { a: 1, b: 2 },
      { b: 2, a: 1 },
    ],
    [
      { b: 2, a: 1 },
      { a: 1, b: 2 },
    ],
  ].entries()) {
    await using service = await startTestService({
      configs: { default: withTools({ curious }, { system_prompt: 'In {{place}}' }) },
    });
    service.upstream.respondWith(
      bySteps(
        () => message(...inputs.map((input, at) => call(`${run}-${at}`, 'curious', input))),
        () => message(text('Done.')),
      ),
    );
    await readAll(sse.stream(service.url, { ...ask('hi', { generationId }), variables: { place: 'Oslo' } }));
  }
  const keys = contexts.map(({ idempotencyKey }) => idempotencyKey);
  expect(contexts.map(({ callId }) => callId)).toEqual(['0-0', '0-1', '1-0', '1-1']);
  expect(keys.slice(2)).toEqual(keys.slice(0, 2));
  expect(keys[0]).not.toBe(keys[1]);
  expect(contexts[0]).toMatchObject({ place: 'Oslo', caller: 'anonymous' });
});

it('a step is retried before its first block, and the bill is the sum of all attempts', async () => {
  let executed = 0;
  const counted = tool({ description: 'Counts', input: city, execute: () => (executed += 1) });
  await using service = await startTestService({
    configs: { default: withTools({ counted }), other: withTools({ counted }) },
  });
  const usage = { output_tokens: 10 };
  service.upstream.enqueue(
    { kind: 'blocks', blocks: [call('a', 'counted', { city: 'A' })], usage },
    { kind: 'fault', fault: 'overloaded' },
    { kind: 'blocks', blocks: [call('b', 'counted', { city: 'B' })], usage },
    { kind: 'blocks', blocks: [text('Done.')], usage },
  );
  const seen = await readAll(sse.stream(service.url, ask('hi')));
  const done = terminalOf(seen);
  expect(done).toMatchObject({ type: 'done', steps: 3, usage: { outputTokens: 30, estimated: false } });
  expect(done.costUsd).toBeGreaterThan(0);
  const sent = service.upstream.requests.map((request) => request.usage?.['input_tokens'] ?? 0);
  expect(done.usage.inputTokens).toBe(sent.reduce<number>((sum, tokens) => sum + Number(tokens), 0));
  expect(service.upstream.requestCount).toBe(4);
  expect(executed).toBe(2);
});

it('where upstream pauses, the next request repeats what it has said, and adds nothing', async () => {
  await using answer = await answerOf({ search: { type: 'web_search_20260318', max_uses: 3 }, weather }, [
    () => ({ kind: 'blocks', blocks: [text('Searching. ')], stopReason: 'pause_turn' }),
    () => message(text('Found.')),
  ]);
  const [first, second] = answer.upstream.requests;
  expect(first!.body.tools).toMatchObject([{ type: 'web_search_20260318', name: 'web_search', max_uses: 3 }, {}]);
  expect(second!.body.messages.slice(1)).toEqual([
    { role: 'assistant', content: [{ type: 'text', text: 'Searching. ' }] },
  ]);
  expect(textOf(answer.seen)).toBe('Searching. Found.');
  expect(terminalOf(answer.seen)).toMatchObject({ type: 'done', stopReason: 'end_turn', steps: 2 });
});

it('a step that fails after the first output has no fallback, and the error has the whole account', async () => {
  await using service = await startTestService({
    configs: {
      default: withTools({ weather }, { fallback: 'other', retries: { max: 0 } }),
      other: withTools({ weather }),
    },
  });
  service.upstream.enqueue(message(call('a', 'weather', { city: 'A' })), { kind: 'fault', fault: 'overloaded' });
  const end = terminalOf(await readAll(sse.stream(service.url, ask('hi'))));
  expect(end).toMatchObject({ type: 'error', code: 'upstream_overloaded', config: 'default' });
  expect(end.usage.inputTokens).toBeGreaterThan(0);
  expect(service.upstream.requestCount).toBe(2);
});

it('a client tool whose input doesn’t fit is answered by the service, and nobody is asked', async () => {
  const pick = clientTool({ description: 'Picks', input: city, output: z.string() });
  await using answer = await answerOf({ pick }, [
    () => message(call('p', 'pick', { city: 1 })),
    () => message(text('I see.')),
  ]);
  expect(resultsOf(answer.seen)).toMatchObject([{ id: 'p', ok: false, error: { code: 'invalid_input' } }]);
  expect(terminalOf(answer.seen)).toMatchObject({ type: 'done', steps: 2 });
});
