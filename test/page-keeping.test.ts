import type { BrowserContext, Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { browserForEachTest, type TestBrowser } from './support/browser.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { answerEnded, answerShown, askAndSteer, askOnPage } from './support/page.ts';
import { serviceForEachTest, startTestService } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();
const test = serviceForEachTest();

/**
 * Asks with a text that is set in the field at once. The field is hidden meanwhile, because a browser takes long to lay
 * out millions of characters, and a busy machine takes longer than any time limit.
 */
async function pasteAndAsk(page: Page, text: string): Promise<void> {
  const field = `document.querySelector('.conversation:not([hidden]) .composer textarea')`;
  await page.evaluate(`
    const field = ${field};
    field.style.display = 'none';
    const { set } = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value');
    set.call(field, ${JSON.stringify(text)});
    field.dispatchEvent(new Event('input', { bubbles: true }));
  `);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.evaluate(`${field}.style.display = ''`);
}

async function newChat(page: Page, prompt: string, answer: string): Promise<void> {
  test.current.upstream.enqueue({ kind: 'text', text: answer });
  await page.getByRole('button', { name: 'New chat' }).click();
  await askOnPage(page, prompt);
  await test.current.upstream.nextRequest();
  await answerShown(page, answer);
  await answerEnded(page);
}

/** The conversations that the browser lists. */
function listed(page: Page): Promise<string[]> {
  return page.getByRole('navigation').getByRole('link').allInnerTexts();
}

/**
 * A profile in whose tabs time stands still until a test moves it, so that the age of a question doesn’t depend on the
 * machine.
 */
async function timelessProfile(browser: TestBrowser): Promise<BrowserContext> {
  const context = await browser.profile();
  await context.clock.setFixedTime(Date.now());
  return context;
}

/** The procedures that pages call over WebSocket, in order. They are held back while `through` is false. */
async function watchSockets(context: BrowserContext) {
  const watch = { asked: [] as string[], through: true };
  await context.routeWebSocket(/trpc/, (socket) => {
    // A socket that was opened while nothing got through stays blocked, as a connection in a tunnel does.
    const server = watch.through ? socket.connectToServer() : undefined;
    socket.onMessage((message) => {
      const { params } = (String(message).startsWith('{') ? JSON.parse(String(message)) : {}) as {
        params?: { path?: string };
      };
      if (params?.path !== undefined) watch.asked.push(params.path);
      server?.send(message);
    });
  });
  return watch;
}

const noRoom = 'There is no room in your browser to keep this chat';
const keepsNothing = 'Your browser doesn’t let this page store anything.';
const megabytes = (count: number) => 'All work and no play.\n'.repeat((count * 1024 * 1024) / 22);

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  it('a message that is too large to keep takes no other conversation’s place, and the reader is told', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    await newChat(page, 'First question', 'First answer.');
    await newChat(page, 'Second question', 'Second answer.');

    upstream.enqueue({ kind: 'text', text: 'That was long.' });
    await page.getByRole('button', { name: 'New chat' }).click();
    await pasteAndAsk(page, megabytes(6));
    await answerShown(page, 'That was long.');
    await page.getByText(noRoom).waitFor();
    await page.reload();
    await page.getByRole('link', { name: 'First question' }).waitFor();
    expect(await listed(page)).toEqual(['Second question', 'First question']);
    for (const [question, answer] of [
      ['First question', 'First answer.'],
      ['Second question', 'Second answer.'],
    ] as const) {
      await page.getByRole('link', { name: question }).click();
      await answerShown(page, answer, { whole: true });
    }
    expect(upstream.requestCount).toBe(3);
  });

  it('a turn that is too large leaves its conversation as it was, and deleting another makes room', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    await newChat(page, 'To be deleted', 'Short.');
    upstream.enqueue({ kind: 'text', text: 'Long.' });
    await pasteAndAsk(page, megabytes(2.5));
    await answerShown(page, 'Long.');
    await newChat(page, 'A chat', 'Its answer.');
    expect(await page.getByText(noRoom).count()).toBe(0);

    upstream.enqueue({ kind: 'text', text: 'Longer.' });
    await pasteAndAsk(page, megabytes(3));
    await answerShown(page, 'Longer.');
    await page.getByText(noRoom).waitFor();
    // Another tab has the stored state.
    const another = await browser.open(page.url());
    await answerShown(another, 'Its answer.', { whole: true });
    await page.getByRole('button', { name: 'Delete “To be deleted”' }).click();
    await page.getByText(noRoom).waitFor({ state: 'detached' });
    await answerShown(another, 'Longer.');
    await page.reload();
    await answerShown(page, 'Longer.', { whole: true });
    expect(upstream.requestCount).toBe(4);
  });

  it('opening a conversation starts nothing, whatever happened to its answer here and on the service', async () => {
    await using proxy = await startTcpProxy(test.current.url);
    const { upstream } = test.current;
    const page = await browser.open(proxy.url);
    await newChat(page, 'Whole', 'A whole answer.');
    await newChat(page, 'Lost here', 'Not kept in the browser.');
    await newChat(page, 'Garbled here', 'Not readable in the browser.');
    await page.getByRole('button', { name: 'New chat' }).click();
    const request = await askAndSteer(page, upstream, 'Half');
    await request.text('Half an ');
    await answerShown(page, 'Half an');
    await page.evaluate(`
      dispatchEvent(new Event('pagehide'));
      for (const [key, value] of Object.entries(localStorage)) {
        if (value.includes('Not kept')) localStorage.removeItem(key);
        if (value.includes('Not readable')) localStorage.setItem(key, '{"parts":7}');
      }
    `);

    // Without its memory, the service treats each id as one that it has never seen.
    await using restarted = await startTestService();
    proxy.retarget(restarted.url);
    proxy.cut();
    await page.getByRole('heading', { name: 'The answer is no longer kept' }).waitFor();
    await answerShown(page, 'Half an', { whole: true });
    await page.reload();
    for (const question of ['Whole', 'Lost here', 'Garbled here', 'Half']) {
      await page.getByRole('link', { name: question }).click();
      if (question === 'Whole') await answerShown(page, 'A whole answer.', { whole: true });
      if (question === 'Half') await answerShown(page, 'Half an', { whole: true });
      if (question.endsWith('here')) await page.getByRole('heading', { name: 'There is no answer here' }).waitFor();
    }
    await page.goBack();
    await page.goBack();
    await page.getByRole('heading', { name: 'There is no answer here' }).waitFor();
    const another = await browser.open(page.url());
    await another.getByRole('heading', { name: 'There is no answer here' }).waitFor();
    expect(restarted.upstream.requestCount).toBe(0);

    // The person’s own action starts an answer, and only one.
    restarted.upstream.enqueue({ kind: 'text', text: 'A second answer.' });
    await another.getByRole('button', { name: 'Try again' }).click();
    await answerShown(another, 'A second answer.');
    expect(restarted.upstream.requestCount).toBe(1);
    await page.close();
    await another.close();
  });

  it('a reload right after asking sends the unconfirmed question once more, under the same id', async () => {
    const { url, upstream } = test.current;
    const context = await timelessProfile(browser);
    const watch = await watchSockets(context);
    const page = await context.newPage();
    await page.goto(url);
    watch.through = false;
    await askOnPage(page, 'Are you there?');
    await eventually(() => expect(watch.asked).toEqual(['llm.stream']));
    // Another tab only ever follows it.
    const another = await context.newPage();
    await another.goto(page.url());
    await eventually(() => expect(watch.asked).toContain('llm.follow'));
    watch.through = true;
    upstream.enqueue({ kind: 'text', text: 'I am.' });
    await page.reload();
    await answerShown(page, 'I am.');
    await answerEnded(page);
    expect(watch.asked.filter((path) => path === 'llm.stream')).toHaveLength(2);
    expect(upstream.requestCount).toBe(1);
    await page.reload();
    await answerShown(page, 'I am.', { whole: true });
    expect(watch.asked.filter((path) => path === 'llm.stream')).toHaveLength(2);
    await context.close();
  });

  it('an old question that was never confirmed is sent again only by the person', async () => {
    const { url, upstream } = test.current;
    const context = await timelessProfile(browser);
    const watch = await watchSockets(context);
    const page = await context.newPage();
    await page.goto(url);
    watch.through = false;
    await askOnPage(page, 'Are you there?');
    await eventually(() => expect(watch.asked).toEqual(['llm.stream']));
    watch.through = true;
    await context.clock.setFixedTime(Date.now() + 10 * 60_000);
    await page.reload();
    await page.getByRole('heading', { name: 'There is no answer here' }).waitFor();
    expect(watch.asked).toEqual(['llm.stream', 'llm.follow']);
    expect(upstream.requestCount).toBe(0);
    upstream.enqueue({ kind: 'text', text: 'I am.' });
    await page.getByRole('button', { name: 'Try again' }).click();
    await answerShown(page, 'I am.', { whole: true });
    expect(upstream.requestCount).toBe(1);
    await context.close();
  });

  it('a page that was frozen with an unconfirmed question leaves it to the person, too', async () => {
    const { url, upstream } = test.current;
    const context = await timelessProfile(browser);
    const watch = await watchSockets(context);
    const page = await context.newPage();
    await page.goto(url);
    watch.through = false;
    await askOnPage(page, 'Are you there?');
    await eventually(() => expect(watch.asked).toEqual(['llm.stream']));
    watch.through = true;
    await context.clock.setFixedTime(Date.now() + 10 * 60_000);
    // As a browser does when it restores a page from its cache.
    await page.evaluate(`dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))`);
    await page.getByRole('heading', { name: 'No connection to the service' }).waitFor();
    expect(watch.asked).toEqual(['llm.stream']);
    upstream.enqueue({ kind: 'text', text: 'I am.' });
    // The person’s own action, on a connection that works.
    await page.getByRole('radio', { name: 'SSE' }).check({ force: true });
    await page.getByRole('button', { name: 'Reconnect' }).click();
    await answerShown(page, 'I am.', { whole: true });
    expect(upstream.requestCount).toBe(1);
    await context.close();
  });

  it('a tab waits for a question that another tab has just asked', async () => {
    const { url, upstream } = test.current;
    const context = await timelessProfile(browser);
    const watch = await watchSockets(context);
    const page = await context.newPage();
    await page.goto(url);
    watch.through = false;
    await askOnPage(page, 'Slow to arrive');
    await eventually(() => expect(watch.asked).toEqual(['llm.stream']));
    watch.through = true;
    const another = await context.newPage();
    await another.goto(page.url());
    await eventually(() => expect(watch.asked.filter((path) => path === 'llm.follow').length).toBeGreaterThan(1));
    upstream.enqueue({ kind: 'text', text: 'Here it is.' });
    await page.reload();
    for (const tab of [page, another]) await answerShown(tab, 'Here it is.', { whole: true });
    expect(upstream.requestCount).toBe(1);
    await context.close();
  });

  describe('in a browser that stores nothing', () => {
    const denied = `{ get() { throw new DOMException('Access is denied for this document.', 'SecurityError'); } }`;
    const full = `() => { throw new DOMException('The quota has been exceeded.', 'QuotaExceededError'); }`;
    it.each([
      [
        'access to all site data throws',
        `for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches']) Object.defineProperty(window, name, ${denied});
         Object.defineProperty(document, 'cookie', ${denied});`,
      ],
      [
        'its storages are null',
        `for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { value: null });`,
      ],
      ['its storages take nothing', `Storage.prototype.setItem = ${full};`],
      [
        'its storages can’t even be read',
        `for (const name of ['getItem', 'setItem', 'removeItem', 'key']) Storage.prototype[name] = ${full};`,
      ],
    ])('since %s, the page works and says so', async (_, script) => {
      const { url, upstream } = test.current;
      const context = await browser.profile();
      await context.addInitScript(script);
      const page = await context.newPage();
      await page.goto(url);
      await page.getByText(keepsNothing).waitFor();
      await newChat(page, 'First question', 'First answer.');
      await newChat(page, 'Second question', 'Second answer.');
      await page.getByRole('link', { name: 'First question' }).click();
      await answerShown(page, 'First answer.', { whole: true });
      await page.getByRole('radio', { name: 'SSE' }).check({ force: true });
      await page.getByRole('radio', { name: 'Dark' }).check({ force: true });
      upstream.enqueue({ kind: 'text', text: 'Third answer.' });
      await askOnPage(page, 'And on');
      await answerShown(page, 'Third answer.', { whole: true });
      expect(await page.getByText(noRoom).count()).toBe(0);
      await page.getByRole('button', { name: 'Delete “First question”' }).click();
      await page.reload();
      await page.getByText(keepsNothing).waitFor();
      expect(await listed(page)).toEqual([]);
      await page.getByRole('button', { name: 'Dismiss' }).click();
      expect(await page.getByText(keepsNothing).count()).toBe(0);
      expect(upstream.requestCount).toBe(3);
      await context.close();
    });

    it('because the storage fills up in mid-answer, the answer goes on and says that it is not stored', async () => {
      const { url, upstream } = test.current;
      const page = await browser.open(url);
      const request = await askAndSteer(page, upstream, 'Go on');
      await request.text('Begun ');
      await answerShown(page, 'Begun');
      await page.evaluate(`Storage.prototype.setItem = ${full}`);
      await request.text('and ended.');
      request.finish();
      await answerEnded(page);
      await answerShown(page, 'Begun and ended.', { whole: true });
      await page.getByText('There is no room in your browser to keep this answer.').waitFor();
      // The service still has what this browser lost.
      await page.reload();
      await answerShown(page, 'Begun and ended.', { whole: true });
      expect(upstream.requestCount).toBe(1);
    });
  });
});
