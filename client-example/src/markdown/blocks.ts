/**
 * Markdown while it is being written: cut into blocks, of which only the last one changes, and that one made whole, so
 * that half a table, fence or heading doesn't flicker. Pure; knows nothing of React.
 */
import type { Token } from 'markdown-it';
import remend from 'remend';
import { topBlocks } from './parser.ts';

export interface Block {
  readonly raw: string;
  /** It goes on in the middle of a paragraph that the block before it began. */
  readonly continued: boolean;
}

/** Blocks of a growing text. All but the last are settled: their text never changes again. */
export interface Blocks {
  readonly text: string;
  readonly settled: readonly Block[];
  /** Characters of `text` that are in `settled`, or between its blocks. */
  readonly settledChars: number;
  /** The rest, as it stands. */
  readonly open: Block;
}

const noBlocks: Blocks = { text: '', settled: [], settledChars: 0, open: { raw: '', continued: false } };

/** A block longer than this is settled in parts, where it can be cut: else it would be laid out whole at each step. */
const blockCharsMax = 6_000;
/** The same for what loses its meaning where it is cut: a table without its head, code within an item. */
const wholeCharsMax = 32_000;
/** What a block is shows in its first line, or in so much of it. */
const decidedChars = 200;

/** Makes a function from a text to its blocks that is quick where the text begins with the one it was called with before. */
export function createBlockGrower(): (text: string) => Blocks {
  let before = noBlocks;
  return (text) => (before = growBlocks(before, text.replaceAll(/\r\n?/g, '\n')));
}

/** The blocks of a text that begins with the one that `before` was made of; of any other, from scratch. */
function growBlocks(before: Blocks, text: string): Blocks {
  const base = text.startsWith(before.text) ? before : noBlocks;
  const settled = [...base.settled];
  let { settledChars } = base;
  let { continued } = base.open;
  for (let ended = endedIn(text, settledChars); ended.length > 0; ended = endedIn(text, settledChars)) {
    for (const { raw, cut } of ended) {
      settledChars += raw.length;
      if (raw.trim() !== '') settled.push({ raw, continued });
      continued = cut;
    }
  }
  return { text, settled, settledChars, open: { raw: text.slice(settledChars), continued } };
}

/** A part of the text that no longer depends on what follows. */
interface Ended {
  readonly raw: string;
  /** Whether what follows goes on with the same block. */
  readonly cut: boolean;
}

/** What stands at a place and no longer depends on how the text goes on: blocks, each with the space that follows it. */
function endedIn(text: string, from: number): Ended[] {
  // No more is looked at than a block may have, unless one shows that it needs more.
  for (let chars = blockCharsMax; ; chars *= 2) {
    const whole = from + chars >= text.length;
    const piece = text.slice(from, from + chars);
    const rest = whole ? piece : withoutBegunLine(piece);
    const tokens = topBlocks(rest);
    const blocks = tokens.filter(({ level, nesting }) => level === 0 && nesting >= 0);
    const last = blocks.at(-1);
    if (!last) return whole ? [] : [{ raw: rest, cut: false }];
    const starts = lineStarts(rest);
    const startOf = ({ map }: Token) => starts[map![0]]!;
    if (blocks.length > 1) {
      // Until the last block shows what it is, it might yet belong to the one before it.
      const begun = rest.slice(startOf(last));
      if (!begun.includes('\n') && begun.length < decidedChars) return [];
      const bounds = [0, ...blocks.slice(1).map(startOf)];
      return bounds.slice(1).map((end, at) => ({ raw: rest.slice(bounds[at], end), cut: false }));
    }
    if (rest.length < blockCharsMax && whole) return [];
    const items = tokens.filter(({ type, level }) => type === 'list_item_open' && level === 1).map(startOf);
    const item = items.findLast((start) => start > 0 && start <= blockCharsMax);
    if (item !== undefined) return [{ raw: rest.slice(0, item), cut: true }];
    // Code is cheap however long it is, and what follows its fence would be read as text.
    const needed = last.type === 'fence' || (last.type !== 'paragraph_open' && chars < wholeCharsMax);
    if (!needed) return [{ raw: rest.slice(0, cutOf(rest, last.type)), cut: true }];
    if (whole) return [];
  }
}

/** Without a last line that doesn't show yet what it is. */
function withoutBegunLine(text: string): string {
  const lineStart = text.lastIndexOf('\n') + 1;
  return lineStart > 0 && text.length - lineStart < decidedChars ? text.slice(0, lineStart) : text;
}

/** Where a block that is too long is cut: at a line, in a paragraph at a word, or else anywhere but within a character. */
function cutOf(block: string, type: string): number {
  const isText = type === 'paragraph_open';
  const max = isText ? blockCharsMax : Math.min(block.length, wholeCharsMax);
  const before = (separator: string) => block.lastIndexOf(separator, max - 1) + 1;
  const place = (isText ? 0 : before('\n')) || before(' ');
  if (place > 0) return place;
  return /[\ud800-\udbff]/.test(block.charAt(max - 1)) ? max - 1 : max;
}

function lineStarts(text: string): readonly number[] {
  const starts = [0];
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', end + 1)) starts.push(end + 1);
  return starts;
}

/** What a line is made of while one can't tell yet what it will be: `-`, `1.`, `|--`, two backticks. */
const undecidedLine = /^[-=*_+#>`~|:\d.) \t]*$/;
/** What stands before the content of a line in a quote or an item, and makes up an empty line there. */
const lineIndent = /^[> \t]*/;

/** The open block as it can be shown: what is undecided held back, what is open closed. */
export function mendBlock(open: string): string {
  const lineStart = open.lastIndexOf('\n') + 1;
  const decided = undecidedLine.test(open.slice(lineStart)) ? open.slice(0, lineStart) : open;
  // Of a long one, mending would take longer than its flicker lasts.
  if (decided.length > blockCharsMax) return decided;
  return withDelimiterRow(decided) ?? remend(decided, { katex: false });
}

/** A table's head, in a quote or an item too, with the delimiter row under it that isn't there yet. */
function withDelimiterRow(block: string): string | undefined {
  const lines = (block.endsWith('\n') ? block.slice(0, -1) : block).split('\n');
  const head = lines.at(-1)!;
  const above = lines.at(-2) ?? '';
  const indent = lineIndent.exec(head)![0];
  if (head.charAt(indent.length) !== '|' || lineIndent.exec(above)![0] !== above) return undefined;
  const closed = /[^|\s]\s*\|\s*$/.test(head) ? head : `${head} |`;
  const cells = closed.slice(indent.length).replaceAll('\\|', '').split('|').length - 2;
  return `${[...lines.slice(0, -1), closed].join('\n')}\n${indent}|${' --- |'.repeat(cells)}\n`;
}
