/** Calls that wait for a client: for a result, or for an approval. */
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { CallAnswer } from '../src/protocol.ts';
import type { ScriptedBlock } from '../src/simulator.ts';
import { clientTool, tool } from '../src/tools/tool.ts';
import { doors, readAll, terminalOf, type AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest, startTestService } from './support/service.ts';
import { bySteps, call, city, message, resultsIn, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();

const executed: string[] = [];
const pick = clientTool({ description: 'Picks', input: city, output: z.object({ file: z.string() }) });
const remove = tool({
  description: 'Removes',
  input: city,
  output: z.string(),
  approval: true,
  execute: ({ city: name }) => {
    executed.push(name);
    return `removed ${name}`;
  },
});
const maybe = tool({
  description: 'Asks for A only',
  input: city,
  approval: ({ city: name }) => name === 'A',
  execute: ({ city: name }) => void executed.push(name),
});
const configs = {
  default: withTools({ pick, remove, maybe }),
  brief: withTools({ pick, remove }, { client_tools: { wait_ms: 1 } }),
  at_once: withTools({ pick, remove, maybe }, { client_tools: { wait_ms: 0 } }),
  short: withTools({ pick }, { timeouts: { total_ms: 1_000 }, client_tools: { wait_ms: 60_000 } }),
  plain: plainConfig,
};
const test = serviceForEachTest({ configs });

/** The ways to answer. */
const ways = [
  {
    name: 'tRPC',
    async resolve(url: string, generationId: string, results: readonly CallAnswer[]): Promise<unknown> {
      const links = [httpLink({ url: `${url}/trpc`, transformer: superjson })];
      const client = createTRPCClient<AnyConfigRouter>({ links });
      return client.llm.resolve
        .mutate({ generationId, results })
        .catch((error: { data: { llm: { code: string; issues?: unknown } } }) => error.data.llm);
    },
  },
  {
    name: 'REST',
    async resolve(url: string, generationId: string, results: readonly CallAnswer[]): Promise<unknown> {
      const response = await fetch(`${url}/api/llm/generations/${generationId}/results`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ results }),
      });
      const body = (await response.json()) as { error?: unknown };
      return response.ok ? body : body.error;
    },
  },
];

/** Starts a generation that makes these calls, and waits for the first of them. */
async function started(calls: readonly ScriptedBlock[], config = 'default', door = doors[0]!) {
  const { url, upstream } = test.current;
  executed.length = 0;
  upstream.respondWith(
    bySteps(
      () => message(...calls),
      () => message(text('Done.')),
    ),
  );
  const generationId = crypto.randomUUID();
  const view = door.stream(url, ask('hi', { generationId, config }));
  await view.until(({ type }) => type === 'tool_call');
  return { generationId, view };
}

describe.each(ways)('by $name', ({ resolve }) => {
  it.each(doors)('a result reaches the model, and viewers over $name', async (door) => {
    const { generationId, view } = await started([call('p', 'pick', { city: 'A' })], 'default', door);
    const answer = await resolve(test.current.url, generationId, [{ id: 'p', output: { file: 'a.txt', more: 1 } }]);
    expect(answer).toEqual({ resolved: 1 });
    const seen = await readAll(view);
    const [asked, result] = seen.flatMap(({ event }) => (event.type.startsWith('tool_') ? [event] : [])).slice(1);
    expect(asked).toMatchObject({ type: 'tool_call', id: 'p', by: 'client', input: { city: 'A' } });
    expect(result).toEqual({ type: 'tool_result', id: 'p', name: 'pick', ok: true, output: { file: 'a.txt' } });
    expect(resultsIn(test.current.upstream.requests[1]!)).toEqual({ p: '{"file":"a.txt"}' });
    expect(terminalOf(seen)).toMatchObject({ type: 'done', steps: 2 });
  });

  it('an error and a denial reach the model, an approved call is executed once', async () => {
    const calls = [
      call('p', 'pick', { city: 'P' }),
      call('r', 'remove', { city: 'R' }),
      call('s', 'remove', { city: 'S' }),
    ];
    const { generationId, view } = await started(calls);
    const { url, upstream } = test.current;
    await view.until((event) => event.type === 'tool_call' && event.id === 's');
    expect(executed).toEqual([]);
    const first = [
      { id: 'p', error: 'No file chosen' },
      { id: 'r', approved: false, reason: 'Not this one' },
    ];
    expect(await resolve(url, generationId, first)).toEqual({ resolved: 2 });
    expect(await resolve(url, generationId, [{ id: 's', approved: true }])).toEqual({ resolved: 1 });
    const seen = await readAll(view);
    expect(resultsIn(upstream.requests[1]!)).toEqual({
      p: { error: 'No file chosen' },
      r: { error: 'Not this one' },
      s: 'removed S',
    });
    expect(executed).toEqual(['S']);
    const asked = seen.flatMap(({ event }) => (event.type === 'tool_call' ? [event] : []));
    expect(asked.map(({ id, approval }) => [id, approval])).toEqual([
      ['p', undefined],
      ['r', true],
      ['s', true],
    ]);
    expect(seen.flatMap(({ event }) => (event.type === 'tool_result' && !event.ok ? [event.error.code] : []))).toEqual([
      'failed',
      'denied',
    ]);
  });

  it('the first answer wins: later ones are a conflict, and nothing of such a request is taken', async () => {
    const calls = [call('p', 'pick', { city: 'P' }), call('q', 'pick', { city: 'Q' })];
    const { generationId, view } = await started(calls);
    const { url } = test.current;
    const fits = { file: 'x' };
    const raced = await Promise.all([
      resolve(url, generationId, [{ id: 'p', output: fits }]),
      resolve(url, generationId, [{ id: 'p', output: fits }]),
    ]);
    expect(raced).toContainEqual({ resolved: 1 });
    const refusal = { code: 'conflict', issues: [{ path: 'results[1].id' }] };
    expect(raced).toContainEqual(expect.objectContaining({ code: 'conflict' }));
    const both = [
      { id: 'q', output: fits },
      { id: 'p', output: fits },
    ];
    expect(await resolve(url, generationId, both)).toMatchObject(refusal);
    expect(await resolve(url, generationId, [{ id: 'q', output: fits }])).toEqual({ resolved: 1 });
    await readAll(view);
    expect(await resolve(url, generationId, [{ id: 'q', output: fits }])).toMatchObject({
      code: 'conflict',
      issues: [{ path: 'results[0].id' }],
    });
  });

  it('what doesn’t fit is refused with its place, and the call goes on waiting', async () => {
    const { generationId, view } = await started([
      call('p', 'pick', { city: 'P' }),
      call('r', 'remove', { city: 'R' }),
    ]);
    await view.until((event) => event.type === 'tool_call' && event.id === 'r');
    const { url } = test.current;
    const approve = { id: 'r', approved: false };
    const refused: [readonly object[], string][] = [
      [[approve, { id: 'p', output: { file: 7 } }], 'results[1].output.file'],
      [[approve, { id: 'p' }], 'results[1]'],
      [[approve, { id: 'p', output: 1, error: 'both' }], 'results[1]'],
      [[approve, { id: 'p', approved: true }], 'results[1]'],
      [[{ id: 'r', output: 'x' }], 'results[0]'],
      [[approve, { id: 'never-was', output: 1 }], 'results[1].id'],
      [[approve, approve], 'results[1].id'],
      [[{ ...approve, surplus: 1 }], 'results[0]'],
      [[], 'results'],
    ];
    for (const [results, path] of refused) {
      expect(await resolve(url, generationId, results as CallAnswer[])).toMatchObject({
        code: 'invalid_input',
        issues: [{ path }],
      });
    }
    const large = { id: 'p', output: { file: 'x'.repeat(300_000) } };
    expect(await resolve(url, generationId, [large])).toMatchObject({ code: 'too_large' });
    expect(await resolve(url, generationId, [approve, { id: 'p', output: { file: 'x' } }])).toEqual({ resolved: 2 });
    expect(terminalOf(await readAll(view))).toMatchObject({ type: 'done', steps: 2 });
  });

  it('a generation that is unknown, and one that has no tools', async () => {
    const { url, upstream } = test.current;
    const answer = [{ id: 'p', output: 1 }];
    expect(await resolve(url, crypto.randomUUID(), answer)).toMatchObject({ code: 'generation_not_found' });
    upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const view = doors[0]!.stream(url, ask('hi', { generationId, config: 'plain' }));
    await view.until(({ type }) => type === 'start');
    expect(await resolve(url, generationId, answer)).toMatchObject({
      code: 'invalid_input',
      issues: [{ path: 'results[0].id' }],
    });
    (await upstream.nextRequest()).finish();
    await readAll(view);
  });
});

it('a function decides which calls wait for an approval', async () => {
  const { generationId, view } = await started([call('a', 'maybe', { city: 'A' }), call('b', 'maybe', { city: 'B' })]);
  await view.until((event) => event.type === 'tool_result' && event.id === 'b');
  expect(executed).toEqual(['B']);
  await ways[0]!.resolve(test.current.url, generationId, [{ id: 'a', approved: true }]);
  await readAll(view);
  expect(executed).toEqual(['B', 'A']);
});

it('when nobody answers in time, the generation ends with tool_use: what a client can still answer is left open', async () => {
  const { view } = await started([call('p', 'pick', { city: 'P' }), call('r', 'remove', { city: 'R' })], 'brief');
  const seen = await readAll(view);
  expect(terminalOf(seen)).toMatchObject({ type: 'done', stopReason: 'tool_use', steps: 1 });
  const results = seen.flatMap(({ event }) => (event.type === 'tool_result' ? [event] : []));
  expect(results).toMatchObject([{ id: 'r', ok: false, error: { code: 'denied' } }]);
  expect(executed).toEqual([]);
  expect(test.current.upstream.requestCount).toBe(1);
});

it('with wait_ms 0 it ends at once, after the calls of the service; the next request’s messages carry the results', async () => {
  const calls = [call('p', 'pick', { city: 'P' }), call('b', 'maybe', { city: 'B' })];
  const { view } = await started(calls, 'at_once');
  expect(terminalOf(await readAll(view))).toMatchObject({ type: 'done', stopReason: 'tool_use' });
  expect(executed).toEqual(['B']);
  const { url, upstream } = test.current;
  const results = ['p', 'b'].map((id) => ({ type: 'tool_result', tool_use_id: id, content: 'x' }));
  const messages = [
    { role: 'user' as const, content: 'hi' },
    { role: 'assistant' as const, content: calls },
    { role: 'user' as const, content: results },
  ];
  upstream.respondWith(() => message(text('Done.')));
  const next = await readAll(doors[0]!.stream(url, { config: 'at_once', messages }));
  expect(terminalOf(next)).toMatchObject({ type: 'done', steps: 1 });
  expect(upstream.requests.at(-1)!.body.messages).toEqual(messages);
});

it('the generation’s time rests while it waits for its client', async () => {
  const { generationId, view } = await started([call('p', 'pick', { city: 'P' })], 'short');
  // Longer than total_ms: what is measured is time itself.
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await ways[0]!.resolve(test.current.url, generationId, [{ id: 'p', output: { file: 'x' } }]);
  expect(terminalOf(await readAll(view))).toMatchObject({ type: 'done', steps: 2 });
});

it('beyond the limit of waiting generations, one ends at once, as if its time was up', async () => {
  await using service = await startTestService({ configs, env: { LLM_WAITING_PER_CALLER_MAX: '1' } });
  const { url, upstream } = service;
  upstream.respondWith(
    bySteps(
      () => message(call('p', 'pick', { city: 'P' })),
      () => message(text('Done.')),
    ),
  );
  const generationId = crypto.randomUUID();
  const first = doors[0]!.stream(url, ask('hi', { generationId }));
  await first.until(({ type }) => type === 'tool_call');
  const second = await readAll(doors[0]!.stream(url, ask('hi')));
  expect(terminalOf(second)).toMatchObject({ type: 'done', stopReason: 'tool_use' });
  expect(service.service.core.access.load.waiting).toBe(1);
  await ways[0]!.resolve(url, generationId, [{ id: 'p', output: { file: 'x' } }]);
  expect(terminalOf(await readAll(first))).toMatchObject({ type: 'done', steps: 2 });
  expect(service.service.core.access.load.waiting).toBe(0);
});

it('a tool of upstream that the client executes is answered by the client, with whatever output', async () => {
  await using service = await startTestService({
    configs: { default: withTools({ notes: { type: 'memory_20250818' } }) },
  });
  const { url, upstream } = service;
  upstream.respondWith(
    bySteps(
      () => message(call('m', 'memory', { command: 'view' })),
      () => message(text('Done.')),
    ),
  );
  const generationId = crypto.randomUUID();
  const view = doors[0]!.stream(url, ask('hi', { generationId }));
  const { event } = await view.until(({ type }) => type === 'tool_call');
  expect(event).toMatchObject({ name: 'notes', by: 'client', input: { command: 'view' } });
  await ways[0]!.resolve(url, generationId, [{ id: 'm', output: 'empty' }]);
  await readAll(view);
  expect(resultsIn(upstream.requests[1]!)).toEqual({ m: 'empty' });
});
