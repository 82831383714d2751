/**
 * Markdown as markdown-it reads it, in time that grows no faster than the text, and no deeper than a page can show.
 * Knows neither React nor that a text may still grow.
 */
import MarkdownIt, { type StateBlock, type Token } from 'markdown-it';

/** Elements within elements, beyond which a block is shown as it was written: nobody reads the twentieth indentation. */
const nestingMax = 20;

// HTML is shown as it was written. The parser leaves out what is nested more deeply than its own bound, so that one has
// to lie beyond ours: a block that reaches ours is never shown in part.
const parser = new MarkdownIt({ html: false, linkify: true, maxNesting: 2 * nestingMax } as object);
// Blocks are parsed one by one, so a definition would vanish without ever being used.
parser.disable('reference');
// Only what is written as an address is a link: README.md is a file, though .md is a domain.
parser.linkify.set({ fuzzyLink: false });

// A short row is filled up with empty cells: with many columns, a small text would make a huge table.
const [readTable] = parser.block.ruler.getRules('');
parser.block.ruler.at('table', (...args) => fitsItsText(args[0], args[1], args[2]) && readTable!(...args), {
  alt: ['paragraph', 'reference'],
});

/** Columns with which a table can't get larger than in proportion to its text, since a row has two characters. */
const columnsFew = 8;

/** Whether the table that may begin in a line would have no more cells than characters. */
function fitsItsText({ src, bMarks, eMarks, sCount }: StateBlock, startLine: number, endLine: number): boolean {
  const delimiters = src.slice(bMarks[startLine + 1], eMarks[startLine + 1]);
  const columns = delimiters.split('|').length;
  if (columns <= columnsFew || !/^[-:|>\s]*$/.test(delimiters)) return true;
  let line = startLine;
  while (line < endLine && bMarks[line]! + sCount[line]! < eMarks[line]!) line += 1;
  return columns * (line - startLine) <= eMarks[line - 1]! - bMarks[startLine]!;
}

/** The blocks at the top level of a text, each with the line it begins in. */
export function topBlocks(text: string): readonly Token[] {
  const tokens: Token[] = [];
  parser.block.parse(text, parser, {}, tokens);
  return tokens;
}

/** The tokens of one block; undefined where it is nested too deeply, or breaks the parser, and has to be shown as it is. */
export function parseBlock(raw: string): readonly Token[] | undefined {
  try {
    const tokens = parser.parse(raw, {});
    const deepest = tokens.reduce((max, token) => Math.max(max, token.level + inlineDepth(token)), 0);
    return deepest < nestingMax ? tokens : undefined;
  } catch {
    // Images within the names of images are read by recursion, and the stack ends.
    return undefined;
  }
}

function inlineDepth({ children }: Token): number {
  return children?.reduce((max, { level }) => Math.max(max, level), 0) ?? 0;
}
