/**
 * A text search of documents, and the answer to an ordinary question that it makes, which says so. Knows nothing of the
 * API. It reads the documents at the first question.
 */
import { readFile } from 'node:fs/promises';
import { stopWords, wordsOf } from './words.ts';

/** A Markdown document to answer from. */
export interface Doc {
  /** The document's name in answers. */
  readonly title: string;
  /** The document's Markdown. */
  readonly text: string;
}

interface Section {
  readonly doc: string;
  readonly heading: string;
  readonly text: string;
}

/** A section that a search has found. */
export interface Found {
  /** The document's name. */
  readonly document: string;
  /** The section's heading. */
  readonly heading: string;
  /** The beginning of the section, as Markdown. */
  readonly text: string;
}

/** Only the beginning of a longer question is searched for. */
const questionCharsMax = 400;
const excerptCharsMax = 600;

const intro =
  'Hello! I am the simulator: a small program that stands in for a language model, so that you can try everything here ' +
  'without a key or a network. I cannot think, but I can look things up in the documents of this project. ' +
  'Ask me about one of its words, such as "resume", "cancel" or "config". `/sim help` lists the answers and faults that I can play.';

/**
 * Creates a function that finds the two sections which fit a question best. Without `docs` it searches this package's own
 * documents.
 */
export function createDocsSearch(docs?: readonly Doc[]): (question: string) => Promise<readonly Found[]> {
  let sections: Promise<readonly IndexedSection[]> | undefined;
  return async (question) => {
    sections ??= readSections(docs);
    const found = search(await sections, question.slice(0, questionCharsMax));
    return found.map(({ doc, heading, text }) => ({ document: doc, heading, text: excerpt(text) }));
  };
}

/** Creates a function that answers questions in Markdown. Without `docs` it searches this package's own documents. */
export function createDocsAnswerer(docs?: readonly Doc[]): (question: string) => Promise<string> {
  const searchDocs = createDocsSearch(docs);
  return async (question) => {
    const [best, second] = await searchDocs(question);
    if (best === undefined) return intro;
    const also = second === undefined ? '' : `See also **${second.document}**, *${second.heading}*.\n\n`;
    return (
      `This is what **${best.document}** says under *${best.heading}*:\n\n${quote(best.text)}\n\n${also}` +
      'I am the simulator, so this was a text search and no thought. `/sim help` shows what else I can do.'
    );
  };
}

/** A section with how often each of its words stands in it. A word of the heading counts as three. */
interface IndexedSection {
  readonly section: Section;
  readonly words: ReadonlyMap<string, number>;
  readonly length: number;
}

async function readSections(docs: readonly Doc[] | undefined): Promise<readonly IndexedSection[]> {
  return (docs ?? (await readOwnDocs())).flatMap(sectionsOf).map((section) => {
    const words = new Map<string, number>();
    const all = [...wordsOf(section.text), ...Array(headingWeight).fill(wordsOf(section.heading)).flat()] as string[];
    for (const word of all) words.set(word, (words.get(word) ?? 0) + 1);
    return { section, words, length: all.length };
  });
}

const headingWeight = 3;

/** Reads the documents in the package's root, which is two levels up from this file in `src` and in `dist`. */
async function readOwnDocs(): Promise<Doc[]> {
  const titles = ['README.md', 'ARCHITECTURE.md', 'PROTOCOL.md'];
  const texts = await Promise.all(
    titles.map((title) => readFile(new URL(`../../${title}`, import.meta.url), 'utf8').catch(() => '')),
  );
  return titles.map((title, at) => ({ title, text: texts[at]! }));
}

/** The customary constants of BM25: how soon a repeated word counts no more, and how much a long section is held back. */
const saturation = 1.2;
const lengthShare = 0.75;

/** The two sections that rank highest by BM25, of those that hold at least half of the words that were asked for. */
function search(sections: readonly IndexedSection[], question: string): Section[] {
  const asked = [...new Set(wordsOf(question))].filter((word) => !stopWords.has(word));
  const meanLength = sections.reduce((sum, { length }) => sum + length, 0) / sections.length;
  const scores = sections.map(() => ({ score: 0, found: 0 }));
  for (const word of asked) {
    const counts = sections.map((section) => countOf(word, section));
    const holders = counts.filter((count) => count > 0).length;
    const rarity = Math.log(1 + (sections.length - holders + 0.5) / (holders + 0.5));
    for (const [index, count] of counts.entries()) {
      if (count === 0) continue;
      const length = 1 - lengthShare + (lengthShare * sections[index]!.length) / meanLength;
      scores[index]!.score += (rarity * count * (saturation + 1)) / (count + saturation * length);
      scores[index]!.found += 1;
    }
  }
  return sections
    .map(({ section }, index) => ({ section, ...scores[index]! }))
    .filter(({ found }) => found > 0 && found * 2 >= asked.length)
    .toSorted((one, other) => other.score - one.score)
    .slice(0, 2)
    .map(({ section }) => section);
}

/** A word of four letters or more also finds longer words that begin with it: `cancel` finds `cancelled`. */
function countOf(word: string, { words }: IndexedSection): number {
  if (word.length < 4) return words.get(word) ?? 0;
  let count = 0;
  for (const [each, times] of words) if (each.startsWith(word)) count += times;
  return count;
}

function sectionsOf({ title, text }: Doc): Section[] {
  const sections: { doc: string; heading: string; text: string }[] = [{ doc: title, heading: title, text: '' }];
  let fenced = false;
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('```')) fenced = !fenced;
    const heading = fenced ? null : /^#{1,6}\s+(.+)$/.exec(line);
    if (heading === null) sections.at(-1)!.text += `${line}\n`;
    else sections.push({ doc: title, heading: heading[1]!, text: '' });
  }
  return sections.filter((section) => section.text.trim() !== '');
}

/** The first lines of a section. Where they end within a code block, the block is closed. */
function excerpt(text: string): string {
  const lines: string[] = [];
  let chars = 0;
  let fenced = false;
  for (const line of text.trim().split('\n')) {
    if (chars + line.length > excerptCharsMax && lines.length > 0) {
      lines.push(...(fenced ? ['```', '…'] : ['…']));
      break;
    }
    if (line.startsWith('```')) fenced = !fenced;
    lines.push(line);
    chars += line.length;
  }
  return lines.join('\n');
}

/** A text as a quotation in Markdown. */
export function quote(text: string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '>' : `> ${line}`))
    .join('\n');
}
