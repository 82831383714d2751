import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { browserForEachTest } from './support/browser.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { longestTasks } from './support/longest-tasks.ts';
import { answerEnded, answerShown, askAndSteer } from './support/page.ts';
import { serviceForEachTest } from './support/service.ts';
import { requiresBrowser } from './support/skip.ts';

finishesCleanly();
const test = serviceForEachTest();

/** The answer at the beginning of the load, and the tokens that arrive at 500 a second after it: 20,000 in all. */
const tokensBefore = 15_000;
const tokensUnderLoad = 5_000;
const tokensPerSecond = 500;

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();

  it.each(['one paragraph', 'headings, lists, tables and code'])(
    'an answer of 20,000 tokens, of %s, holds the page up for no more than 100 ms at a time',
    async (kind) => {
      const { url, upstream } = test.current;
      const page = await browser.open(url);
      const empty = await (await browser.profile()).newPage();
      const request = await askAndSteer(page, upstream, 'Go on and on');
      const tokens = Array.from({ length: tokensBefore + tokensUnderLoad }, kind === 'one paragraph' ? word : markup);
      await request.text(tokens.slice(0, tokensBefore).join(''));
      await answerShown(page, `w${tokensBefore - 1}`);

      const longest = await longestTasks([page, empty], async () => {
        const beganAt = performance.now();
        for (let sent = tokensBefore; sent < tokens.length;) {
          const due = tokensBefore + ((performance.now() - beganAt) / 1_000) * tokensPerSecond;
          for (; sent < Math.min(due, tokens.length); sent += 1) await request.text(tokens[sent]!);
          await delay(1);
        }
        await answerShown(page, `w${tokens.length - 1}`);
      });
      request.finish();
      await answerEnded(page);
      // In CPU time, because every task takes longer on a busy machine.
      expect(longest[0]! - longest[1]!).toBeLessThanOrEqual(100);
    },
  );
});

function word(_: unknown, at: number): string {
  return `w${at} `;
}

/** As `word`, in turns of 400 tokens for each kind of block. */
function markup(_: unknown, at: number): string {
  const turn = at % 400;
  const text = word(_, at);
  if (turn === 0) return `\n\n## Heading\n\n${text}`;
  if (turn < 60 && turn % 20 === 1) return `\n- **bold** ${text}`;
  if (turn === 100) return `\n\n\`\`\`ts\nconst a = ${text}`;
  if (turn === 160) return `\n\`\`\`\n\n${text}`;
  if (turn === 210) return `\n\n| one | two |\n| --- | --- |\n| ${text}`;
  if (turn > 210 && turn < 280 && turn % 10 === 0) return `|\n| cell | ${text}`;
  return turn === 280 ? `|\n\n${text}` : text;
}
