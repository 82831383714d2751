/**
 * The procedures called without a server: for programs that have no clients, and for tests of programs that have some.
 */
import { TRPCError } from '@trpc/server';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createLlmRouter, defineConfigs, LlmError, type EndedGeneration, type LlmEvent } from '../src/index.ts';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';

finishesCleanly();

const configs = defineConfigs({
  default: { model: 'claude-sonnet-5-5', max_tokens: 1_000, system_prompt: 'You are brief.' },
  tutor: {
    model: 'claude-sonnet-5-5',
    max_tokens: 1_000,
    system_prompt: 'You teach {{subject}}.',
    on_disconnect: { cancel_after_ms: 1 },
  },
});

let upstream: Simulator;
let router: ReturnType<typeof createRouter>;
beforeEach(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  router = createRouter();
});
afterEach(async () => {
  await router[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

function createRouter(onGenerationEnd?: (ended: EndedGeneration) => void) {
  return createLlmRouter(configs, {
    ...(onGenerationEnd ? { onGenerationEnd } : {}),
    baseUrl: upstream.url,
    apiKey: 'any',
    limits: { drainMs: 0 },
  });
}

const messages = [{ role: 'user', content: 'Hello?' }] as const;

it('an answer is an iterable of ids and events', async () => {
  upstream.enqueue({ kind: 'text', text: 'Hello from upstream.' });
  const { llm } = router.createCaller({});
  let text = '';
  let last: LlmEvent | undefined;
  const ids: string[] = [];
  for await (const { id, data: event } of await llm.stream({ config: 'default', messages })) {
    ids.push(id);
    if (event.type === 'text') text += event.text;
    last = event;
  }
  expect(text).toBe('Hello from upstream.');
  expect(last).toMatchObject({ type: 'done', stopReason: 'end_turn', usage: { estimated: false } });
  expect(ids[0]).toMatch(/^[0-9a-f-]{36}:0$/);
  expect(upstream.requests[0]?.body.system).toBe('You are brief.');
});

it('the input is typed by the configs', async () => {
  const { llm } = router.createCaller({});
  await llm.stream({ config: 'tutor', messages, variables: { subject: 'algebra' } });
  // @ts-expect-error: there is no such config
  await llm.stream({ config: 'none', messages });
  // @ts-expect-error: the subject is missing
  await llm.stream({ config: 'tutor', messages });
  // If nobody iterates, upstream is never called.
  expect(upstream.requestCount).toBe(0);
});

it('an abort ends the iteration without an error, and then the config decides, as for any lost viewer', async () => {
  upstream.enqueue({ kind: 'manual' });
  const abort = new AbortController();
  const { llm } = router.createCaller({}, { signal: abort.signal });
  const generationId = crypto.randomUUID();
  const seen: string[] = [];
  const variables = { subject: 'algebra' };
  for await (const { data: event } of await llm.stream({ config: 'tutor', messages, variables, generationId })) {
    seen.push(event.type);
    if (event.type === 'start') void (await upstream.nextRequest()).text('half ');
    if (event.type === 'text') abort.abort();
  }
  expect(seen).toEqual(['start', 'text']);
  const [request] = upstream.requests;
  expect(await request?.outcome).toBe('client_closed');
  const [ended] = await collect(
    await router.createCaller({}).llm.follow({ generationId, lastEventId: `${generationId}:1` }),
  );
  expect(ended.data).toMatchObject({ type: 'cancelled', reason: 'disconnected' });
});

it('leaving the loop does the same, and cancel ends the model call', async () => {
  upstream.enqueue({ kind: 'manual' });
  const { llm } = router.createCaller({});
  const generationId = crypto.randomUUID();
  for await (const { data: event } of await llm.stream({ config: 'default', messages, generationId })) {
    if (event.type === 'start') break;
  }
  const request = await upstream.nextRequest();
  expect((await llm.generation({ generationId })).state).toBe('running');
  expect(await llm.cancel({ generationId })).toEqual({ outcome: 'cancelled' });
  expect(await request.outcome).toBe('client_closed');
});

it('a refusal is thrown at the first step of the iteration, with an LlmError as its cause', async () => {
  const { llm } = router.createCaller({});
  const refused = collect(await llm.stream({ config: 'none' as 'default', messages }));
  const error: unknown = await refused.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(TRPCError);
  const { cause } = error as TRPCError;
  expect(cause).toBeInstanceOf(LlmError);
  expect((cause as LlmError).code).toBe('config_not_found');
});

it('without a key the built-in simulator answers, and says so', async () => {
  await using keyless = createLlmRouter(configs, { limits: { drainMs: 0 } });
  const { llm } = keyless.createCaller({});
  for await (const { data: event } of await llm.stream({ config: 'default', messages })) {
    if (event.type === 'start') expect(event.simulated).toBe(true);
    if (event.type === 'text') break;
  }
  expect(upstream.requestCount).toBe(0);
});

async function collect<T>(iterable: AsyncIterable<T>): Promise<[T, ...T[]]> {
  const all: T[] = [];
  for await (const each of iterable) all.push(each);
  return all as [T, ...T[]];
}

it('changes that a caller makes to an event or a result are seen by nobody else', async () => {
  const told: EndedGeneration[] = [];
  await using spoilt = createRouter((ended) => {
    told.push(structuredClone(ended));
    spoil(ended);
  });
  const { llm } = spoilt.createCaller({});
  const generationId = crypto.randomUUID();
  const input = { config: 'default', messages, generationId } as const;
  const seen = async () => {
    const events: LlmEvent[] = [];
    for await (const { data } of await llm.stream(input)) {
      events.push(structuredClone(data));
      spoil(data);
    }
    return events;
  };
  const [first, second] = await Promise.all([seen(), seen()]);
  expect(second).toEqual(first);
  const done = first.at(-1);
  expect(done).toMatchObject({ type: 'done', usage: { estimated: false } });
  for (const summary of [await llm.generation({ generationId }), ...(await llm.generations())]) {
    expect(summary.terminal).toEqual(done);
    spoil(summary.terminal);
  }
  expect((await llm.generation({ generationId })).terminal).toEqual(done);
  expect(await seen()).toEqual(first);
  await vi.waitUntil(() => told.length > 0);
  expect(told).toMatchObject([{ terminal: done, events: first }]);
});

/** Overwrites every value, however deep. */
function spoil(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    spoil(child);
    (value as Record<string, unknown>)[key] = 'spoilt';
  }
}
