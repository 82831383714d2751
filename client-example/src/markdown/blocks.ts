/**
 * Cuts a growing Markdown text into blocks. Only the last block still changes. It is completed for display, so that
 * half a table, fence or heading doesn't flicker. Pure; knows nothing of React.
 */
import type { Token } from 'markdown-it';
import remend from 'remend';
import { topBlocks } from './parser.ts';

export interface Block {
  readonly raw: string;
  /** Whether this block continues a paragraph that the block before it began. */
  readonly continued: boolean;
}

/** The blocks of a growing text. All but the last are settled: their text never changes again. */
export interface Blocks {
  readonly text: string;
  readonly settled: readonly Block[];
  /** How many characters of `text` are in `settled` blocks or between them. */
  readonly settledChars: number;
  /** The block after the settled ones. It may still change. */
  readonly open: Block;
}

const noBlocks: Blocks = { text: '', settled: [], settledChars: 0, open: { raw: '', continued: false } };

/** A longer block is settled in parts, if it can be cut. Otherwise the browser would lay it out whole at each step. */
const blockCharsMax = 6_000;
/**
 * The same limit for blocks that lose their meaning when they are cut, such as a table without its head or code in a
 * list item.
 */
const wholeCharsMax = 32_000;
/** The first line of a block decides what kind of block it is, or this many characters of that line. */
const decidedChars = 200;

/** Makes a function from a text to its blocks. It is fast if the text begins with the text of the call before. */
export function createBlockGrower(): (text: string) => Blocks {
  let before = noBlocks;
  return (text) => (before = growBlocks(before, text.replaceAll(/\r\n?/g, '\n')));
}

/**
 * The blocks of a text. If the text begins with the one that `before` was made from, only the new part is parsed;
 * otherwise all of it.
 */
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

/** A part of the text that no longer depends on the text after it. */
interface Ended {
  readonly raw: string;
  /** Whether the text after it continues the same block. */
  readonly cut: boolean;
}

/**
 * The parts, from a position on, that no longer depend on how the text goes on: blocks, each with the blank lines after
 * it.
 */
function endedIn(text: string, from: number): Ended[] {
  // Looks only as far as a block may reach, unless a block shows that it needs more.
  for (let chars = blockCharsMax; ; chars *= 2) {
    const whole = from + chars >= text.length;
    const piece = text.slice(from, from + chars);
    const decided = whole ? piece : withoutBegunLine(piece);
    const tokens = topBlocks(decided);
    const blocks = tokens.filter(({ level, nesting }) => level === 0 && nesting >= 0);
    const last = blocks.at(-1);
    if (!last) return whole ? [] : [{ raw: decided, cut: false }];
    const starts = lineStarts(decided);
    const startOf = ({ map }: Token) => starts[map![0]]!;
    if (blocks.length > 1) {
      // Until the last block has shown what kind it is, it might still belong to the block before it.
      const begun = decided.slice(startOf(last));
      if (!begun.includes('\n') && begun.length < decidedChars) return [];
      const bounds = [0, ...blocks.slice(1).map(startOf)];
      return bounds.slice(1).map((end, at) => ({ raw: decided.slice(bounds[at], end), cut: false }));
    }
    if (decided.length < blockCharsMax && whole) return [];
    const items = tokens.filter(({ type, level }) => type === 'list_item_open' && level === 1).map(startOf);
    const item = items.findLast((start) => start > 0 && start <= blockCharsMax);
    if (item !== undefined) return [{ raw: decided.slice(0, item), cut: true }];
    // Code is cheap at any length. And if a fence were cut, the code after the cut would be read as text.
    const needed = last.type === 'fence' || (last.type !== 'paragraph_open' && chars < wholeCharsMax);
    if (!needed) return [{ raw: decided.slice(0, cutOf(decided, last.type)), cut: true }];
    if (whole) return [];
  }
}

/** The text without its last line, if that line doesn't show yet what kind of block it is. */
function withoutBegunLine(text: string): string {
  const lineStart = text.lastIndexOf('\n') + 1;
  return lineStart > 0 && text.length - lineStart < decidedChars ? text.slice(0, lineStart) : text;
}

/**
 * The position at which a block that is too long is cut: after a line, in a paragraph after a word, otherwise anywhere
 * but within a surrogate pair.
 */
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

/** A line from which one can't yet see what it will be: `-`, `1.`, `|--`, two backticks. */
const undecidedLine = /^[-=*_+#>`~|:\d.) \t]*$/;
/** The characters before the content of a line in a quote or a list item. An empty line in one has nothing else. */
const lineIndent = /^[> \t]*/;

/** The open block as the page shows it: a last line that is still undecided is held back, and open syntax is closed. */
export function mendBlock(open: string): string {
  const lineStart = open.lastIndexOf('\n') + 1;
  const decided = undecidedLine.test(open.slice(lineStart)) ? open.slice(0, lineStart) : open;
  // For a long block, completing it would take longer than its flicker lasts.
  if (decided.length > blockCharsMax) return decided;
  return withDelimiterRow(decided) ?? remend(decided, { katex: false });
}

/**
 * If the block ends with the head of a table, also in a quote or a list item: the block with the delimiter row that has
 * not arrived yet.
 */
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
