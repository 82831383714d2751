/**
 * Answers an ordinary question by a text search of documents, and says so in the answer. Knows nothing of the API. It
 * reads and indexes the documents at the first question.
 */
import { readFile } from 'node:fs/promises';
import type MiniSearch from 'minisearch';

/** A Markdown document to answer from. */
export interface Doc {
  /** The document's name in answers. */
  readonly title: string;
  /** The document's Markdown. */
  readonly text: string;
}

interface Section {
  readonly id: number;
  readonly doc: string;
  readonly heading: string;
  readonly text: string;
}

/** Only the beginning of a longer question is searched for. */
const questionCharsMax = 400;
const excerptCharsMax = 600;

const intro =
  'Hello! I am the simulator: a small program that stands in for a language model, so that you can try everything here ' +
  'without a key or a network. I cannot think, but I can look things up in the documents of this project. ' +
  'Ask me about one of its words, such as "resume", "cancel" or "config". `/sim help` lists the answers and faults that I can play.';

/** Creates a function that answers questions in Markdown. Without `docs` it searches this package's own documents. */
export function createDocsAnswerer(docs?: readonly Doc[]): (question: string) => Promise<string> {
  let index: Promise<MiniSearch<Section>> | undefined;
  return async (question) => {
    index ??= buildIndex(docs);
    const found = search(await index, question.slice(0, questionCharsMax));
    const [best, second] = found;
    if (best === undefined) return intro;
    const also = second === undefined ? '' : `See also **${second.doc}**, *${second.heading}*.\n\n`;
    return (
      `This is what **${best.doc}** says under *${best.heading}*:\n\n${quote(excerpt(best.text))}\n\n${also}` +
      'I am the simulator, so this was a text search and no thought. `/sim help` shows what else I can do.'
    );
  };
}

async function buildIndex(docs: readonly Doc[] | undefined): Promise<MiniSearch<Section>> {
  // Imported here, since a service with a real upstream never needs it.
  const { default: MiniSearch } = await import('minisearch');
  const index = new MiniSearch<Section>({
    fields: ['heading', 'text'],
    storeFields: ['doc', 'heading', 'text'],
    processTerm: (term) => (stopWords.has(term.toLowerCase()) ? null : term.toLowerCase()),
  });
  let id = 0;
  for (const doc of docs ?? (await readOwnDocs())) {
    for (const section of sectionsOf(doc)) index.add({ ...section, id: id++ });
  }
  return index;
}

/** Reads the documents in the package's root, which is two levels up from this file in `src` and in `dist`. */
async function readOwnDocs(): Promise<Doc[]> {
  const titles = ['README.md', 'ARCHITECTURE.md', 'PROTOCOL.md'];
  const texts = await Promise.all(
    titles.map((title) => readFile(new URL(`../../${title}`, import.meta.url), 'utf8').catch(() => '')),
  );
  return titles.map((title, at) => ({ title, text: texts[at]! }));
}

/** The best two sections that contain at least half of the question's words. */
function search(index: MiniSearch<Section>, question: string): Section[] {
  const results = index.search(question, {
    boost: { heading: 3 },
    prefix: (term) => term.length > 3,
    fuzzy: (term) => (term.length > 5 ? 0.2 : false),
  });
  const asked = new Set(question.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []);
  for (const word of stopWords) asked.delete(word);
  return results
    .filter((result) => new Set(result.queryTerms).size * 2 >= asked.size)
    .slice(0, 2)
    .map((result) => result as unknown as Section);
}

function sectionsOf({ title, text }: Doc): Omit<Section, 'id'>[] {
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

function quote(text: string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '>' : `> ${line}`))
    .join('\n');
}

/** Words that say nothing about a question's subject. */
const stopWords: ReadonlySet<string> = new Set(
  (
    'a about all an and any are as at be by can could did do does explain for from get give go has have hello help hey hi how i if in is it ' +
    'its just like me mean my of on one or please say should so some such tell than thank thanks that the their them then there ' +
    'these they this to up us use want was we were what when where which who why will with work works would write you your'
  ).split(' '),
);
