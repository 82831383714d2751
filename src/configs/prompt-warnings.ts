/**
 * Finds braces in a prompt that look like a variable and are none. They stay in the prompt as text, which may be the author's
 * intention: prompts hold code, JSON and formulas. So only braces that closely resemble a variable lead to a warning, and
 * none to a refusal.
 */
import { placeIn, quote } from '../settings/problems.ts';

const warningsMax = 10;

const name = '[A-Za-z_][A-Za-z0-9_]*';
const blank = '[ \\t\\r\\n]*';
const isName = new RegExp(`^${name}$`);

/** The forms that are recognized. The first group of each is the text between the braces. */
const whole = /\{\{([^{}\n]{0,100})\}\}/g;
const closedByOne = new RegExp(`\\{\\{${blank}(${name})${blank}\\}(?!\\})`, 'g');
const openedByOne = new RegExp(`(?<!\\{)\\{${blank}(${name})${blank}\\}\\}`, 'g');
const splitOpening = new RegExp(`\\{[ \\t]+\\{${blank}(${name})${blank}\\}${blank}\\}`, 'g');
const neverClosed = new RegExp(`\\{\\{${blank}(${name})(?![A-Za-z0-9_])(?!${blank}\\})`, 'g');

interface Doubt {
  readonly at: number;
  readonly message: string;
}

/** The warnings about a prompt's text, each with its line and column. A warning quotes at most a name. */
export function braceWarnings(text: string): string[] {
  if (!text.includes('{') && !text.includes('}')) return [];
  const depths = depthsOf(text);
  const doubts = [
    ...[...text.matchAll(whole)].flatMap((match) => doubtOfWhole(match, depths)),
    ...doubtsOf(text, closedByOne, 'is closed by one brace'),
    ...doubtsOf(text, openedByOne, 'is opened by one brace').filter(({ at }) => depths.before(at) <= 0),
    ...doubtsOf(text, splitOpening, 'has a blank between its braces'),
    ...doubtsOf(text, neverClosed, 'is never closed').filter(({ at }) => !text.includes('}}', at)),
  ].toSorted((a, b) => a.at - b.at);
  const shown = doubts.slice(0, warningsMax).map(({ at, message }) => `${placeIn(text, at)}: ${message}`);
  const left = doubts.length - shown.length;
  return left === 0 ? shown : [...shown, `and ${left} more of this kind`];
}

function doubtsOf(text: string, form: RegExp, what: string): Doubt[] {
  return [...text.matchAll(form)].map(({ index, 1: inside = '' }) => ({
    at: index,
    message: `${quote(inside)} ${what} and stays as text; a variable is {{${inside}}}`,
  }));
}

/** Judges two braces on both sides: those without a name between them, and those with a third brace beside them. */
function doubtOfWhole({ 0: all, 1: raw = '', index, input = '' }: RegExpMatchArray, depths: Depths): Doubt[] {
  const at = index!;
  const inside = raw.trim();
  const doubt = (message: string) => [{ at, message }];
  if (isName.test(inside)) {
    const [before, after] = [input[at - 1] === '{', input[at + all.length] === '}'];
    const spare = `a variable is {{${inside}}}`;
    if (before && after) return doubt(`three braces leave one on each side of the value; ${spare}`);
    if (after && depths.before(at) <= 0) return doubt(`a third closing brace stays as text; ${spare}`);
    if (before && depths.total > 0) return doubt(`a third opening brace stays as text; ${spare}`);
    return [];
  }
  if (inside === '') return doubt('{{}} has no name in it and stays as text; a variable is {{name}}');
  // Quotes, colons, commas and brackets show that it is code and not a misspelt name.
  if (!/^[\p{L}\p{M}\p{N}_ \t.$#/>^!&|@~-]+$/u.test(inside)) return [];
  const meant = inside.replace(/[^A-Za-z0-9_]+/g, '_').replace(/^_+|_+$/g, '');
  const hint = isName.test(meant) ? `: {{${meant}}}` : '';
  return doubt(`the text between {{ and }} is no name, so it stays as text; a name has letters, digits and "_"${hint}`);
}

interface Depths {
  /** How many braces are open before the one at the offset. */
  before(offset: number): number;
  /** How many are open at the end. */
  readonly total: number;
}

function depthsOf(text: string): Depths {
  const depths = new Map<number, number>();
  let depth = 0;
  for (const { 0: brace, index } of text.matchAll(/[{}]/g)) {
    depths.set(index, depth);
    depth += brace === '{' ? 1 : -1;
  }
  return { before: (offset) => depths.get(offset)!, total: depth };
}
