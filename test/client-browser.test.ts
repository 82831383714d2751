/** The client in a real browser, where connections fail in the browser's own ways, and where there are few of them. */
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import type { SimulatorRequest } from '../src/simulator.ts';
import { browserForEachTest } from './support/browser.ts';
import { bundleClient } from './support/client-bundle.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { serviceForEachTest } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();
const test = serviceForEachTest({ env: { LLM_HEARTBEAT_MS: '1000' } });

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();
  let bundle: string;
  beforeAll(async () => {
    bundle = await bundleClient();
  });

  /** A tab with nothing of ours in it but the client. Its runs have numbers. */
  async function openTab(url = test.current.url): Promise<Page> {
    const page = await browser.open(`${url}/healthz`);
    await page.evaluate(bundle);
    await page.evaluate(`
      globalThis.cutter = new AbortController();
      globalThis.runs = [];
      globalThis.seen = [];
      globalThis.ended = [];
      globalThis.reconnects = [];
      globalThis.use = (transport) => {
        globalThis.llm = client.createLlmClient({
          url: location.origin,
          transport,
          reconnect: { attemptsMax: 3, delayMs: 1, delayMsMax: 50 },
          onReconnect: (reconnect) => reconnects.push(reconnect),
          fetch: (url, init) => fetch(url, { ...init, signal: AbortSignal.any([init.signal, cutter.signal]) }),
        });
      };
      globalThis.begin = () => {
        const run = llm.stream({ config: 'default', messages: [{ role: 'user', content: 'hi' }] });
        const events = [];
        runs.push(run);
        seen.push(events);
        ended.push((async () => {
          for await (const event of run) events.push(event);
          return events.map((event) => event.text ?? '').join('') + events.at(-1).type;
        })());
      };
      use('sse');
    `);
    return page;
  }

  /** Asks, and returns when `one ` has been sent and seen. The test continues the answer. */
  async function ask(page: Page): Promise<SimulatorRequest> {
    const { upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    await page.evaluate('begin()');
    const request = await upstream.nextRequest();
    await request.text('one ');
    await page.waitForFunction('seen.at(-1).some((event) => event.type === "text")');
    return request;
  }

  async function finish(page: Page, request: SimulatorRequest, run = 0): Promise<void> {
    await request.text('two ');
    request.finish();
    expect(await page.evaluate(`ended[${run}]`)).toBe('one two done');
  }

  const reconnected = (page: Page) => page.waitForFunction('reconnects.length > 0 && runs.length > 0');

  describe.each(['sse', 'ws'] as const)('over %s', (transport) => {
    it('a connection that is cut is replaced, and one that goes silent too', async () => {
      const { url, upstream } = test.current;
      await using proxy = await startTcpProxy(url);
      const page = await openTab(proxy.url);
      await page.evaluate(`use('${transport}')`);
      const request = await ask(page);
      proxy.cut();
      await reconnected(page);
      await request.text('and ');
      await page.waitForFunction('seen[0].some((event) => event.text === "and ")');
      await page.evaluate('reconnects.length = 0');
      proxy.pause();
      await reconnected(page);
      proxy.resume();
      await request.text('two ');
      request.finish();
      expect(await page.evaluate('ended[0]')).toBe('one and two done');
      expect(upstream.requestCount).toBe(1);
      await page.close();
    });

    it('the client waits for a browser that is offline, and reconnects by itself', async () => {
      const { url, upstream } = test.current;
      await using proxy = await startTcpProxy(url);
      const page = await openTab(proxy.url);
      await page.evaluate(`use('${transport}')`);
      const request = await ask(page);
      await page.context().setOffline(true);
      proxy.cut();
      // More attempts than the client makes before it gives up.
      await page.waitForFunction('reconnects.length > 5 && reconnects.every(({ offline }) => offline)');
      await page.context().setOffline(false);
      await finish(page, request);
      expect(upstream.requestCount).toBe(1);
      await page.close();
    });
  });

  it.each(['', 'new TypeError("cut")', 'new DOMException("cut", "AbortError")', '"cut"'])(
    'a fetch of the app that aborts with %s is a lost connection',
    async (reason) => {
      const page = await openTab();
      const request = await ask(page);
      await page.evaluate(`{ const old = cutter; cutter = new AbortController(); old.abort(${reason}); }`);
      await reconnected(page);
      await finish(page, request);
    },
  );

  describe('that opens six connections to a host', () => {
    it('six answers over SSE in one tab: each can be stopped, and the others go on', async () => {
      const page = await openTab();
      const requests: SimulatorRequest[] = [];
      for (let run = 0; run < 6; run += 1) requests.push(await ask(page));
      const cancelled = page.evaluate('runs[2].cancel()');
      expect(await requests[2]!.outcome).toBe('client_closed');
      expect(await cancelled).toBe('cancelled');
      expect(await page.evaluate('ended[2]')).toBe('one cancelled');
      for (const [run, request] of requests.entries()) if (run !== 2) await finish(page, request, run);
      expect(await page.evaluate('reconnects.length')).toBe(0);
    });

    it.each([0, 2])('six tabs with an answer each, and %d that wait for one: each can be stopped', async (waiting) => {
      const { upstream } = test.current;
      const pages: Page[] = [];
      const requests: SimulatorRequest[] = [];
      for (let tab = 0; tab < 7; tab += 1) pages.push(await openTab());
      for (const page of pages.slice(0, 6)) requests.push(await ask(page));
      upstream.respondWith({ kind: 'text', text: ['late '] });
      for (let run = 0; run < waiting; run += 1) await pages[6]!.evaluate('begin()');

      await pages[2]!.bringToFront();
      const cancelled = pages[2]!.evaluate('runs[0].cancel()');
      expect(await requests[2]!.outcome).toBe('client_closed');
      expect(await cancelled).toBe('cancelled');
      expect(await pages[2]!.evaluate('ended[0]')).toBe('one cancelled');
      for (const [tab, request] of requests.entries()) if (tab !== 2) await finish(pages[tab]!, request);
      for (let run = 0; run < waiting; run += 1) expect(await pages[6]!.evaluate(`ended[${run}]`)).toBe('late done');
      expect(upstream.requestCount).toBe(6 + waiting);
    });
  });
});
