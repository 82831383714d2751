import { createHash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createLlmClient, LlmClientError, type LlmClientOptions, type LlmEvent, type Run } from '../src/client.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();
const test = serviceForEachTest({
  configs: {
    default: plainConfig,
    goes_on: { ...plainConfig, on_disconnect: 'continue' },
    tutor: { ...plainConfig, system_prompt: 'You teach {{subject}}.' },
  },
});

const transports = ['sse', 'ws'] as const;

function connect(options: Partial<LlmClientOptions> = {}) {
  return createLlmClient<AnyConfigRouter>({
    url: test.current.url,
    transport: 'sse',
    reconnect: { delayMs: 1, delayMsMax: 10 },
    ...options,
  });
}

/** Iterates a run step by step. */
function read(run: Run) {
  const iterator = run[Symbol.asyncIterator]();
  const seen: LlmEvent[] = [];
  return {
    seen,
    async until(type: LlmEvent['type']): Promise<LlmEvent> {
      for (;;) {
        const { value, done } = await iterator.next();
        if (done) throw new Error(`ended before a ${type}`);
        seen.push(value);
        if (value.type === type) return value;
      }
    },
    leave: () => iterator.return?.(),
  };
}

function textIn(events: readonly LlmEvent[]): string {
  return events.map((event) => (event.type === 'text' ? event.text : '')).join('');
}

async function errorOf(failing: Promise<unknown>): Promise<LlmClientError> {
  const error = await failing.catch((thrown: unknown) => thrown);
  if (error instanceof LlmClientError) return error;
  throw new Error(`expected an LlmClientError, got ${String(error)}`);
}

describe.each(transports)('over %s', (transport) => {
  it('a run is an iterable of typed events, and its id is known before anything is sent', async () => {
    const { upstream } = test.current;
    upstream.enqueue({ kind: 'text', text: ['Hel', 'lo'] });
    await using llm = connect({ transport });
    const run = llm.stream(ask('hi'));
    const { generationId } = run;
    expect(generationId).toMatch(/^[0-9a-f-]{36}$/);
    const events: LlmEvent[] = [];
    for await (const event of run) events.push(event);
    expect(events[0]).toMatchObject({ type: 'start', generationId });
    expect(textIn(events)).toBe('Hello');
    expect(events.at(-1)?.type).toBe('done');
    expect(run.lastEventId).toMatch(generationId);
  });

  it('1 MB of mixed UTF-8 in 200 messages arrives as it is, and a cut in mid-answer costs nothing', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    await using llm = connect({ transport, url: proxy.url });
    const piece = 'Grüße, 世界! 🙂 naïve "quotes" \\ \u2028 и ещё. ';
    const bytes = Buffer.byteLength(piece);
    const messages = Array.from({ length: 200 }, (_, index) => ({
      role: index % 2 === 0 ? ('user' as const) : ('assistant' as const),
      content: `${index} ${piece.repeat(Math.ceil(5_300 / bytes))}`,
    })).concat({ role: 'user', content: 'and now?' });
    expect(Buffer.byteLength(JSON.stringify(messages))).toBeGreaterThan(1_000_000);

    upstream.enqueue({ kind: 'manual' });
    const view = read(llm.stream({ config: 'default', messages }));
    const answering = view.until('text');
    const request = await upstream.nextRequest();
    await request.text('before ');
    await answering;
    proxy.cut();
    await request.text('after 🙂');
    request.finish();
    await view.until('done');
    expect(textIn(view.seen)).toBe('before after 🙂');
    expect(request.messagesSha256).toBe(createHash('sha256').update(JSON.stringify(messages)).digest('hex'));
    expect(upstream.requestCount).toBe(1);
    expect(proxy.connections).toBe(2);
  });

  it('a run that is cut off at every event shows each once, and upstream is called once', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    await using llm = connect({ transport, url: proxy.url });
    upstream.enqueue({ kind: 'manual' });
    const view = read(llm.stream(ask('hi')));
    const started = view.until('start');
    const request = await upstream.nextRequest();
    await started;
    const tokens = Array.from({ length: 15 }, (_, index) => `täken ${index} 🙂 `);
    for (const token of tokens) {
      proxy.cut();
      await request.text(token);
      expect(await view.until('text')).toMatchObject({ text: token });
    }
    request.finish();
    await view.until('done');
    expect(view.seen.filter(({ type }) => type === 'start')).toHaveLength(1);
    expect(upstream.requestCount).toBe(1);
  });

  it('cancel stops the answer, and its iteration ends with that event', async () => {
    const { upstream } = test.current;
    await using llm = connect({ transport });
    upstream.enqueue({ kind: 'manual' });
    const run = llm.stream(ask('hi'));
    const view = read(run);
    const started = view.until('start');
    const request = await upstream.nextRequest();
    await started;
    expect(await run.cancel()).toBe('cancelled');
    expect(await request.outcome).toBe('client_closed');
    expect(await view.until('cancelled')).toMatchObject({ reason: 'requested' });
    expect(await run.cancel()).toBe('already_ended');
  });

  it('after a cancel before the start there is no answer', async () => {
    await using llm = connect({ transport });
    const run = llm.stream(ask('hi'));
    expect(await run.cancel()).toBe('cancelled');
    expect((await errorOf(run.text())).code).toBe('cancelled');
    expect(test.current.upstream.requestCount).toBe(0);
  });

  it('leaving the loop is no cancel: the answer can be followed, from the event that was seen last', async () => {
    const { upstream } = test.current;
    await using llm = connect({ transport });
    upstream.enqueue({ kind: 'manual' });
    const run = llm.stream(ask('hi', { config: 'goes_on' }));
    const view = read(run);
    const answering = view.until('text');
    const request = await upstream.nextRequest();
    await request.text('one ');
    await answering;
    await view.leave();
    const { generationId, lastEventId } = run;
    await request.text('two');
    request.finish();
    expect(await llm.follow({ generationId, lastEventId }).text()).toBe('two');
    expect(await llm.follow({ generationId }).text()).toBe('one two');
    expect(await run.text()).toBe('one two');
    expect(upstream.requestCount).toBe(1);
  });

  it('following from the terminal event yields nothing and ends', async () => {
    await using llm = connect({ transport });
    test.current.upstream.enqueue({ kind: 'text', text: ['a'] });
    const run = llm.stream(ask('hi'));
    await run.text();
    for await (const event of llm.follow(run)) throw new Error(`unexpected ${event.type}`);
  });

  it('aborting the signal throws its reason at once, and closes the subscription', async () => {
    const { upstream } = test.current;
    await using llm = connect({ transport });
    upstream.enqueue({ kind: 'manual' });
    const controller = new AbortController();
    const run = llm.stream(ask('hi', { config: 'goes_on' }), { signal: controller.signal });
    const text = run.text();
    const request = await upstream.nextRequest();
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(text).rejects.toBe(reason);
    await expect(run.text()).rejects.toBe(reason);
    await request.text('to nobody');
    request.finish();
    expect(await llm.follow({ generationId: run.generationId }).text()).toBe('to nobody');
  });

  it('text() throws an error for an answer that failed, with its terminal event', async () => {
    const { upstream } = test.current;
    await using llm = connect({ transport });
    upstream.enqueue({ kind: 'fault', fault: 'error_mid_stream', text: 'half of it' });
    const failed = await errorOf(llm.stream(ask('hi')).text());
    expect(failed).toMatchObject({ event: { type: 'error', code: failed.code, usage: {} } });
    upstream.enqueue({ kind: 'manual' });
    const run = llm.stream(ask('hi'));
    const text = errorOf(run.text());
    await upstream.nextRequest();
    await upstream.nextRequest();
    await run.cancel();
    expect(await text).toMatchObject({ code: 'cancelled', event: { type: 'cancelled', reason: 'requested' } });
  });

  it('a refusal is thrown with its code and its issues, after one attempt', async () => {
    const attempts: unknown[] = [];
    await using llm = connect({ transport, onReconnect: (reconnect) => attempts.push(reconnect) });
    expect(await errorOf(llm.stream(ask('hi', { config: 'nope' })).text())).toMatchObject({
      code: 'config_not_found',
      retryable: false,
    });
    expect(await errorOf(llm.stream({ config: 'default', messages: [] }).text())).toMatchObject({
      code: 'invalid_input',
      issues: [{ path: 'messages' }],
    });
    expect((await errorOf(llm.follow({ generationId: crypto.randomUUID() }).text())).code).toBe('generation_not_found');
    expect(attempts).toEqual([]);
  });

  it('only one event per block waits for a slow reader, and no text is lost', async () => {
    const { upstream } = test.current;
    await using llm = connect({ transport });
    const run = llm.stream(ask('hi'));
    const view = read(run);
    upstream.enqueue({ kind: 'manual' });
    const started = view.until('start');
    const request = await upstream.nextRequest();
    await started;
    const tokens = Array.from({ length: 500 }, (_, index) => `${index} `);
    for (const token of tokens) await request.text(token);
    request.finish();
    await request.outcome;
    const { trpc } = llm;
    while ((await trpc.llm.generation.query({ generationId: run.generationId })).state === 'running') await turn();
    // After a few turns everything that the service has sent has arrived. It may arrive in pieces, but no piece waits
    // for another.
    for (let turns = 0; turns < 50; turns += 1) await turn();
    await view.until('done');
    expect(textIn(view.seen)).toBe(tokens.join(''));
    expect(view.seen.length).toBeLessThan(tokens.length / 10);
  });

  it('closing the client ends its runs, and they leave nothing open', async () => {
    const { upstream } = test.current;
    const llm = connect({ transport });
    upstream.enqueue({ kind: 'manual' });
    const text = errorOf(llm.stream(ask('hi')).text());
    await upstream.nextRequest();
    await llm.close();
    expect((await text).code).toBe('closed');
  });

  it('inputs of tools may have any keys, and values that JSON leaves out are left out', async () => {
    const { upstream } = test.current;
    await using llm = connect({ transport });
    upstream.enqueue({ kind: 'text', text: ['ok'] });
    const toolUse = { type: 'tool_use', id: 'toolu_1', name: 'f' };
    const input = { constructor: 'a', prototype: { when: new Date(0), nothing: undefined } };
    const result = { type: 'tool_result', tool_use_id: 'toolu_1', content: 'x' };
    const run = llm.stream({
      config: 'default',
      messages: [
        { role: 'user', content: 'use it' },
        { role: 'assistant', content: [{ ...toolUse, input }] },
        { role: 'user', content: [result] },
      ],
    });
    expect(await run.text()).toBe('ok');
    expect(upstream.requests[0]?.body.messages[1]?.content).toMatchObject([
      { input: { constructor: 'a', prototype: { when: '1970-01-01T00:00:00.000Z' } } },
    ]);
  });

  it("tRPC's own client works on the same links: queries, mutations, and subscriptions that reconnect", async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    await using llm = connect({ transport, url: `${proxy.url}/trpc/` });
    expect((await llm.trpc.llm.configs.query()).map(({ name }) => name)).toContain('tutor');
    upstream.enqueue({ kind: 'manual' });
    const states: string[] = [];
    let text = '';
    const completed = new Promise<void>((resolve, reject) => {
      llm.trpc.llm.stream.subscribe(ask('hi', { generationId: crypto.randomUUID() }), {
        onConnectionStateChange: ({ state }) => states.push(state),
        onData: ({ data }) => {
          if (data.type !== 'text') return;
          text += data.text;
          if (text === 'one ') proxy.cut();
        },
        onError: reject,
        onComplete: resolve,
      });
    });
    const request = await upstream.nextRequest();
    await request.text('one ');
    await until(() => states.lastIndexOf('connecting') > states.indexOf('pending'));
    await request.text('two');
    request.finish();
    await completed;
    expect(text).toBe('one two');
    expect(upstream.requestCount).toBe(1);
  });
});

it('many runs share one WebSocket, and each resumes by itself when it is cut', async () => {
  const { url, upstream } = test.current;
  await using proxy = await startTcpProxy(url);
  await using llm = connect({ transport: 'ws', url: proxy.url });
  upstream.respondWith({ kind: 'manual' });
  const views = Array.from({ length: 8 }, (_, index) => read(llm.stream(ask(`${index}`))));
  const started = Promise.all(views.map((view) => view.until('start')));
  const requests = await Promise.all(views.map(() => upstream.nextRequest()));
  await started;
  expect(proxy.connections).toBe(1);
  proxy.cut();
  for (const request of requests) {
    await request.text('x');
    request.finish();
  }
  await Promise.all(views.map((view) => view.until('done')));
  expect(views.map(({ seen }) => textIn(seen))).toEqual(views.map(() => 'x'));
  expect(upstream.requestCount).toBe(8);
});
