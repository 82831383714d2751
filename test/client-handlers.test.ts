/** The tools that a client answers: its handlers are called once for each call, and so is `llm.resolve`. */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createLlmClient, LlmClientError } from '../src/client.ts';
import type { ToolCallContext } from '../src/client.ts';
import { LlmError } from '../src/errors.ts';
import type { LlmEvent } from '../src/protocol.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { call, done, failed, generationId, request, result, startScriptedService } from './support/scripted-service.ts';

finishesCleanly();

function connect(url: string, transport: 'sse' | 'ws' = 'sse') {
  return createLlmClient<AnyConfigRouter>({ url, transport, reconnect: { delayMs: 1, delayMsMax: 10 } });
}

async function readAll(events: AsyncIterable<LlmEvent>): Promise<LlmEvent[]> {
  const seen: LlmEvent[] = [];
  for await (const event of events) seen.push(event);
  return seen;
}

/** A handler that a test lets return, with what it was called with. */
function handler() {
  const calls: {
    input: unknown;
    context: ToolCallContext;
    answer: (output: unknown) => void;
    fail: (error: unknown) => void;
  }[] = [];
  const handle = (input: unknown, context: ToolCallContext) =>
    new Promise<unknown>((answer, fail) => calls.push({ input, context, answer, fail }));
  return { calls, handle };
}

describe.each(['sse', 'ws'] as const)('over %s', (transport) => {
  it('a call is handed to its handler, and the service gets what it returns', async () => {
    await using service = await startScriptedService(call('a', 'client'));
    await using llm = connect(service.url, transport);
    service.onResolve = () => service.emit(result('a', { name: 'x' }), done());
    const seen: { input: unknown; callId: string }[] = [];
    const run = llm.stream(request, {
      tools: {
        pick: (input, { callId }) => {
          seen.push({ input, callId });
          return { name: 'x' };
        },
      },
    });
    expect((await readAll(run)).at(-1)!.type).toBe('done');
    expect(seen).toEqual([{ input: { kind: 'image' }, callId: 'a' }]);
    expect(service.resolved).toEqual([{ generationId, results: [{ id: 'a', output: { name: 'x' } }] }]);
  });
});

it('what a handler throws is the error of the call', async () => {
  await using service = await startScriptedService(call('a', 'client'));
  await using llm = connect(service.url);
  service.onResolve = () => service.emit(done());
  const run = llm.stream(request, {
    tools: {
      pick: () => {
        throw new Error('No file was chosen');
      },
    },
  });
  await readAll(run);
  expect(service.resolved).toEqual([{ generationId, results: [{ id: 'a', error: 'No file was chosen' }] }]);
});

it('a handler that returns nothing answers null, which JSON can say', async () => {
  await using service = await startScriptedService(call('a', 'client'));
  await using llm = connect(service.url);
  service.onResolve = () => service.emit(done());
  await readAll(llm.stream(request, { tools: { pick: () => undefined } }));
  expect(service.resolved[0]!.results).toEqual([{ id: 'a', output: null }]);
});

it('each call is answered once, however many iterations see it, and whatever reads the run', async () => {
  await using service = await startScriptedService(call('a', 'client'), call('b', 'client'));
  await using llm = connect(service.url);
  const { calls, handle } = handler();
  const run = llm.stream(request, { tools: { pick: handle } });
  const reading = Promise.all([readAll(run), run.text(), run.messages(), readAll(run)]);
  await until(() => calls.length === 2 && service.asked.length === 4);
  for (const { answer } of calls) answer('x');
  await until(() => service.resolved.length === 2);
  service.emit(result('a', 'x'), result('b', 'x'), done());
  await reading;
  expect(await run.text()).toBe('');
  expect(calls).toHaveLength(2);
  expect(service.resolved.map(({ results }) => results[0]!.id).toSorted()).toEqual(['a', 'b']);
});

it('a call that has its result is not asked again by whoever reads the events anew', async () => {
  await using service = await startScriptedService(call('a', 'client'), result('a', 'x'), done());
  await using llm = connect(service.url);
  const { calls, handle } = handler();
  await readAll(llm.follow({ generationId }, { tools: { pick: handle } }));
  expect(calls).toEqual([]);
  expect(service.resolved).toEqual([]);
});

it('only calls that are the client’s reach a handler, and only those that have one', async () => {
  await using service = await startScriptedService(
    call('a', 'service'),
    call('b', 'service', { approval: true }),
    call('c', 'client', { name: 'other' }),
    call('d', 'client', { name: 'toString' }),
    call('e', 'client'),
  );
  await using llm = connect(service.url);
  service.onResolve = () => service.emit(done());
  await readAll(llm.stream(request, { tools: { pick: () => 'x' } }));
  expect(service.resolved.flatMap(({ results }) => results.map(({ id }) => id))).toEqual(['e']);
});

it('a handler is aborted where another client has answered, and what it returns then is dropped', async () => {
  await using service = await startScriptedService(call('a', 'client'));
  await using llm = connect(service.url);
  const { calls, handle } = handler();
  const reading = readAll(llm.stream(request, { tools: { pick: handle } }));
  await until(() => calls.length === 1);
  service.emit(result('a', 'from elsewhere'));
  await until(() => calls[0]!.context.signal.aborted);
  calls[0]!.answer('late');
  service.emit(done());
  await reading;
  expect(service.resolved).toEqual([]);
});

it('where another client was first, the service refuses with conflict, and the reader notices nothing', async () => {
  await using service = await startScriptedService(call('a', 'client'));
  await using llm = connect(service.url);
  service.onResolve = () => {
    service.emit(result('a', 'from elsewhere'), done());
    throw new LlmError('conflict', 'answered before');
  };
  const events = await readAll(llm.stream(request, { tools: { pick: () => 'x' } }));
  expect(events.at(-1)!.type).toBe('done');
  expect(service.resolved).toHaveLength(1);
});

it('an answer that the service refuses for another reason ends the iteration with that error', async () => {
  await using service = await startScriptedService(call('a', 'client'));
  await using llm = connect(service.url);
  service.onResolve = () => {
    throw new LlmError('invalid_input', 'results[0].output: expected an object');
  };
  const error: unknown = await readAll(llm.stream(request, { tools: { pick: () => 'x' } })).catch(
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(LlmClientError);
  expect(error).toMatchObject({ code: 'invalid_input' });
  expect(service.resolved).toHaveLength(1);
});

it.each(['error', 'signal', 'loop'] as const)('a handler is aborted where the answer ends by: %s', async (end) => {
  await using service = await startScriptedService(call('a', 'client'));
  await using llm = connect(service.url);
  const { calls, handle } = handler();
  const abort = new AbortController();
  const iterator = llm.stream(request, { tools: { pick: handle }, signal: abort.signal })[Symbol.asyncIterator]();
  for (let seen = 0; seen < 2; seen += 1) await iterator.next();
  await until(() => calls.length === 1);
  const waiting = iterator.next().catch(() => {});
  if (end === 'error') service.emit(failed);
  if (end === 'signal') abort.abort();
  if (end === 'loop') {
    // A generator takes `return` once its `next` has settled.
    service.emit(call('b', 'service'));
    await waiting;
    await iterator.return?.();
  }
  await waiting;
  await until(() => calls[0]!.context.signal.aborted);
  calls[0]!.fail(new Error('too late'));
  await turn();
  expect(service.resolved).toEqual([]);
});

it('a call that nobody answered before its reader left is asked again by the next iteration', async () => {
  await using service = await startScriptedService(call('a', 'client'));
  await using llm = connect(service.url);
  const { calls, handle } = handler();
  const run = llm.stream(request, { tools: { pick: handle } });
  const iterator = run[Symbol.asyncIterator]();
  for (let seen = 0; seen < 2; seen += 1) await iterator.next();
  await until(() => calls.length === 1);
  await iterator.return?.();
  service.onResolve = () => service.emit(done());
  const reading = readAll(run);
  await until(() => calls.length === 2);
  calls[0]!.answer('of the first');
  calls[1]!.answer('of the second');
  await reading;
  expect(service.resolved.map(({ results }) => results[0])).toEqual([{ id: 'a', output: 'of the second' }]);
});

it('resolve() answers calls and approvals when the app calls it, and throws what the service refuses', async () => {
  await using service = await startScriptedService();
  await using llm = connect(service.url);
  const results = [{ id: 'a', approved: false, reason: 'not today' }] as const;
  expect(await llm.resolve({ generationId, results })).toEqual({ resolved: 1 });
  expect(service.resolved).toEqual([{ generationId, results }]);
  service.onResolve = () => {
    throw new LlmError('conflict', 'answered before', {
      issues: [{ path: 'results[0].id', message: 'answered before' }],
    });
  };
  await expect(llm.resolve({ generationId, results })).rejects.toMatchObject({
    code: 'conflict',
    issues: [{ path: 'results[0].id', message: 'answered before' }],
  });
});
