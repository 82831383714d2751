/**
 * Markdown as markdown-it parses it, with two bounds: time grows linearly with the text, and nesting is no deeper than
 * a page can show. Knows neither React nor that a text may still grow.
 */
import MarkdownIt, { type StateBlock, type Token } from 'markdown-it';

/** A block with deeper nesting is shown as plain text: nobody reads the twentieth indentation. */
const nestingMax = 20;

// HTML is shown as text. markdown-it leaves out content that is nested more deeply than its own bound. So its bound is
// larger than ours: a block that reaches ours is shown as plain text, and never in part.
const parser = new MarkdownIt({ html: false, linkify: true, maxNesting: 2 * nestingMax } as object);
// Blocks are parsed one by one, so a link definition would disappear without ever being used.
parser.disable('reference');
// Only a full address becomes a link: README.md is a file, though .md is also a domain.
parser.linkify.set({ fuzzyLink: false });

// markdown-it fills up a short row with empty cells. With many columns, a small text would become a huge table.
const [readTable] = parser.block.ruler.getRules('');
parser.block.ruler.at('table', (...args) => fitsItsText(args[0], args[1], args[2]) && readTable!(...args), {
  alt: ['paragraph', 'reference'],
});

/**
 * Up to this many columns, a table has only a bounded number of cells per character of its text, because each row has
 * at least two characters.
 */
const columnsFew = 8;

/** Whether the table that may begin in this line would have no more cells than characters. */
function fitsItsText({ src, bMarks, eMarks, sCount }: StateBlock, startLine: number, endLine: number): boolean {
  const delimiters = src.slice(bMarks[startLine + 1], eMarks[startLine + 1]);
  const columns = delimiters.split('|').length;
  if (columns <= columnsFew || !/^[-:|>\s]*$/.test(delimiters)) return true;
  let line = startLine;
  while (line < endLine && bMarks[line]! + sCount[line]! < eMarks[line]!) line += 1;
  return columns * (line - startLine) <= eMarks[line - 1]! - bMarks[startLine]!;
}

/** The blocks at the top level of a text, each with its first line. */
export function topBlocks(text: string): readonly Token[] {
  const tokens: Token[] = [];
  parser.block.parse(text, parser, {}, tokens);
  return tokens;
}

/**
 * The tokens of one block. Undefined if it is nested too deeply or makes the parser throw; then it has to be shown as
 * plain text.
 */
export function parseBlock(raw: string): readonly Token[] | undefined {
  try {
    const tokens = parser.parse(raw, {});
    const deepest = tokens.reduce((max, token) => Math.max(max, token.level + inlineDepth(token)), 0);
    return deepest < nestingMax ? tokens : undefined;
  } catch {
    // markdown-it parses images within the alternative texts of images by recursion, which can overflow the stack.
    return undefined;
  }
}

function inlineDepth({ children }: Token): number {
  return children?.reduce((max, { level }) => Math.max(max, level), 0) ?? 0;
}
