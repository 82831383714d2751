import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { browserForEachTest } from './support/browser.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { answerEnded, answerShown, askOnPage, composer, log, useTransport, askAndSteer } from './support/page.ts';
import { serviceForEachTest, startTestService } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();
const test = serviceForEachTest();

const anonymous = { name: 'anonymous' };
const words = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `word${from + index} `).join('');

/** The service's snapshot of the newest answer. */
async function kept() {
  const { generations } = test.current.service.core;
  const [newest] = await generations.list(anonymous);
  return generations.snapshot(anonymous, newest!.generationId);
}

async function pxToBottom(page: Page): Promise<number> {
  return log(page).evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
}

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  describe.each(['SSE', 'WebSocket'] as const)('over %s', (transport) => {
    it('an answer streams as it comes, and Escape stops it and its call upstream', async () => {
      const { url, upstream } = test.current;
      const page = await browser.open(url);
      await useTransport(page, transport);
      const request = await askAndSteer(page, upstream, 'Say something');
      await request.text('First words, ');
      await answerShown(page, 'First words,');
      await request.text('and more.');
      await answerShown(page, 'First words, and more.');

      await page.keyboard.press('Escape');
      await page.getByText('Stopped.', { exact: true }).waitFor();
      expect(await request.outcome).toBe('client_closed');
      expect((await kept()).terminal).toMatchObject({ type: 'cancelled', reason: 'requested' });
      await answerShown(page, 'First words, and more.');
    });

    it('a reload in mid-answer goes on where it was, with every token once', async () => {
      const { url, upstream } = test.current;
      const page = await browser.open(url);
      await useTransport(page, transport);
      const request = await askAndSteer(page, upstream, 'Count');
      await request.text(words(0, 50));
      await answerShown(page, 'word49');
      await page.reload();
      await answerShown(page, 'word49');
      await request.text(words(50, 80));
      await answerShown(page, 'word79');
      await page.reload();
      await request.text(words(80, 100));
      request.finish();
      await answerEnded(page);

      const { text } = await kept();
      expect(text).toBe(words(0, 100));
      await answerShown(page, text.trim(), { whole: true });
      expect(upstream.requestCount).toBe(1);
      // And once more, from what this browser has stored of it.
      await page.reload();
      await answerShown(page, text.trim(), { whole: true });
    });

    it('a connection that is cut five times in one answer loses no word, and the badge shows it', async () => {
      const { url, upstream } = test.current;
      await using proxy = await startTcpProxy(url);
      const page = await browser.open(proxy.url);
      await useTransport(page, transport);
      const request = await askAndSteer(page, upstream, 'Count');
      for (let cut = 0; cut < 5; cut += 1) {
        await request.text(words(cut * 10, cut * 10 + 10));
        await answerShown(page, `word${cut * 10 + 9}`);
        // The connection stays lost until the test has seen the badge, however soon the page reconnects.
        proxy.pause();
        proxy.cut();
        await page.getByText('The connection is lost. Reconnecting…').waitFor();
        proxy.resume();
      }
      await request.text(words(50, 60));
      await answerShown(page, 'word59');
      await page.getByText(/resumed after \d+ characters, 5 times/).waitFor();
      request.finish();
      await answerEnded(page);
      await answerShown(page, (await kept()).text.trim(), { whole: true });
      expect(upstream.requestCount).toBe(1);
      await page.close();
    });

    it('a second tab on the same conversation shows the same running answer', async () => {
      const { url, upstream } = test.current;
      const first = await browser.open(url);
      await useTransport(first, transport);
      const request = await askAndSteer(first, upstream, 'Count');
      await request.text(words(0, 10));
      await answerShown(first, 'word9');
      const second = await browser.open(first.url());
      await answerShown(second, 'word9');
      await request.text(words(10, 20));
      for (const page of [first, second]) await answerShown(page, 'word19');

      // A question in one tab appears in the other, too.
      request.finish();
      await answerEnded(first);
      upstream.enqueue({ kind: 'text', text: 'A second answer.' });
      await askOnPage(first, 'And now?');
      for (const page of [first, second]) await answerShown(page, 'A second answer.');
      expect(upstream.requestCount).toBe(2);
    });

    it('the button that cuts the connection breaks it, and the answer comes back', async () => {
      const { url, upstream } = test.current;
      const page = await browser.open(url);
      await useTransport(page, transport);
      const request = await askAndSteer(page, upstream, 'Count');
      await request.text(words(0, 10));
      await answerShown(page, 'word9');
      await page.getByRole('button', { name: 'Instruments' }).click();
      await page.getByRole('button', { name: 'Cut my connection' }).click();
      await page.getByText(/resumed after \d+ characters/).waitFor();
      await request.text(words(10, 20));
      request.finish();
      await answerEnded(page);
      await answerShown(page, words(0, 20).trim(), { whole: true });
    });
  });

  it('Shift+Enter breaks the line, a composition’s Enter does nothing, and ArrowUp brings back what was said', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    const message = composer(page);
    await message.fill('one');
    await message.press('Shift+Enter');
    await message.pressSequentially('two');
    await message.dispatchEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true });
    await message.press('Enter');
    await answerShown(page, 'Hello!');
    expect(upstream.requests.map(({ body }) => body.messages)).toEqual([[{ role: 'user', content: 'one\ntwo' }]]);
    await answerEnded(page);
    await message.press('ArrowUp');
    expect(await message.inputValue()).toBe('one\ntwo');
    await message.press('ArrowDown');
    expect(await message.inputValue()).toBe('');
  });

  it('the last message can be edited and its answer asked for anew', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    upstream.enqueue({ kind: 'text', text: 'Answer one.' }, { kind: 'text', text: 'Answer two.' });
    await askOnPage(page, 'Question one');
    await answerShown(page, 'Answer one.');
    await page.getByRole('button', { name: 'Regenerate' }).click();
    await answerShown(page, 'Answer two.');
    await page.getByRole('button', { name: 'Edit message' }).click();
    upstream.enqueue({ kind: 'text', text: 'Answer three.' });
    await page.getByLabel('Edited message').fill('Question two');
    await page.getByLabel('Edited message').press('Enter');
    await answerShown(page, 'Answer three.', { whole: true });
    expect(upstream.requests.map(({ body }) => body.messages.at(-1)!.content)).toEqual([
      'Question one',
      'Question one',
      'Question two',
    ]);
    expect(await page.getByText('Question one').count()).toBe(0);
  });

  it('a config with a variable asks for it, and sends the earlier messages, too', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    upstream.enqueue({ kind: 'text', text: 'First.' }, { kind: 'text', text: 'Second.' });
    await askOnPage(page, 'Hello');
    await answerShown(page, 'First.');
    await page.getByLabel('Config').selectOption('tutor');
    await composer(page).fill('Teach me');
    expect(await page.getByRole('button', { name: 'Send' }).isDisabled()).toBe(true);
    await page.getByLabel('subject').fill('knots');
    await composer(page).press('Enter');
    await answerShown(page, 'Second.');
    expect(upstream.requests[1]!.body).toMatchObject({
      system: expect.anything(),
      messages: [
        { role: 'user', content: 'Hello' },
        { role: 'assistant', content: 'First.' },
        { role: 'user', content: 'Teach me' },
      ],
    });
    expect(JSON.stringify(upstream.requests[1]!.body)).toContain('You teach knots.');
  });

  it('an error says what happened and whether trying again helps, and trying again does', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    upstream.enqueue(
      { kind: 'fault', fault: 'clean_end', text: 'Half an ans' },
      { kind: 'text', text: 'A whole answer.' },
    );
    await askOnPage(page, 'Go');
    await page.getByRole('heading', { name: 'The answer was cut short' }).waitFor();
    await answerShown(page, 'Half an ans');
    await page.getByRole('button', { name: 'Try again' }).click();
    await answerShown(page, 'A whole answer.', { whole: true });
  });

  it('an answer goes on while another conversation is looked at', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    upstream.enqueue({ kind: 'manual' }, { kind: 'text', text: 'Elsewhere.' });
    await askOnPage(page, 'Long one');
    const request = await upstream.nextRequest();
    await request.text('Begun ');
    await answerShown(page, 'Begun');
    await page.getByRole('button', { name: 'New chat' }).click();
    await askOnPage(page, 'Short one');
    await answerShown(page, 'Elsewhere.', { whole: true });
    await request.text('and ended.');
    request.finish();
    expect(await request.outcome).toBe('completed');
    await page.getByRole('link', { name: 'Long one' }).click();
    await answerShown(page, 'Begun and ended.', { whole: true });
    expect(upstream.requestCount).toBe(2);
  });

  it('a service with keys gets a key that only this tab stores', async () => {
    const key = 'a-key-for-the-page';
    const sha256 = createHash('sha256').update(key).digest('hex');
    await using keyed = await startTestService({ env: { LLM_API_KEYS: `page:${sha256}` } });
    const page = await browser.open(keyed.url);
    await page.getByLabel('Key').fill('not-the-key');
    await page.getByRole('button', { name: 'Go on' }).click();
    await page.getByText('The service doesn’t know this key.').waitFor();
    await page.getByLabel('Key').fill(key);
    await page.getByRole('button', { name: 'Go on' }).click();
    for (const transport of ['WebSocket', 'SSE'] as const) {
      await useTransport(page, transport);
      await askOnPage(page, 'Hello');
      await answerEnded(page);
    }
    await page.reload();
    await composer(page).waitFor();
    expect(await page.evaluate('JSON.stringify({ ...localStorage })')).not.toContain(key);
    const another = await browser.open(keyed.url);
    await another.getByRole('heading', { name: 'This service needs a key' }).waitFor();
    // The connections of the page end before the service does.
    await page.close();
    await another.close();
  });

  it('the view stays at the bottom unless the reader has scrolled up', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    const request = await askAndSteer(page, upstream, 'Long one');
    await request.text(Array.from({ length: 60 }, (_, line) => `Line ${line}\n\n`).join(''));
    await page.getByText('Line 59', { exact: true }).waitFor();
    await expect.poll(() => pxToBottom(page)).toBeLessThan(2);
    await log(page).hover();
    // Scrolling is animated, so the listener must be there before the wheel turns.
    const scrolled = await log(page).evaluateHandle((box) => {
      return { end: new Promise((resolve) => box.addEventListener('scrollend', resolve, { once: true })) };
    });
    await page.mouse.wheel(0, -800);
    await scrolled.evaluate(({ end }) => end.then(() => undefined));
    await page.getByRole('button', { name: 'Latest' }).waitFor();
    const top = await log(page).evaluate((box) => box.scrollTop);
    await request.text('Line 60\n\nLine 61\n\n');
    await answerShown(page, 'Line 61');
    expect(await log(page).evaluate((box) => box.scrollTop)).toBe(top);
    await page.getByRole('button', { name: 'Latest' }).click();
    await expect.poll(() => pxToBottom(page)).toBeLessThan(2);
    request.finish();
  });
});

describe('what is served', () => {
  it('the page’s script is at most 180 kB, gzipped', () => {
    const folder = 'client-example/dist/assets';
    const scripts = readdirSync(folder).filter((name) => name.endsWith('.js'));
    const bytes = scripts.reduce((sum, name) => sum + gzipSync(readFileSync(`${folder}/${name}`)).length, 0);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThanOrEqual(180_000);
  });

  it('no script contains a prompt or zod, and the page’s policy allows no inline code and no other services', async () => {
    const folder = 'client-example/dist/assets';
    const scripts = readdirSync(folder).filter((name) => name.endsWith('.js'));
    for (const name of scripts) {
      const text = readFileSync(`${folder}/${name}`, 'utf8');
      expect(text).not.toContain('You are a patient tutor');
      expect(text).not.toContain('ZodError');
    }
    const response = await fetch(test.current.url);
    const policy = response.headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("connect-src 'self'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    expect(await response.text()).not.toMatch(/<style|<script>|\son\w+=/);
  });

  it('files under a hashed name are kept for ever, the page itself is asked for anew', async () => {
    const page = await fetch(test.current.url);
    expect(page.headers.get('cache-control')).toBe('no-cache');
    const script = /src="([^"]+)"/.exec(await page.text())![1]!;
    const response = await fetch(new URL(script, test.current.url));
    await response.arrayBuffer();
    const { headers } = response;
    expect(headers.get('cache-control')).toContain('immutable');
    expect(headers.get('content-type')).toContain('javascript');
  });
});
