/**
 * Requests that a real browser sends for a page of another site start nothing, also if they don't say which site the
 * page is from.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { browserForEachTest } from './support/browser.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';

finishesCleanly();
const test = serviceForEachTest({ env: { LLM_ALLOWED_HOSTS: 'ours.test' } });

const input = JSON.stringify({ json: ask('hi') });
const streamAt = (origin: string) => `${origin}/trpc/llm.stream?input=${encodeURIComponent(input)}`;
/** Plain http, and a name for which browsers send no Sec-Fetch headers. */
const named = () => test.current.url.replace('127.0.0.1', 'ours.test');

/** Everything that a page can make the browser load, each waited for to its end. */
const loadByEveryWay = `async (url) => {
  const ended = (element, parent = document.body) => new Promise((resolve) => {
    element.onload = element.onerror = resolve;
    parent.append(element);
  });
  const made = (tag, fields) => Object.assign(document.createElement(tag), fields);
  const plain = url.replace(/\\?.*/, '');
  const form = made('form', { action: plain, target: 'frame' });
  form.append(made('input', { name: 'input', value: new URL(url).searchParams.get('input') }));
  const frame = made('iframe', { name: 'frame' });
  await ended(frame);
  document.body.append(form);
  const submitted = new Promise((resolve) => (frame.onload = resolve));
  form.submit();
  await Promise.all([
    submitted,
    ...['img', 'script', 'iframe'].map((tag) => ended(made(tag, { src: url }))),
    ended(made('link', { rel: 'stylesheet', href: url }), document.head),
    ...['no-referrer', 'unsafe-url'].map((referrerPolicy) =>
      fetch(url, { mode: 'no-cors', headers: { accept: 'text/event-stream' }, referrerPolicy }).catch(() => {})),
    fetch(url).catch(() => {}),
    fetch(plain, { method: 'POST', mode: 'no-cors', body: ${JSON.stringify(input)} }).catch(() => {}),
    new Promise((resolve) => (new EventSource(url).onerror = resolve)),
  ]);
}`;

/** The text of the answer, or the code of the refusal. */
const askByEventSource = `(url) => new Promise((resolve) => {
  const source = new EventSource(url);
  const end = (told) => (source.close(), resolve(told));
  source.onmessage = ({ data }) => data.includes('"done"') && end('done');
  source.addEventListener('serialized-error', ({ data }) => end(data));
})`;

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  it('nothing that a page of another site loads or opens starts a generation', async () => {
    const { url, upstream } = test.current;
    const evil = createServer((_request, response) => response.setHeader('content-type', 'text/html').end('<p>hello'));
    await once(evil.listen(0, '127.0.0.1'), 'listening');
    const profile = await browser.profile();
    // About the refusals that it gets.
    profile.removeAllListeners('console').removeAllListeners('weberror');
    const page = await profile.newPage();
    const evilUrl = `http://evil.test:${(evil.address() as AddressInfo).port}/`;
    for (const target of [named(), url, url.replace('127.0.0.1', 'localhost')].map(streamAt)) {
      await page.goto(evilUrl);
      await page.evaluate(`(${loadByEveryWay})(${JSON.stringify(target)})`);
      // A link, and an address that somebody types.
      await Promise.all([page.waitForURL(target), page.evaluate(`location.href = ${JSON.stringify(target)}`)]);
      await page.goto(target);
    }
    expect(upstream.requestCount).toBe(0);
    await profile.close();
    evil.closeAllConnections();
    evil.close();
  });

  it('an EventSource of its own page starts one', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'text', text: 'hello' });
    for (const origin of [named(), url]) {
      const page = await browser.open(`${origin}/healthz`);
      expect(await page.evaluate(`(${askByEventSource})(${JSON.stringify(streamAt(origin))})`)).toBe('done');
    }
    expect(upstream.requestCount).toBe(2);
  });
});
