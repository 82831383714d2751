/**
 * Markdown while it is being written: cut into blocks, of which only the last one changes, and that one made whole, so
 * that half a table, fence or heading doesn't flicker. Pure; knows nothing of React.
 */
import { marked, type Token } from 'marked';
import remend from 'remend';

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

/** A paragraph longer than this is settled in parts: nobody writes one, and it would be laid out whole at each step. */
const paragraphCharsMax = 6_000;
/** What a block is shows in its first line, or in so much of it. */
const decidedChars = 200;

/** Makes a function from a text to its blocks that is quick where the text begins with the one it was called with before. */
export function createBlockGrower(): (text: string) => Blocks {
  let before = noBlocks;
  return (text) => (before = growBlocks(before, text));
}

/** The blocks of a text that begins with the one that `before` was made of; of any other, from scratch. */
function growBlocks(before: Blocks, text: string): Blocks {
  const base = text.startsWith(before.text) ? before : noBlocks;
  const rest = text.slice(base.settledChars);
  const ended = endedIn(rest);
  const chars = ended.reduce((sum, raw) => sum + raw.length, 0);
  // Where the lexer has rewritten what it read (tabs, for one), its tokens don't add up to the text.
  if (chars === 0 || ended.join('') !== rest.slice(0, chars)) {
    return { ...base, text, open: { ...base.open, raw: rest } };
  }
  const settled = [...base.settled];
  let { continued } = base.open;
  for (const raw of ended) {
    if (raw.trim() !== '') settled.push({ raw, continued });
    continued = raw.endsWith(' ');
  }
  return { text, settled, settledChars: base.settledChars + chars, open: { raw: rest.slice(chars), continued } };
}

/** What stands at the beginning of a text and no longer depends on how that goes on: blocks, the space between them. */
function endedIn(text: string): string[] {
  const tokens: Token[] = marked.lexer(text);
  // After a blank line, a list may still go on.
  if (tokens.at(-1)?.type === 'space') tokens.pop();
  const last = tokens.at(-1);
  if (!last) return [];
  if (tokens.length === 1) return last.type === 'paragraph' ? fullParts(last.raw) : [];
  // Until the last block shows what it is, it might yet belong to the one before it.
  if (!last.raw.includes('\n') && last.raw.length < decidedChars) return [];
  return tokens.slice(0, -1).map(({ raw }) => raw);
}

/** The parts of a long paragraph but for the last one, each up to a space. */
function fullParts(paragraph: string): string[] {
  const parts: string[] = [];
  let start = 0;
  while (paragraph.length - start > paragraphCharsMax) {
    const end = paragraph.lastIndexOf(' ', start + paragraphCharsMax) + 1;
    if (end <= start) break;
    parts.push(paragraph.slice(start, end));
    start = end;
  }
  return parts;
}

/** What a line is made of while one can't tell yet what it will be: `-`, `1.`, `|--`, two backticks. */
const undecidedLine = /^[-=*_+#>`~|:\d.) \t]*$/;
/** A table's head, in a quote or an item too, over a delimiter row that isn't there yet. */
const tableHead = /(?:^|(?:^|\n)[> \t]*\n)([> \t]*)(\|[^\n]*)\n?$/;

/** The open block as it can be shown: what is undecided held back, what is open closed. */
export function mendBlock(open: string): string {
  const lineStart = open.lastIndexOf('\n') + 1;
  const decided = undecidedLine.test(open.slice(lineStart)) ? open.slice(0, lineStart) : open;
  const head = tableHead.exec(decided);
  if (!head) return remend(decided, { katex: false });
  const [, indent = '', cells = ''] = head;
  return decided.slice(0, decided.lastIndexOf(cells)) + withDelimiterRow(cells, indent);
}

function withDelimiterRow(head: string, indent: string): string {
  const closed = /[^|\s]\s*\|\s*$/.test(head) ? head : `${head} |`;
  const cells = closed.replaceAll('\\|', '').split('|').length - 2;
  return `${closed}\n${indent}|${' --- |'.repeat(cells)}\n`;
}
