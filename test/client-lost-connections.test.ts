import { describe, expect, it } from 'vitest';
import {
  createLlmClient,
  LlmClientError,
  type LlmClientOptions,
  type LlmEvent,
  type Reconnect,
} from '../src/client.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

type Fetch = NonNullable<LlmClientOptions['fetch']>;

function connect(fetch: Fetch, limits: LlmClientOptions['reconnect'] = {}) {
  const reconnects: Reconnect[] = [];
  const llm = createLlmClient<AnyConfigRouter>({
    url: test.current.url,
    transport: 'sse',
    fetch,
    reconnect: { delayMs: 1, delayMsMax: 10, attemptsMax: 4, ...limits },
    onReconnect: (reconnect) => reconnects.push(reconnect),
  });
  return { ...llm, reconnects };
}

async function errorOf(failing: Promise<unknown>): Promise<LlmClientError> {
  const error = await failing.catch((thrown: unknown) => thrown);
  if (error instanceof LlmClientError) return error;
  throw new Error(`expected an LlmClientError, got ${String(error)}`);
}

/** The bytes of a body up to and including this text. */
function passUntil(text: string, end: (controller: TransformStreamDefaultController<Uint8Array>) => void) {
  let seen = '';
  const decoder = new TextDecoder();
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      seen += decoder.decode(chunk, { stream: true });
      controller.enqueue(chunk);
      if (seen.includes(text)) end(controller);
    },
  });
}

/**
 * A `fetch` whose first body fails in some way after it has passed on `first `, as browsers, proxies and wrappers of
 * `fetch` have done.
 */
function failingOnce(fail: (response: Response, signal: AbortSignal) => Response): { fetch: Fetch; bodies: number } {
  const failing = {
    bodies: 0,
    async fetch(url: string, init: RequestInit) {
      const response = await fetch(url, init);
      if (!url.includes('/llm.stream') && !url.includes('/llm.follow')) return response;
      failing.bodies += 1;
      return failing.bodies > 1 ? response : fail(response, init.signal!);
    },
  };
  return failing;
}

const copyOf = (response: Response, body: ReadableStream<Uint8Array>) =>
  new Response(body, { status: response.status, headers: { 'content-type': 'text/event-stream' } });
const erring = (error: unknown) => (response: Response) =>
  copyOf(response, response.body!.pipeThrough(passUntil('first ', (controller) => controller.error(error))));

const ways: readonly (readonly [string, (response: Response, signal: AbortSignal) => Response])[] = [
  ['a TypeError', erring(new TypeError('Failed to fetch'))],
  ['an AbortError that nobody asked for', erring(new DOMException('BodyStreamBuffer was aborted', 'AbortError'))],
  ['an AbortError that is no DOMException', erring(Object.assign(new Error('aborted'), { name: 'AbortError' }))],
  ['a TimeoutError', erring(new DOMException('signal timed out', 'TimeoutError'))],
  ['a text', erring('cut')],
  ['undefined', erring(undefined)],
  ['an error that is the service’s own kind', erring(new LlmClientError('internal', 'not said by the service'))],
  [
    'a clean end between two events',
    (response) =>
      copyOf(response, response.body!.pipeThrough(passUntil('\n\n', () => {})).pipeThrough(endAfter('first '))),
  ],
  [
    'a clean end within an event',
    (response) =>
      copyOf(response, response.body!.pipeThrough(endAfter('first ')).pipeThrough(append('data: {"json":{"id":"'))),
  ],
  [
    'an event that is no JSON',
    (response) =>
      copyOf(response, response.body!.pipeThrough(endAfter('first ')).pipeThrough(append('data: <html>\n\n'))),
  ],
];

function endAfter(text: string) {
  return passUntil(text, (controller) => controller.terminate());
}

function append(text: string) {
  return new TransformStream<Uint8Array, Uint8Array>({
    flush: (controller) => controller.enqueue(new TextEncoder().encode(text)),
  });
}

describe('a body that fails in mid-answer is a lost connection, and the remaining events arrive once: with', () => {
  it.each(ways)('%s', async (_, fail) => {
    const { upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const failing = failingOnce(fail);
    await using llm = connect(failing.fetch);
    const text = llm.stream(ask('hi')).text();
    const request = await upstream.nextRequest();
    await request.text('first ');
    await until(() => failing.bodies >= 2);
    await request.text('second');
    request.finish();
    expect(await text).toBe('first second');
    expect(llm.reconnects).toMatchObject([{ failures: 1, error: { code: 'unreachable', retryable: true } }]);
    expect(upstream.requestCount).toBe(1);
  });

  it('an app’s own abort of its fetch', async () => {
    const { upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    let cutter = new AbortController();
    await using llm = connect((url, init) =>
      fetch(url, { ...init, signal: AbortSignal.any([init.signal!, cutter.signal]) }),
    );
    const events = llm.stream(ask('hi'))[Symbol.asyncIterator]();
    const started = events.next();
    const request = await upstream.nextRequest();
    await started;
    const cut = cutter;
    cutter = new AbortController();
    cut.abort();
    await request.text('after');
    expect((await events.next()).value).toMatchObject({ type: 'text', text: 'after' });
    expect(llm.reconnects).toHaveLength(1);
    request.finish();
  });
});

describe('a fetch that gives no body to read is', () => {
  const withBody = (body: unknown): Fetch => {
    return async (url, init) => {
      const response = await fetch(url, init);
      const { status, headers } = response;
      const ok = response.ok;
      void response.body?.cancel();
      return { status, ok, headers, body } as Response;
    };
  };

  it('without one: the error says so in one sentence', async () => {
    await using llm = connect(withBody(undefined));
    const error = await errorOf(llm.stream(ask('hi')).text());
    expect(error).toMatchObject({ code: 'unsupported', retryable: false });
    expect(error.message).toMatch(/expo\/fetch/);
    expect(llm.reconnects).toEqual([]);
  });

  it('one that has read it', async () => {
    await using llm = connect(async (url, init) => {
      const response = await fetch(url, init);
      void response.text().catch(() => {});
      return response;
    });
    expect((await errorOf(llm.stream(ask('hi')).text())).code).toBe('unsupported');
  });

  it('a lost connection where it is null, as that of a service worker', async () => {
    await using llm = connect(withBody(null));
    expect((await errorOf(llm.stream(ask('hi')).text())).code).toBe('unreachable');
    expect(llm.reconnects).toHaveLength(3);
  });

  it('an error where it never ends an event', async () => {
    const mebibyte = new TextEncoder().encode('x'.repeat(1024 * 1024));
    await using llm = connect(
      async () => {
        const body = new ReadableStream({ pull: (controller) => controller.enqueue(mebibyte) });
        return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
      },
      { attemptsMax: 1 },
    );
    expect((await errorOf(llm.stream(ask('hi')).text())).code).toBe('unreachable');
  });
});

describe('a client that is closed, or a run that is left, gives the connection back', () => {
  const never = () => new Promise<never>(() => {});
  const silent = () =>
    new Response(new ReadableStream<Uint8Array>(), { headers: { 'content-type': 'text/event-stream' } });

  it.each([
    ['a fetch that hangs before the headers and heeds no signal', never],
    ['a body that says nothing', async () => silent()],
  ])('of %s', async (_, hang) => {
    let asked!: () => void;
    const called = new Promise<void>((resolve) => (asked = resolve));
    const llm = connect(() => {
      asked();
      return hang();
    });
    const text = errorOf(llm.stream(ask('hi')).text());
    await called;
    await llm.close();
    expect((await text).code).toBe('closed');
  });

  it('of a fetch that ignores signals: its response is cancelled when it arrives', async () => {
    let give!: (response: Response) => void;
    let asked!: () => void;
    const called = new Promise<void>((resolve) => (asked = resolve));
    const llm = connect(() => {
      asked();
      return new Promise<Response>((resolve) => (give = resolve));
    });
    const text = errorOf(llm.stream(ask('hi')).text());
    await called;
    await llm.close();
    await text;
    const cancelled = new Promise<void>((resolve) =>
      give(
        new Response(new ReadableStream({ cancel: () => resolve() }), {
          headers: { 'content-type': 'text/event-stream' },
        }),
      ),
    );
    await cancelled;
  });

  it('of a body that ignores signals', async () => {
    let left!: () => void;
    const cancelled = new Promise<void>((resolve) => (left = resolve));
    const events = ['event: connected\ndata: {}\n\n', 'data: {"json":{}}\nid: x:0\n\n'].join('');
    const llm = connect(
      async () =>
        new Response(
          new ReadableStream({
            start: (controller) => controller.enqueue(new TextEncoder().encode(events)),
            cancel: () => left(),
          }),
          { headers: { 'content-type': 'text/event-stream' } },
        ),
    );
    const seen: unknown[] = [];
    const subscription = llm.trpc.llm.follow.subscribe(
      { generationId: crypto.randomUUID() },
      { onData: () => seen.push(subscription.unsubscribe()) },
    );
    await cancelled;
    expect(seen).toHaveLength(1);
    await llm.close();
  });
});

it('tRPC’s own client sees of a subscription what its stock link shows', async () => {
  const { upstream } = test.current;
  upstream.enqueue({ kind: 'text', text: ['ok'] });
  await using llm = connect((url, init) => fetch(url, init));
  const seen: string[] = [];
  const events: LlmEvent['type'][] = [];
  await new Promise<void>((resolve, reject) => {
    llm.trpc.llm.stream.subscribe(ask('hi', { generationId: crypto.randomUUID() }), {
      onStarted: () => seen.push('started'),
      onConnectionStateChange: ({ state }) => seen.push(state),
      onData: ({ id, data }) => {
        if (!id) reject(new Error('no id'));
        events.push(data.type);
      },
      onStopped: () => seen.push('stopped'),
      onError: reject,
      onComplete: resolve,
    });
  });
  expect(seen).toEqual(['connecting', 'started', 'pending', 'stopped', 'idle']);
  expect(events).toEqual(['start', 'text', 'done']);
});

it('an abort of a subscription’s signal completes it, also while it waits to reconnect', async () => {
  await using llm = connect(() => Promise.reject(new TypeError('Failed to fetch')), {
    delayMs: 60_000,
    delayMsMax: 60_000,
  });
  const controller = new AbortController();
  const request = ask('hi', { generationId: crypto.randomUUID() });
  await new Promise<void>((resolve, reject) => {
    llm.trpc.llm.stream.subscribe(request, {
      signal: controller.signal,
      onConnectionStateChange: ({ state, error }) => {
        if (state === 'connecting' && error) setImmediate(() => controller.abort());
      },
      onError: reject,
      onComplete: resolve,
    });
  });
  const aborted = llm.trpc.llm.configs.query(undefined, { signal: AbortSignal.abort() });
  await expect(aborted).rejects.toMatchObject({ data: { llm: { code: 'unreachable' } } });
  expect(llm.reconnects).toHaveLength(1);
});
