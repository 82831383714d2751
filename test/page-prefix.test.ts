import { expect, it } from 'vitest';
import type { Page } from 'playwright-core';
import { browserForEachTest } from './support/browser.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { answerEnded, answerShown, askAndSteer, askOnPage, useTransport } from './support/page.ts';
import { startNginx, startPrefixProxy } from './support/prefix-proxy.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { startShippedNginx } from './support/shipped-nginx.ts';
import { requires, requiresBrowser } from './support/skip.ts';

finishesCleanly();
const test = serviceForEachTest();

/** Asks over both transports, reloads, and goes back: everything that the page does with addresses. */
async function usePage(page: Page, root: string): Promise<void> {
  const { upstream } = test.current;
  for (const transport of ['WebSocket', 'SSE'] as const) {
    await page.getByRole('button', { name: 'New chat' }).click();
    expect(page.url()).toBe(root);
    await useTransport(page, transport);
    const request = await askAndSteer(page, upstream, `Over ${transport}`);
    await request.text('Half ');
    await answerShown(page, 'Half');
    await page.getByText(`live over ${transport}`).waitFor();
    expect(page.url()).toMatch(new RegExp(`^${root}#[-0-9a-f]{36}$`));
    await page.reload();
    await answerShown(page, 'Half');
    await request.text('and whole.');
    request.finish();
    await answerEnded(page);
    await answerShown(page, 'Half and whole.', { whole: true });
  }
  await page.getByRole('link', { name: 'Over WebSocket' }).click();
  await page.getByRole('heading', { name: 'Over WebSocket' }).waitFor();
  await page.goBack();
  await page.getByRole('heading', { name: 'Over SSE' }).waitFor();
  // Also its fonts and its icon.
  const failed = await page.evaluate(`
    document.fonts.ready.then(async () => [
      ...[...document.fonts].filter(({ status }) => status === 'error').map(({ family }) => family),
      ...[...document.images].filter(({ complete, naturalWidth }) => complete && naturalWidth === 0).map(({ src }) => src),
      ...((await fetch(document.querySelector('link[rel=icon]').href)).ok ? [] : ['icon']),
    ])`);
  expect(failed).toEqual([]);
}

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  it.each(['/', '/ai/', '/a/b/', '/a%20b/c.d/'])(
    'the page works under %s, of which a proxy takes the path off, and asks for nothing beside it',
    async (prefix) => {
      await using proxy = await startPrefixProxy(test.current.url, [prefix]);
      const page = await browser.open(proxy.url);
      await usePage(page, proxy.url);
      await page.close();
      const another = await browser.open(`${proxy.url}index.html`);
      await askOnPage(another, 'From its file');
      await answerEnded(another);
      await another.close();
      expect(proxy.strays.filter((path) => path !== '/favicon.ico')).toEqual([]);
    },
  );

  it('pages that stand under two paths of one name keep their conversations apart', async () => {
    await using proxy = await startPrefixProxy(test.current.url, ['/one/', '/two/']);
    const page = await browser.open(proxy.url);
    await askOnPage(page, 'Of the first');
    await answerEnded(page);
    const conversations = page.getByRole('navigation').getByRole('link');
    await page.goto(new URL('/two/', proxy.url).href);
    await page.getByRole('button', { name: 'New chat' }).waitFor();
    expect(await conversations.count()).toBe(0);
    await page.goto(proxy.url);
    await conversations.waitFor();
    await page.close();
  });

  it('where no WebSocket gets through, the page goes on over SSE, with the answer that it has begun', async () => {
    await using proxy = await startPrefixProxy(test.current.url, ['/ai/'], { upgrades: false });
    const page = await browser.open(proxy.url);
    const request = await askAndSteer(page, test.current.upstream, 'Is there a way?');
    await request.text('There is.');
    await answerShown(page, 'There is.');
    await page.getByText('live over SSE').waitFor();
    expect(await page.getByRole('radio', { name: 'SSE' }).isChecked()).toBe(true);
    request.finish();
    await answerEnded(page);
    expect(test.current.upstream.requestCount).toBe(1);
    await page.close();
  });

  requires('nginx')('behind nginx', () => {
    const upgrading = `proxy_http_version 1.1; proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;`;

    it('with the location that README shows, the page works, also without the slash at the end', async () => {
      const { url } = test.current;
      await using nginx = await startNginx(`location /a/b/ { proxy_pass ${url}/; ${upgrading} }`);
      const root = `${nginx.url}/a/b/`;
      const page = await browser.open(root.slice(0, -1));
      expect(page.url()).toBe(root);
      await usePage(page, root);
      await page.close();
    });

    it('with the file of deploy/, over TLS and under a path, the page works, and twenty answers of a tab run at once', async () => {
      const { url, upstream } = test.current;
      const port = Number(new URL(url).port);
      await using nginx = await startShippedNginx({ instances: [port, port], prefix: '/ai/' });
      const page = await browser.open(nginx.secureUrl, { ignoreHTTPSErrors: true });
      expect(page.url()).toBe(`${nginx.secureUrl}/`);
      await usePage(page, page.url());

      expect(await page.evaluate(`performance.getEntriesByType('navigation')[0].nextHopProtocol`)).toBe('h2');
      const answers = Array.from({ length: 20 }, () => ({ kind: 'manual' }) as const);
      upstream.enqueue(...answers);
      const body = JSON.stringify(JSON.stringify(ask('hi')));
      const read = page.evaluate<string[]>(`
        Promise.all(Array.from({ length: ${answers.length} }, async () => {
          const headers = { 'content-type': 'application/json' };
          const response = await fetch('api/llm/process_stream/default', { method: 'POST', headers, body: ${body} });
          return response.text();
        }))`);
      // Over HTTP/1.1 the seventh would wait in the browser, and never come here.
      const requests = [];
      for (const _ of answers) requests.push(await upstream.nextRequest());
      for (const request of requests) {
        await request.text('together');
        request.finish();
      }
      for (const text of await read) expect(text).toMatch(/"together".*"done"/s);
      await page.close();
    });

    it('that passes no upgrades on, the page goes on over SSE', async () => {
      const { url } = test.current;
      await using nginx = await startNginx(`location /ai/ { proxy_pass ${url}/; proxy_set_header Host $http_host; }`);
      const page = await browser.open(`${nginx.url}/ai/`);
      const request = await askAndSteer(page, test.current.upstream, 'Is there a way?');
      await request.text('There is.');
      await answerShown(page, 'There is.');
      await page.getByText('live over SSE').waitFor();
      request.finish();
      await answerEnded(page);
      await page.close();
    });
  });
});
