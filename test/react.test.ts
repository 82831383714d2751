/** `useAnswer`: one request is one generation, however often React mounts, renders and leaves. */
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { describe, expect, it, vi } from 'vitest';
import { createLlmClient, type LlmClientOptions } from '../src/client.ts';
import { LlmError } from '../src/errors.ts';
import { useAnswer } from '../src/react.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { eventually, until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { mountHook } from './support/mounted-hook.ts';
import {
  call,
  done,
  generationId,
  request as scripted,
  result,
  startScriptedService,
  text,
} from './support/scripted-service.ts';
import { ask, serviceForEachTest, plainConfig } from './support/service.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();
const test = serviceForEachTest({
  configs: {
    default: { ...plainConfig, on_disconnect: 'continue' },
    brief: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } },
  },
});

const quick = { reconnect: { delayMs: 1, delayMsMax: 10 } };

function connect(url = test.current.url, options: Partial<LlmClientOptions> = {}) {
  return createLlmClient<AnyConfigRouter>({ url, transport: 'sse', ...quick, ...options });
}

/** Asks by a component, and returns when upstream has the request. */
async function begun(llm: ReturnType<typeof connect>, request = ask('hi'), strict = false) {
  const { upstream } = test.current;
  upstream.enqueue({ kind: 'manual' });
  const view = mountHook((given: typeof request) => useAnswer(llm, given), request, { strict });
  return { view, model: await upstream.nextRequest() };
}

describe.each(['sse', 'ws'] as const)('over %s', (transport) => {
  it('StrictMode mounts a component twice, and one generation starts, over one subscription', async () => {
    await using service = await startScriptedService(text('Hel'));
    await using llm = connect(service.url, { transport });
    using view = mountHook(() => useAnswer(llm, scripted), undefined, { strict: true });
    await eventually(() => expect(view.current.answer.text).toBe('Hel'));
    expect(view.current).toMatchObject({ running: true, connection: 'live', stopping: false });
    service.emit(text('lo'), done());
    await eventually(() => expect(view.current.answer.status).toBe('done'));
    expect(view.current).toMatchObject({ running: false, answer: { text: 'Hello', generationId, costUsd: null } });
    expect(service.asked).toHaveLength(1);
  });

  it('a connection that is lost shows as reconnecting, and no text comes twice', async () => {
    await using proxy = await startTcpProxy(test.current.url);
    await using llm = connect(proxy.url, { transport });
    const { view, model } = await begun(llm);
    using _view = view;
    await model.text('one ');
    await eventually(() => expect(view.current.answer.text).toBe('one '));
    proxy.pause();
    proxy.cut();
    await eventually(() => expect(view.current.connection).toBe('reconnecting'));
    proxy.resume();
    await model.text('two');
    model.finish();
    await eventually(() => expect(view.current.answer).toMatchObject({ status: 'done', text: 'one two' }));
    expect(test.current.upstream.requestCount).toBe(1);
  });
});

it('leaving keeps the generation going, and the same request mounted again shows all of it', async () => {
  await using llm = connect();
  const request = ask('hi', { generationId: crypto.randomUUID() });
  const { view, model } = await begun(llm, request);
  await model.text('one ');
  await eventually(() => expect(view.current.answer.text).toBe('one '));
  view.unmount();
  await until(() => test.current.service.core.access.load.viewers === 0);
  await model.text('two');
  using again = mountHook(() => useAnswer(llm, request), undefined);
  await eventually(() => expect(again.current.answer.text).toBe('one two'));
  model.finish();
  await eventually(() => expect(again.current.answer.status).toBe('done'));
  expect(test.current.upstream.requestCount).toBe(1);
});

it('leaving is left to the config, which may cancel', async () => {
  await using llm = connect();
  const { view, model } = await begun(llm, ask('hi', { config: 'brief' }));
  await model.text('one ');
  await eventually(() => expect(view.current.answer.text).toBe('one '));
  view.unmount();
  expect(await model.outcome).toBe('client_closed');
});

it('stop closes the call upstream, and the text so far stays, with what it cost', async () => {
  await using llm = connect();
  const { view, model } = await begun(llm);
  using _view = view;
  await model.text('Some words');
  await eventually(() => expect(view.current.answer.text).toBe('Some words'));
  await view.current.stop();
  expect(await model.outcome).toBe('client_closed');
  await eventually(() => expect(view.current.answer.status).toBe('cancelled'));
  expect(view.current).toMatchObject({ running: false, stopping: false, answer: { text: 'Some words' } });
  expect(view.current.answer.usage?.outputTokens).toBeGreaterThan(0);
  // Nothing is left to stop.
  await view.current.stop();
});

it('after a reload, reopen follows the answer by its id, and starts none', async () => {
  await using llm = connect();
  const { view, model } = await begun(llm);
  await model.text('one ');
  await eventually(() => expect(view.current.answer.text).toBe('one '));
  const { generationId: id } = view.current.answer;
  view.unmount();

  using reloaded = mountHook(() => useAnswer(llm, undefined), undefined, { strict: true });
  await eventually(() => expect(reloaded.current.answer.status).toBe('idle'));
  reloaded.current.reopen({ generationId: id! });
  await eventually(() => expect(reloaded.current.answer.text).toBe('one '));
  await model.text('two');
  model.finish();
  await eventually(() => expect(reloaded.current.answer).toMatchObject({ status: 'done', text: 'one two' }));
  expect(test.current.upstream.requestCount).toBe(1);
});

it('an answer that was kept is shown at once, and goes on after its last event', async () => {
  await using llm = connect();
  const request = ask('hi', { generationId: crypto.randomUUID() });
  const { view, model } = await begun(llm, request);
  await model.text('one ');
  await eventually(() => expect(view.current.answer.text).toBe('one '));
  const kept = JSON.stringify(view.current.answer);
  view.unmount();

  const events: string[] = [];
  const options = { initial: JSON.parse(kept), onEvent: ({ type }: { type: string }) => events.push(type) };
  using reloaded = mountHook(() => useAnswer(llm, request, options), undefined);
  await eventually(() => expect(reloaded.current.answer.text).toBe('one '));
  await model.text('two');
  model.finish();
  await eventually(() => expect(reloaded.current.answer).toMatchObject({ status: 'done', text: 'one two' }));
  expect(events).not.toContain('start');
});

it('an equal request is the same one, and a changed one is asked anew', async () => {
  const { upstream } = test.current;
  await using llm = connect();
  const { view, model } = await begun(llm, ask('first'));
  using _view = view;
  await model.text('A');
  await eventually(() => expect(view.current.answer.text).toBe('A'));
  const { generationId: first } = view.current.answer;
  view.render(ask('first'));
  await model.text('B');
  await eventually(() => expect(view.current.answer.text).toBe('AB'));
  expect(view.current.answer.generationId).toBe(first);

  upstream.enqueue({ kind: 'text', text: 'C' });
  view.render(ask('second'));
  await eventually(() => expect(view.current.answer).toMatchObject({ status: 'done', text: 'C' }));
  expect(view.current.answer.generationId).not.toBe(first);
  expect(upstream.requestCount).toBe(2);
  model.finish();
});

it('another client carries the same answer on', async () => {
  await using first = connect();
  await using second = connect(test.current.url, { transport: 'ws' });
  test.current.upstream.enqueue({ kind: 'manual' });
  using view = mountHook((llm: typeof first) => useAnswer(llm, ask('hi')), first);
  const model = await test.current.upstream.nextRequest();
  await model.text('one ');
  await eventually(() => expect(view.current.answer.text).toBe('one '));
  view.render(second);
  await until(() => test.current.service.server.sockets === 1);
  await model.text('two');
  model.finish();
  await eventually(() => expect(view.current.answer).toMatchObject({ status: 'done', text: 'one two' }));
  expect(test.current.upstream.requestCount).toBe(1);
});

it('a refusal has its code, and whether trying again can help; reopen asks again under the same id', async () => {
  await using llm = connect();
  const request = { ...ask('hi', { generationId: crypto.randomUUID() }), messages: [] };
  using refused = mountHook(() => useAnswer(llm, request), undefined);
  await eventually(() => expect(refused.current.answer.status).toBe('error'));
  expect(refused.current.answer.error).toMatchObject({
    code: 'invalid_input',
    retryable: false,
    issues: [{ path: 'messages' }],
  });

  let reachable = false;
  const fetchLater = (url: string, init: RequestInit) =>
    reachable ? fetch(url, init) : Promise.reject(new TypeError('no network'));
  await using flaky = connect(test.current.url, { fetch: fetchLater, reconnect: { attemptsMax: 1 } });
  using view = mountHook(() => useAnswer(flaky, ask('hi')), undefined);
  await eventually(() => expect(view.current.answer.error).toMatchObject({ code: 'unreachable', retryable: true }));
  const { generationId: id } = view.current.answer;
  reachable = true;
  test.current.upstream.enqueue({ kind: 'text', text: 'here' });
  view.current.reopen();
  await eventually(() => expect(view.current.answer).toMatchObject({ status: 'done', text: 'here', generationId: id }));
  expect(view.current.answer.error).toBeUndefined();
});

it('an answer that fails has the code, and its account', async () => {
  await using llm = connect();
  test.current.upstream.enqueue({ kind: 'fault', fault: 'clean_end', text: 'Half' });
  using view = mountHook(() => useAnswer(llm, ask('hi')), undefined);
  await eventually(() => expect(view.current.answer.status).toBe('error'));
  expect(view.current.answer).toMatchObject({
    text: 'Half',
    error: { code: 'upstream_truncated' },
    usage: {},
    timing: {},
  });
});

it('calls that wait for the reader are pending until they are answered, by whichever client', async () => {
  await using service = await startScriptedService(call('a', 'client'), call('b', 'service', { approval: true }));
  await using llm = connect(service.url);
  using view = mountHook(() => useAnswer(llm, scripted), undefined);
  await eventually(() => expect(view.current.answer.pending.map(({ id }) => id)).toEqual(['a', 'b']));
  service.onResolve = () => service.emit(result('a', { name: 'x' }));
  await view.current.resolve({ id: 'a', output: { name: 'x' } });
  await eventually(() => expect(view.current.answer.pending.map(({ id }) => id)).toEqual(['b']));
  // Another tab was first.
  service.onResolve = () => {
    throw new LlmError('conflict', 'answered before');
  };
  await view.current.resolve([{ id: 'b', approved: true }]);
  service.onResolve = () => {
    throw new LlmError('invalid_input', 'no such call');
  };
  await expect(view.current.resolve({ id: 'c', approved: true })).rejects.toMatchObject({ code: 'invalid_input' });
  service.emit(done());
  await eventually(() => expect(view.current.answer).toMatchObject({ status: 'done', pending: [] }));
  expect(view.current.answer.calls).toMatchObject([{ state: 'done', output: { name: 'x' } }, { state: 'waiting' }]);
});

it('a handler answers with the state of the last render, and its calls are not pending', async () => {
  await using service = await startScriptedService();
  await using llm = connect(service.url);
  const pending: number[] = [];
  const rendered: string[] = [];
  using view = mountHook<string, ReturnType<typeof useAnswer<AnyConfigRouter>>>((name) => {
    const live = useAnswer(llm, scripted, { tools: { pick: () => ({ name }) } });
    pending.push(live.answer.pending.length);
    rendered.push(name);
    return live;
  }, 'first');
  await eventually(() => expect(view.current.answer.status).toBe('running'));
  view.render('second');
  await eventually(() => expect(rendered.at(-1)).toBe('second'));
  service.onResolve = () => service.emit(result('a', {}), done());
  service.emit(call('a', 'client'));
  await eventually(() => expect(view.current.answer.status).toBe('done'));
  expect(service.resolved.map(({ results }) => results)).toEqual([[{ id: 'a', output: { name: 'second' } }]]);
  expect(Math.max(...pending)).toBe(0);
});

it('however many events arrive, the component renders once in a frame', async () => {
  // Frames come when the test lets them; where none comes, a timer of 250 ms does.
  vi.stubGlobal('requestAnimationFrame', () => 0);
  vi.stubGlobal('cancelAnimationFrame', () => {});
  try {
    await using service = await startScriptedService();
    await using llm = connect(service.url);
    const startedAtMs = performance.now();
    using view = mountHook(() => useAnswer(llm, scripted), undefined);
    service.emit(...Array.from({ length: 1_000 }, (_, at) => text('x', at)), done());
    await eventually(() => expect(view.current.answer).toMatchObject({ status: 'done', text: 'x'.repeat(1_000) }));
    expect(view.results.length).toBeLessThan(10 + (performance.now() - startedAtMs) / 250);
  } finally {
    vi.unstubAllGlobals();
  }
});

it('the server renders that it waits, and asks nothing', async () => {
  await using llm = connect();
  const Component = () => {
    const { answer, running } = useAnswer(llm, ask('hi'));
    return createElement('p', null, `${answer.status} ${running}`);
  };
  expect(renderToString(createElement(Component))).toBe('<p>waiting true</p>');
  expect(test.current.upstream.requestCount).toBe(0);
});
