import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLlmClient, LlmClientError, type LlmClientOptions, type Reconnect } from '../src/client.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();
const test = serviceForEachTest();
const transports = ['sse', 'ws'] as const;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** The parts of a browser, besides fetch, that a client looks at. Counts the listeners. */
class FakeBrowser {
  readonly window = new CountingTarget();
  readonly document = Object.assign(new CountingTarget(), { visibilityState: 'visible' });
  readonly navigator = { onLine: true };

  get listeners(): number {
    return this.window.listeners + this.document.listeners;
  }

  goOnline(): void {
    this.navigator.onLine = true;
    this.window.dispatchEvent(new Event('online'));
  }

  become(visibilityState: 'visible' | 'hidden'): void {
    this.document.visibilityState = visibilityState;
    this.document.dispatchEvent(new Event('visibilitychange'));
  }
}

class CountingTarget extends EventTarget {
  listeners = 0;
  override addEventListener(...args: Parameters<EventTarget['addEventListener']>): void {
    this.listeners += 1;
    super.addEventListener(...args);
  }
  override removeEventListener(...args: Parameters<EventTarget['removeEventListener']>): void {
    this.listeners -= 1;
    super.removeEventListener(...args);
  }
}

let browser: FakeBrowser;
beforeEach(() => {
  browser = new FakeBrowser();
  vi.stubGlobal('navigator', browser.navigator);
  vi.stubGlobal('document', browser.document);
  vi.stubGlobal('addEventListener', browser.window.addEventListener.bind(browser.window));
  vi.stubGlobal('removeEventListener', browser.window.removeEventListener.bind(browser.window));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

function connect(options: Partial<LlmClientOptions>) {
  const reconnects: Reconnect[] = [];
  const waiting = new Set<() => void>();
  const llm = createLlmClient<AnyConfigRouter>({
    url: test.current.url,
    transport: 'sse',
    reconnect: { attemptsMax: 3, delayMs: 600_000, delayMsMax: 600_000 },
    ...options,
    onReconnect: (reconnect) => {
      reconnects.push(reconnect);
      for (const each of waiting) each();
      options.onReconnect?.(reconnect);
    },
  });
  const failed = async (times: number) => {
    while (reconnects.length < times) await new Promise<void>((resolve) => waiting.add(resolve));
  };
  return { ...llm, reconnects, failed };
}

describe.each(transports)('over %s', (transport) => {
  it.each([
    ['the browser is online again', () => browser.goOnline()],
    ['the page is looked at again', () => browser.become('visible')],
    ['the page is shown again from the cache', () => void browser.window.dispatchEvent(new Event('pageshow'))],
  ])('the wait for the next attempt ends as soon as %s', async (_, comeBack) => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    proxy.cutAfter(1);
    await using llm = connect({ transport, url: proxy.url });
    upstream.enqueue({ kind: 'text', text: ['ok'] });
    const text = llm.stream(ask('hi')).text();
    await llm.failed(1);
    browser.become('hidden');
    comeBack();
    expect(await text).toBe('ok');
    expect(llm.reconnects).toHaveLength(1);
    expect(upstream.requestCount).toBe(1);
  });

  it('a connection that fell silent during a sleep is left as soon as the page is visible again', async () => {
    const { upstream } = test.current;
    await using proxy = await startTcpProxy(test.current.url);
    await using llm = connect({ transport, url: proxy.url, reconnect: { delayMs: 1 } });
    upstream.enqueue({ kind: 'manual' });
    const events = llm.stream(ask('hi'))[Symbol.asyncIterator]();
    const started = events.next();
    const request = await upstream.nextRequest();
    await started;
    const next = events.next();
    // This doesn't happen if the client heard of the connection in time.
    browser.become('visible');
    proxy.pause();
    const asleepMs = 3_600_000;
    const now = Date.now.bind(Date);
    vi.spyOn(Date, 'now').mockImplementation(() => now() + asleepMs);
    const { connections } = proxy;
    browser.become('visible');
    await llm.failed(1);
    await until(() => proxy.connections > connections);
    proxy.resume();
    await request.text('after');
    expect((await next).value).toMatchObject({ type: 'text', text: 'after' });
    expect(llm.reconnects).toHaveLength(1);
    request.finish();
  });

  it('the client has no listeners on the browser while nothing is in progress', async () => {
    const { upstream } = test.current;
    await using llm = connect({ transport });
    expect(browser.listeners).toBe(0);
    upstream.enqueue({ kind: 'manual' }, { kind: 'text', text: ['ok'] });
    const texts = [llm.stream(ask('hi')).text(), llm.stream(ask('hi')).text()];
    const request = await upstream.nextRequest();
    expect(browser.listeners).toBe(3);
    request.finish();
    await Promise.all(texts);
    expect(browser.listeners).toBe(0);
  });
});

it('the client waits for a browser that says it is offline, however long, and reconnects by itself', async () => {
  const { upstream } = test.current;
  browser.navigator.onLine = false;
  await using llm = connect({
    reconnect: { attemptsMax: 2, delayMs: 1, delayMsMax: 2 },
    fetch: (url, init) =>
      browser.navigator.onLine ? fetch(url, init) : Promise.reject(new TypeError('Failed to fetch')),
  });
  const text = llm.stream(ask('hi')).text();
  const configs = llm.trpc.llm.configs.query();
  await llm.failed(20);
  expect(llm.reconnects.every(({ offline }) => offline)).toBe(true);
  upstream.enqueue({ kind: 'text', text: ['ok'] });
  browser.goOnline();
  expect(await text).toBe('ok');
  expect(await configs).not.toEqual([]);
});

it('a request that was sent before the network came back, and not answered, is sent again', async () => {
  const { upstream } = test.current;
  const asked: (() => void)[] = [];
  const called = new Promise<void>((resolve) => asked.push(resolve));
  let requests = 0;
  await using llm = connect({
    fetch: (url, init) => {
      requests += 1;
      if (requests > 1) return fetch(url, init);
      asked[0]!();
      return new Promise(() => {});
    },
  });
  upstream.enqueue({ kind: 'text', text: ['ok'] });
  const text = llm.stream(ask('hi')).text();
  await called;
  browser.become('visible');
  expect(requests).toBe(1);
  browser.goOnline();
  expect(await text).toBe('ok');
  expect(llm.reconnects).toEqual([]);
});

it('the client waits as long as the service has asked it to', async () => {
  let requests = 0;
  await using llm = connect({
    fetch: async () => {
      requests += 1;
      const headers = { 'content-type': 'text/html', 'retry-after': '3600' };
      return new Response('<h1>later</h1>', { status: 503, headers });
    },
  });
  const failing = llm
    .stream(ask('hi'))
    .text()
    .catch((error: unknown) => error);
  await llm.failed(1);
  browser.goOnline();
  browser.become('visible');
  for (let turns = 0; turns < 10; turns += 1) await turn();
  expect(requests).toBe(1);
  await llm.close();
  expect(await failing).toBeInstanceOf(LlmClientError);
});

it('many runs on a WebSocket that is still opening move to one other when the browser is online again', async () => {
  const { url, upstream } = test.current;
  await using nowhere = await startTcpProxy(url);
  nowhere.pause();
  await using llm = connect({ transport: 'ws', url: nowhere.url });
  upstream.respondWith({ kind: 'text', text: ['ok'] });
  const texts = Array.from({ length: 5 }, () => llm.stream(ask('hi')).text());
  await until(() => nowhere.connections > 0);
  browser.goOnline();
  await until(() => nowhere.connections > 1);
  nowhere.resume();
  expect(await Promise.all(texts)).toEqual(texts.map(() => 'ok'));
  expect(nowhere.connections).toBe(2);
});
