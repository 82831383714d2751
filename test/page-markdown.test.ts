import { describe, expect, it } from 'vitest';
import { createBlockGrower, mendBlock } from '../client-example/src/markdown/blocks.ts';
import { parseBlock } from '../client-example/src/markdown/parser.ts';
import { hostileMarkdown } from './support/hostile-markdown.ts';

const document = `# A title

Some **bold** text, *more*, \`code\` and a [link](https://example.com) in a paragraph
of two lines.
- one
- two **strong**

  with a paragraph
- three

1. first
2. second

| code | retry |
| --- | :-: |
| \`a|b\` | yes |
| c | no |

\`\`\`ts
const a = 1;

- not a list
\`\`\`

> A quote
> of two lines

---

The end, with 3 * 4 = 12 and snake_case_names.
`;

/** What is shown after each character: the settled blocks and the completed open one. */
function* steps(text: string) {
  const grow = createBlockGrower();
  for (let end = 1; end <= text.length; end += 1) {
    const blocks = grow(text.slice(0, end));
    yield { ...blocks, shown: mendBlock(blocks.open.raw) };
  }
}

describe('Markdown that is being written', () => {
  it('is cut into blocks that never change once they have settled', () => {
    let before: readonly unknown[] = [];
    for (const { settled } of steps(document)) {
      expect(settled.slice(0, before.length)).toEqual(before);
      before = settled;
    }
    expect(before.length).toBeGreaterThan(7);
  });

  it('loses nothing: the settled blocks, the space between them and the open block are the text', () => {
    for (const { text, settled, settledChars, open } of steps(document)) {
      expect(text.slice(settledChars)).toBe(open.raw);
      const unsettled = settled.reduce(
        (left, { raw }) => {
          expect(left).toContain(raw);
          return left.slice(left.indexOf(raw) + raw.length);
        },
        text.slice(0, settledChars),
      );
      expect(unsettled.trim()).toBe('');
    }
  });

  it('is cut the same as when it arrives at once', () => {
    const piecewise = [...steps(document)].at(-1)!;
    const atOnce = createBlockGrower()(document);
    const shape = ({ settled, open }: typeof atOnce) => [...settled.map(({ raw }) => raw), open.raw];
    expect(shape(piecewise).join('')).toBe(shape(atOnce).join(''));
  });

  it.each([
    ['a table’s head', '| code | re', '| code | re |\n| --- | --- |\n'],
    ['half of a delimiter row', '| code | retry |\n| --', '| code | retry |\n| --- | --- |\n'],
    ['a table in a quote', '> Text\n>\n> | a | b |\n> | -', '> Text\n>\n> | a | b |\n> | --- | --- |\n'],
    ['the beginning of a fence', 'Text\n\n``', 'Text\n\n'],
    ['half of a closing fence', '```ts\nconst a = 1;\n``', '```ts\nconst a = 1;\n'],
    ['a bullet without text, which would make a heading of the line before', 'Text\n-', 'Text\n'],
    ['a number that may begin a list', 'Text\n\n1.', 'Text\n\n'],
    ['open bold', 'Some **bo', 'Some **bo**'],
    ['open code', 'Some `co', 'Some `co`'],
    ['half a link', 'A [link](https://exa', 'A [link](streamdown:incomplete-link)'],
  ])('shows %s as what it will be, or not yet', (_, open, shown) => {
    expect(mendBlock(open)).toBe(shown);
  });

  it('takes a time that doesn’t depend on the length of the text so far', () => {
    const grow = createBlockGrower();
    let text = '';
    let largest = 0;
    for (let word = 0; word < 20_000; word += 100) {
      text += 'word '.repeat(100);
      largest = Math.max(largest, grow(text).open.raw.length);
    }
    expect(largest).toBeLessThan(7_000);
  });
});

/** The deepest nesting of elements in the view of a block. */
function depthOf(raw: string): number {
  const tokens = parseBlock(raw) ?? [];
  return Math.max(
    0,
    ...tokens.flatMap(({ level, children }) => [level, ...(children ?? []).map((child) => child.level)]),
  );
}

/** How often an x is shown. The hostile texts have x only in their words. */
function wordsShown(raw: string): number {
  const tokens = parseBlock(raw)?.flatMap((token) => token.children ?? [token]);
  return countWords(tokens?.map(({ content, info }) => content + info).join('') ?? raw);
}

function countWords(text: string): number {
  return text.split('x').length - 1;
}

describe('Markdown that is written to break the page', () => {
  const short = [...hostileMarkdown(2_000)];

  it.each(short)('stays shallow and whole, and loses no text: %s', (_, text) => {
    const { settled, open } = createBlockGrower()(text);
    const raws = [...settled.map(({ raw }) => raw), open.raw];
    expect(raws.reduce((sum, raw) => sum + wordsShown(raw), 0)).toBe(countWords(text));
    for (const raw of raws) expect(depthOf(raw)).toBeLessThan(20);
  });

  it.each(short)('is shown at any moment while it is being written: %s', (_, text) => {
    const grow = createBlockGrower();
    for (let end = 1; end < text.length; end += 97) {
      const { open } = grow(text.slice(0, end));
      expect(depthOf(mendBlock(open.raw))).toBeLessThan(20);
    }
  });

  it.each([...hostileMarkdown(60_000)])('takes a time in proportion to its length: %s', (_, text) => {
    // With a parser that backtracks, these would take minutes to years, so the time limit of a test is proof enough.
    const { settled, open } = createBlockGrower()(text);
    for (const { raw } of [...settled, open]) parseBlock(raw);
    mendBlock(open.raw);
  });

  it.each([
    ['lists', '- '.repeat(2_000)],
    ['quotes', '> '.repeat(2_000)],
    ['emphasis', '*a '.repeat(600) + 'b* '.repeat(600)],
  ])('is not shown as Markdown where it is nested too deeply: %s', (_, text) => {
    expect(parseBlock(`${text}x`)).toBeUndefined();
  });

  it('makes no table of more cells than it has characters', () => {
    const columns = 400;
    const table = `|${'a|'.repeat(columns)}\n|${'-|'.repeat(columns)}\n${'|\n'.repeat(1_000)}`;
    expect(parseBlock(table)!.length).toBeLessThan(table.length);
    const sound = `|${'a|'.repeat(columns)}\n|${'-|'.repeat(columns)}\n|${'b|'.repeat(columns)}\n`;
    expect(parseBlock(sound)!.filter(({ type }) => type === 'td_open')).toHaveLength(columns);
  });

  it('is cut if it is too long, between items if possible, and continues as the same kind of block', () => {
    const items = Array.from({ length: 2_000 }, (_, at) => `${at + 1}. item ${at}\n`);
    const { settled, open } = createBlockGrower()(items.join(''));
    expect(settled.length).toBeGreaterThan(3);
    for (const { raw } of [...settled, open]) expect(raw).toMatch(/^\d+\. item/);
    expect([...settled, open].map(({ raw }) => raw).join('')).toBe(items.join(''));
    expect(settled[1]!.continued).toBe(true);
  });

  it('keeps code whole, however long it is, and what follows it', () => {
    const code = `\`\`\`ts\n${'- not a list\n'.repeat(5_000)}\`\`\`\n\nThe end.`;
    const { settled, open } = createBlockGrower()(code);
    expect(settled).toHaveLength(0);
    expect(parseBlock(open.raw)!.map(({ type }) => type)).toEqual([
      'fence',
      'paragraph_open',
      'inline',
      'paragraph_close',
    ]);
  });
});
