import { describe, expect, it } from 'vitest';
import { createBlockGrower, mendBlock } from '../client-example/src/markdown/blocks.ts';

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

/** What is shown after each character: the settled blocks and the mended open one. */
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

  it('loses nothing: what has settled, what stands between, and what is open are the text', () => {
    for (const { text, settled, settledChars, open } of steps(document)) {
      expect(text.slice(settledChars)).toBe(open.raw);
      const rest = settled.reduce(
        (left, { raw }) => {
          expect(left).toContain(raw);
          return left.slice(left.indexOf(raw) + raw.length);
        },
        text.slice(0, settledChars),
      );
      expect(rest.trim()).toBe('');
    }
  });

  it('is cut as it is when it comes at once', () => {
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

  it('takes a time that doesn’t grow with what is there already', () => {
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
