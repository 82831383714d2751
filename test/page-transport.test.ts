import { expect, it } from 'vitest';
import { browserForEachTest } from './support/browser.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { answerEnded, answerShown, askAndSteer, useTransport } from './support/page.ts';
import { serviceForEachTest } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';

finishesCleanly();
const test = serviceForEachTest();

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  it('the page uses WebSocket by default, and stays with SSE if that was chosen', async () => {
    const { url } = test.current;
    const page = await browser.open(url);
    expect(await page.getByRole('radio', { name: 'WebSocket' }).isChecked()).toBe(true);
    await useTransport(page, 'SSE');
    await page.reload();
    expect(await page.getByRole('radio', { name: 'SSE' }).isChecked()).toBe(true);
    const another = await browser.open(url);
    expect(await another.getByRole('radio', { name: 'SSE' }).isChecked()).toBe(true);
  });

  it('seven tabs run an answer each, and Stop gets through in every one', async () => {
    const { url, upstream } = test.current;
    const tabs = [];
    for (let count = 0; count < 7; count += 1) {
      const page = await browser.open(url);
      const request = await askAndSteer(page, upstream, `Question ${count}`);
      await request.text(`Answer ${count} `);
      await answerShown(page, `Answer ${count}`);
      tabs.push({ page, request });
    }
    for (const { page, request } of tabs) {
      await page.getByRole('button', { name: 'Stop' }).click();
      await page.getByText('Stopped.', { exact: true }).waitFor();
      expect(await request.outcome).toBe('client_closed');
    }
  });

  it('an answer goes on over the other transport when that is chosen, and the badge names the transport', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    const request = await askAndSteer(page, upstream, 'Count');
    let text = '';
    for (const transport of ['WebSocket', 'SSE', 'WebSocket'] as const) {
      await useTransport(page, transport);
      await page.getByText(`live over ${transport}`).waitFor();
      await request.text(`over ${transport} `);
      text += `over ${transport} `;
      await answerShown(page, text.trim());
    }
    request.finish();
    await answerEnded(page);
    await answerShown(page, text.trim(), { whole: true });
    expect(upstream.requestCount).toBe(1);
  });

  it('the badge is not green while the connection is lost', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    for (const transport of ['WebSocket', 'SSE'] as const) {
      await page.getByRole('button', { name: 'New chat' }).click();
      await useTransport(page, transport);
      const request = await askAndSteer(page, upstream, `Over ${transport}`);
      await request.text('Begun ');
      await answerShown(page, 'Begun');
      await page.evaluate(`
        states = [];
        const badge = document.querySelector('.conversation:not([hidden]) .badge');
        new MutationObserver(() => states.push(badge.dataset.state)).observe(badge, { attributeFilter: ['data-state'] });
      `);
      await page.getByRole('button', { name: 'Instruments' }).click();
      await page.getByRole('button', { name: 'Cut my connection' }).click();
      await page.getByText(/resumed after \d+ characters/).waitFor();
      expect(await page.evaluate('states')).toEqual(['reconnecting', 'live']);
      await page.getByRole('button', { name: 'Close instruments' }).click();
      request.finish();
      await answerEnded(page);
    }
  });
});
