/** The page shows what tools do, and lets the reader allow, deny and answer calls. */
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { clientTool, tool } from '../src/tools/tool.ts';
import { browserForEachTest } from './support/browser.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { answerEnded, answerShown, askOnPage } from './support/page.ts';
import { plainConfig, serviceForEachTest } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';

finishesCleanly();

const description = 'A tool of a test';
const input = z.object({ city: z.string() });
/** How often each tool was executed. */
const executions = { noonIn: 0, sendMail: 0 };
const test = serviceForEachTest({
  configs: {
    default: {
      ...plainConfig,
      tools: {
        noonIn: tool({
          description,
          input,
          output: z.object({ noon: z.string() }),
          execute: ({ city }) => {
            executions.noonIn += 1;
            return { noon: `12 in ${city}` };
          },
        }),
        sendMail: tool({
          description,
          input,
          output: z.object({ sent: z.boolean() }),
          approval: true,
          execute: () => {
            executions.sendMail += 1;
            return { sent: true };
          },
        }),
        pickFile: clientTool({ description, input, output: z.object({ name: z.string() }) }),
      },
    },
    extract: {
      ...plainConfig,
      output: {
        type: 'object',
        properties: { city: { type: 'string' } },
        required: ['city'],
        additionalProperties: false,
      },
    },
  },
});

/** What axe finds on the page: rule and place. */
async function violations(page: Page): Promise<string[]> {
  return page.evaluate(`${axe.source}; axe.run().then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ': ' + html + ' ' + failureSummary)))`);
}

const callOf = (page: Page, name: string) => page.locator('details', { has: page.getByText(name, { exact: true }) });

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  it('a call is a line that opens: its input and its result', async () => {
    const page = await browser.open(test.current.url);
    await askOnPage(page, '/sim tool');
    await answerEnded(page);
    const call = callOf(page, 'noonIn');
    expect(await call.locator('summary').innerText()).toBe('noonIn done');
    await call.locator('summary').click();
    expect(JSON.parse(await call.getByLabel('Input').innerText())).toEqual({ city: 'example' });
    expect(JSON.parse(await call.getByLabel('Result').innerText())).toEqual({ noon: '12 in example' });
    await answerShown(page, 'I will look that up.');
  });

  it('calls and results are there once after a reload, and what they said is asked again as paragraphs', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    await askOnPage(page, '/sim tools 2');
    await callOf(page, 'sendMail').getByRole('button', { name: 'Allow' }).waitFor();
    await page.reload();
    await callOf(page, 'sendMail').getByRole('button', { name: 'Allow' }).click();
    await answerEnded(page);
    await page.reload();
    await answerEnded(page);
    expect(await page.locator('details.tool').count()).toBe(2);
    await askOnPage(page, '/sim tool noonIn');
    await answerEnded(page);
    await askOnPage(page, 'And now?');
    await answerEnded(page);
    const [, , , said] = upstream.requests.at(-1)!.body.messages;
    expect(JSON.stringify(said)).toContain('I will look that up.\\n\\n');
  });

  it.each([
    ['Allow', 'sendMail done', 1],
    ['Deny', 'sendMail was denied', 0],
  ])('%s answers a call that waits for an approval, in every tab', async (button, state, executed) => {
    executions.sendMail = 0;
    const page = await browser.open(test.current.url);
    await askOnPage(page, '/sim tool sendMail');
    await callOf(page, 'sendMail').getByRole('button', { name: button }).waitFor();
    const other = await browser.open(page.url());
    await callOf(other, 'sendMail').getByRole('button', { name: button }).click();
    for (const each of [page, other]) {
      await answerEnded(each);
      expect(await callOf(each, 'sendMail').locator('summary').innerText()).toBe(state);
      expect(await callOf(each, 'sendMail').getByRole('button').count()).toBe(0);
    }
    expect(executions.sendMail).toBe(executed);
  });

  it.each(['light', 'dark'] as const)(
    'axe finds nothing in a call that waits, nor in its result (%s)',
    async (colorScheme) => {
      const page = await browser.open(test.current.url, { colorScheme });
      for (const name of ['sendMail', 'pickFile']) {
        await askOnPage(page, `/sim tool ${name}`);
        const button = callOf(page, name).getByRole('button', { name: /Deny|Decline/ });
        await button.waitFor();
        expect(await violations(page)).toEqual([]);
        await button.click();
        await answerEnded(page);
      }
      await callOf(page, 'sendMail').locator('summary').click();
      expect(await violations(page)).toEqual([]);
    },
  );

  it('a screen reader learns that a call waits', async () => {
    const page = await browser.open(test.current.url);
    await askOnPage(page, '/sim tool sendMail');
    await page.locator('output', { hasText: 'sendMail waits for you.' }).waitFor({ state: 'attached' });
  });

  it('the reader answers a tool of the client, and is told what does not fit', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    await askOnPage(page, '/sim tool pickFile');
    const call = callOf(page, 'pickFile');
    const field = call.getByRole('textbox');
    await field.fill('notes.txt');
    await call.getByRole('button', { name: 'Answer' }).click();
    await call.getByRole('alert').waitFor();
    await field.fill('{"name": "notes.txt"}');
    await call.getByRole('button', { name: 'Answer' }).click();
    await answerEnded(page);
    expect(JSON.stringify(upstream.requests[1]!.body.messages.at(-1))).toContain('notes.txt');
  });

  it('an answer that is an object is shown as JSON, in lines', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    await page.getByRole('combobox', { name: 'Config' }).selectOption('extract');
    upstream.enqueue({ kind: 'text', text: '{"city":"Oslo"}' });
    await askOnPage(page, 'Where?');
    await answerEnded(page);
    expect(await page.locator('pre.json').innerText()).toBe('{\n  "city": "Oslo"\n}');
  });
});
