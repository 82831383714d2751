import type { Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { browserForEachTest } from './support/browser.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { answerEnded, answerShown, askOnPage } from './support/page.ts';
import { serviceForEachTest } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';

finishesCleanly();
const test = serviceForEachTest();

/** Asks in a new chat. */
async function newChat(page: Page, prompt: string, answer: string): Promise<void> {
  test.current.upstream.enqueue({ kind: 'text', text: answer });
  await page.getByRole('button', { name: 'New chat' }).click();
  await askOnPage(page, prompt);
  await answerShown(page, answer);
  await answerEnded(page);
}

/** The conversations that the browser lists. */
function listed(page: Page): Promise<string[]> {
  return page.getByRole('navigation').getByRole('link').allInnerTexts();
}

/** Damaged forms of a value: each of its parts replaced by something else, and each part removed. */
function* damaged(value: unknown): Generator {
  yield* [null, 7, 'x', true, [], {}, [null], { x: 1 }];
  if (typeof value !== 'object' || value === null) return;
  const changed = (change: (copy: Record<string, unknown>) => void) => {
    const copy = structuredClone(value) as Record<string, unknown>;
    change(copy);
    return copy;
  };
  for (const [key, inner] of Object.entries(value)) {
    yield changed((copy) => (Array.isArray(copy) ? copy.splice(Number(key), 1) : delete copy[key]));
    for (const other of damaged(inner)) yield changed((copy) => (copy[key] = other));
  }
}

const told = 'could not be read';

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  it.each([
    ['nothing', ''],
    ['half a JSON', '{"theme":'],
    ['null', 'null'],
    ['a number', '7'],
    ['a text', '"text"'],
    ['an empty list', '[]'],
    ['an empty object', '{}'],
    ['a list of what it shouldn’t hold', '[null,7,"text",{},[],{"id":7,"turns":[]},{"id":"a","turns":[null,{}]}]'],
    ['an object of wrong types', '{"theme":7,"transport":{},"labOpen":"yes","parts":[null],"id":[],"turns":{}}'],
    [
      'parts of wrong types',
      '{"parts":[{"kind":"text","index":0,"text":null},{"kind":"block","index":0}],"terminal":{"type":"done"}}',
    ],
    ['a huge text', JSON.stringify('x'.repeat(1_000_000))],
    ['a deep list', '['.repeat(200_000) + ']'.repeat(200_000)],
  ])('an entry that holds %s costs what it held and no more', async (_, entry) => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    await newChat(page, 'Before', 'Kept.');
    await page.getByRole('radio', { name: 'Dark' }).check({ force: true });
    await page.evaluate(`
      sessionStorage.setItem('llm-service:1:key', '"key"');
      for (const storage of [localStorage, sessionStorage]) {
        for (const key of Object.keys(storage)) storage.setItem(key, ${JSON.stringify(entry)});
      }
    `);
    const opened = page.url();
    await page.goto('about:blank');
    await page.goto(opened);
    await page.getByText(told).waitFor();
    await newChat(page, 'After', 'Works.');
    await page.reload();
    await answerShown(page, 'Works.', { whole: true });
    expect(await listed(page)).toEqual(['After']);
    expect(upstream.requestCount).toBe(2);
  });

  it.each([
    ['is done', { kind: 'text', text: 'Words.' }],
    ['failed', { kind: 'fault', fault: 'clean_end', text: 'Half' }],
  ] as const)(
    'an answer that %s is shown or left out, whichever place of its entry is damaged',
    async (_, exchange) => {
      const { url, upstream } = test.current;
      const page = await browser.open(url);
      upstream.enqueue(exchange);
      await askOnPage(page, 'Hello');
      await answerEnded(page);
      const stored = await page.evaluate(`Object.entries(localStorage).find(([key]) => key.includes('answer:'))[1]`);
      const answer = JSON.parse(String(stored)) as { parts: unknown[] };
      answer.parts.push(
        { kind: 'thinking', index: 1, text: 'Hm.' },
        { kind: 'block', index: 2, block: { type: 'tool_use' } },
        {
          kind: 'call',
          index: 3,
          id: 'toolu_1',
          name: 'timeIn',
          state: 'failed',
          draft: '{"ci',
          input: { city: 'Oslo' },
          by: 'service',
          approval: true,
          error: { code: 'failed', message: 'No clock' },
        },
      );
      const answers = [
        ...damaged(answer),
        ...damaged({ status: 'error', parts: [], error: { code: 'conflict', message: '', retryable: true } }),
      ];
      expect(answers.length).toBeGreaterThan(200);
      await page.evaluate(`
      const key = Object.keys(localStorage).find((name) => name.endsWith('conversations'));
      const answerKey = Object.keys(localStorage).find((name) => name.includes('answer:'));
      const [conversation] = JSON.parse(localStorage.getItem(key));
      const [turn] = conversation.turns;
      conversation.turns = ${JSON.stringify(answers)}.map((answer, at) => {
        const generationId = turn.generationId.slice(0, -6) + String(at).padStart(6, '0');
        localStorage.setItem(answerKey.replace(turn.generationId, generationId), JSON.stringify(answer));
        return { ...turn, generationId };
      }).concat(turn);
      localStorage.setItem(key, JSON.stringify([conversation]));
    `);
      await page.reload();
      await answerEnded(page);
      expect(await page.locator('.turn').count()).toBe(answers.length + 1);
      await page.getByText(told).waitFor();
      await newChat(page, 'After', 'Works.');
      expect(upstream.requestCount).toBe(2);
    },
  );

  it('of a list of conversations, those that can be read are shown, and the reader is told of the others', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    await newChat(page, 'Sound', 'Kept.');
    const stored = await page.evaluate(
      `Object.entries(localStorage).find(([key]) => key.endsWith('conversations'))[1]`,
    );
    const [sound] = JSON.parse(String(stored)) as [{ turns: [object] }];
    const broken = [
      ...damaged({ ...sound, turns: [{ ...sound.turns[0], prompt: 'Broken', variables: { name: 'value' } }] }),
    ];
    expect(broken.length).toBeGreaterThan(50);
    await page.evaluate(`
      const key = Object.keys(localStorage).find((name) => name.endsWith('conversations'));
      localStorage.setItem(key, JSON.stringify([${JSON.stringify(sound)}, ...${JSON.stringify(broken)}]));
    `);
    await page.reload();
    await answerShown(page, 'Kept.', { whole: true });
    await page.getByText(told).waitFor();
    for (const link of await page.getByRole('navigation').getByRole('link').all()) {
      await link.click();
      await page.getByRole('heading', { name: await link.innerText(), exact: true }).waitFor();
    }
    expect((await listed(page)).filter((title) => title === 'Sound')).toHaveLength(1);
    expect(upstream.requestCount).toBe(1);
  });
});
