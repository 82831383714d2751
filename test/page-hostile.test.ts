import type { Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { browserForEachTest } from './support/browser.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { hostileMarkdown } from './support/hostile-markdown.ts';
import { answerEnded, answerShown, askAndSteer, askOnPage } from './support/page.ts';
import { serviceForEachTest } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';

finishesCleanly();
const test = serviceForEachTest();

const deep = `${'- '.repeat(2_000)}x`;

/** Stores answers in the browser: copies of the only one there, each with its own text. */
async function keepAnswers(page: Page, texts: readonly string[]): Promise<void> {
  await page.evaluate(`
    const key = Object.keys(localStorage).find((name) => name.endsWith('conversations'));
    const answerKey = Object.keys(localStorage).find((name) => name.includes('answer:'));
    const [conversation] = JSON.parse(localStorage.getItem(key));
    const [turn] = conversation.turns;
    const answer = JSON.parse(localStorage.getItem(answerKey));
    conversation.turns = ${JSON.stringify(texts)}.map((text, at) => {
      const generationId = turn.generationId.slice(0, -6) + String(at).padStart(6, '0');
      const kept = { ...answer, parts: [{ kind: 'text', index: 0, text }] };
      localStorage.setItem(answerKey.replace(turn.generationId, generationId), JSON.stringify(kept));
      return { ...turn, generationId, prompt: 'Question ' + at };
    });
    localStorage.setItem(key, JSON.stringify([conversation]));
  `);
  await page.reload();
}

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  it('an answer that is nested too deeply is shown as plain text each time, and everything else is shown as usual', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    upstream.enqueue({ kind: 'text', text: 'A **sound** answer.' });
    await askOnPage(page, 'First');
    await answerEnded(page);
    await upstream.nextRequest();
    const request = await askAndSteer(page, upstream, 'Second');
    for (let start = 0; start < deep.length; start += 500) await request.text(deep.slice(start, start + 500));
    request.finish();
    await answerEnded(page);
    for (let opening = 0; opening < 2; opening += 1) {
      await answerShown(page, deep, { whole: true });
      expect(await page.locator('.turn strong').allInnerTexts()).toEqual(['sound']);
      await page.reload();
    }
    upstream.enqueue({ kind: 'text', text: 'Still here.' });
    await askOnPage(page, 'Third');
    await answerShown(page, 'Still here.', { whole: true });
  });

  it('a conversation of hundreds of hostile answers opens, stays shallow, and goes on', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    await askOnPage(page, 'Hello');
    await answerEnded(page);
    const texts = [...hostileMarkdown(1_000).values()];
    expect(texts.length).toBeGreaterThan(300);
    await keepAnswers(page, texts);
    await page
      .locator('.turn .markdown')
      .nth(texts.length - 1)
      .waitFor();
    const depth = await page.evaluate(`
      Math.max(...[...document.querySelectorAll('.markdown *')].map((element) => {
        let depth = 0;
        for (let each = element; !each.matches('.markdown'); each = each.parentElement) depth += 1;
        return depth;
      }))`);
    expect(depth).toBeLessThan(40);
    upstream.enqueue({ kind: 'text', text: 'Still here.' });
    await askOnPage(page, 'And now?');
    await answerShown(page, 'Still here.', { whole: true });
  });

  it('an answer whose view throws is shown as plain text, and the others are shown as usual', async () => {
    const { url } = test.current;
    const page = await browser.open(url);
    await askOnPage(page, 'Hello');
    await answerEnded(page);
    // Renders something that throws.
    await page.addInitScript(`
      const { toLocaleString } = Number.prototype;
      Number.prototype.toLocaleString = function (...args) {
        if (Number(this) === 424242) throw new Error('broken');
        return toLocaleString.apply(this, args);
      };
    `);
    await keepAnswers(page, ['One *two*', 'Three **four**', 'Five *six*']);
    await page.evaluate(`
      const key = Object.keys(localStorage).find((name) => name.endsWith('000001'));
      const answer = JSON.parse(localStorage.getItem(key));
      answer.terminal.usage.outputTokens = 424242;
      localStorage.setItem(key, JSON.stringify(answer));
    `);
    await page.reload();
    await page.getByText('Three **four**').waitFor();
    expect(await page.locator('.turn .markdown').allInnerTexts()).toEqual(['One two', 'Three **four**', 'Five six']);
    expect(await page.locator('.turn .stats').count()).toBe(2);
  });

  it('a page that breaks as a whole says so, and offers to start again', async () => {
    const { url } = test.current;
    const page = await browser.open(url);
    const broken = 'if (location.hash) Array.prototype.toSorted = () => { throw new Error("broken"); };';
    await page.addInitScript(broken);
    await page.goto(`${url}#a-conversation`);
    await page.reload();
    await page.getByRole('heading', { name: 'This page has stopped working' }).waitFor();
    await page.getByRole('button', { name: 'New chat' }).click();
    await page.getByRole('heading', { name: 'The answer survives' }).waitFor();
  });
});
