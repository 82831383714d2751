import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { browserForEachTest } from './support/browser.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { answerEnded, answerShown, askOnPage, askAndSteer } from './support/page.ts';
import { serviceForEachTest } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';

finishesCleanly();
const test = serviceForEachTest();

/** What axe finds on the current page: rule and place. */
async function violations(page: Page): Promise<string[]> {
  return page.evaluate(`${axe.source}; axe.run().then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ': ' + html + ' ' + failureSummary)))`);
}

const answer = `## A heading

Some **bold** text with \`code\`, a [link](https://example.com) and a table:

| code | retry |
| --- | --- |
| \`upstream_overloaded\` | yes |

\`\`\`ts
const answer = 42;
\`\`\`
`;

const windows = { wide: { width: 1280, height: 820 }, phone: { width: 390, height: 800 } };

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  describe.each(['light', 'dark'] as const)('in %s', (colorScheme) => {
    it.each(Object.entries(windows))(
      'axe finds nothing at the start, while an answer streams, when it fails and when it is done (%s)',
      async (_, viewport) => {
        const { url, upstream } = test.current;
        const page = await browser.open(url, { colorScheme, viewport });
        await page.getByRole('heading', { name: 'The answer survives' }).waitFor();
        expect(await violations(page)).toEqual([]);

        const request = await askAndSteer(page, upstream, 'Show me');
        await request.text(answer);
        await answerShown(page, 'const answer = 42;');
        await page.getByRole('button', { name: 'Instruments' }).click();
        expect(await violations(page)).toEqual([]);
        request.finish();
        await answerEnded(page);
        await page.getByRole('button', { name: 'Close instruments' }).click();
        expect(await violations(page)).toEqual([]);

        upstream.enqueue({ kind: 'fault', fault: 'invalid_request' });
        await askOnPage(page, 'Fail');
        await page.getByRole('heading', { name: 'The model did not take the request' }).waitFor();
        expect(await violations(page)).toEqual([]);
      },
    );
  });

  it('a screen reader announces the beginning and the end of an answer, and no piece between them', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(url);
    // A screen reader reads what the text of a live region changes to.
    await page.evaluate(`
      told = [];
      new MutationObserver((changes) => {
        for (const { target } of changes) {
          const region = (target.nodeType === 1 ? target : target.parentElement)?.closest('[aria-live], output, [role=status], [role=alert], [role=log]');
          if (region && region.getAttribute('aria-live') !== 'off') told.push(region.textContent);
        }
      }).observe(document.body, { subtree: true, childList: true, characterData: true });
    `);
    const request = await askAndSteer(page, upstream, 'Count');
    for (const word of ['one ', 'two ', 'three ']) {
      await request.text(word);
      await answerShown(page, word.trim());
    }
    request.finish();
    await answerEnded(page);
    expect(await page.evaluate('told')).toEqual([
      'The answer has begun.',
      expect.stringMatching(/^The answer is complete: \d+ tokens\.$/),
    ]);
  });
});
