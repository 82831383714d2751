/** What the simulator takes from a sentence instead of understanding it: its words, its names and its numbers. */

/** The words of a text, in lower case. */
export function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** Words that say nothing about a question's subject. */
export const stopWords: ReadonlySet<string> = new Set(
  (
    'a about all an and any are as at be by can could did do does explain for from get give go has have hello help hey hi how i if in is it ' +
    'its just like me mean my of on one or please say should so some such tell than thank thanks that the their them then there ' +
    'these they this to up us use want was we were what when where which who why will with work works would write you your'
  ).split(' '),
);

/** One capitalized word, or several in a row: `Oslo`, `New York`. */
const namePattern = /\p{Lu}[\p{L}'’-]*(?: \p{Lu}[\p{L}'’-]*)*/gu;

/**
 * The names in a question, each once: what stands in quotation marks; else capitalized words within a sentence; else what
 * follows a preposition of place; else capitalized words that begin a sentence.
 */
export function namesIn(question: string): string[] {
  const quoted = [...question.matchAll(/["“”«»]([^"“”«»]+)["“”«»]/gu)].map(([, text]) => text!.trim());
  const capitalized = [...question.matchAll(namePattern)].map((match) => ({
    text: match[0],
    begins: /(?:^|[.!?:]\s+)$/.test(question.slice(0, match.index)),
  }));
  const within = capitalized.filter(({ begins }) => !begins).map(({ text }) => text);
  const placed = [...question.matchAll(/\b(?:in|at|of|for|from|near|to) (\p{L}+)/gu)].map(([, text]) => text!);
  const begun = capitalized.map(({ text }) => text);
  const found = [quoted, within, placed, begun].map((names) => names.filter(isName)).find((names) => names.length > 0);
  return [...new Set(found)];
}

function isName(text: string): boolean {
  return text !== 'I' && !stopWords.has(text.toLowerCase());
}

/** The first number in a question; undefined where there is none. */
export function numberIn(question: string): number | undefined {
  const found = /-?\d+(?:\.\d+)?/.exec(question);
  return found === null ? undefined : Number(found[0]);
}
