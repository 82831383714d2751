/**
 * Upstream's own sentence on a failure, made fit for a log. Operators need it ("max_tokens: 100000 > 64000"), but such
 * sentences quote what they complain about. So nothing is kept of one that also stands in the request: no word, and no
 * eight characters of a longer one.
 */

/** What comes later in a sentence tells nothing new. */
const saidCharsMax = 300;
/** The sentence on a longer request is left out whole: to search this much takes some 30 ms. */
const requestCharsMax = 1_000_000;
const runChars = 8;

/** Stands where something was left out. */
const gap = '…';
/** Signs of an escaped quotation, whose words can't be told from those of the sentence. */
const escapes = /\\|%[0-9a-f]{2}|&#?\w+;/i;
/** A word, or anything beyond ASCII: not every script parts its words, so what is quoted there can't be told apart. */
const words = /\w+|[^\x20-\x7e]+/g;

/** The sentence without what stands in the request, given as all its texts that are nobody's business, in any order. */
export function withoutRequest(said: string, requestTexts: readonly string[]): string {
  const requestChars = requestTexts.reduce((sum, text) => sum + text.length, 0);
  if (requestChars > requestCharsMax || escapes.test(said)) return gap;
  const request = requestTexts.join('\n').toLowerCase();
  return said
    .slice(0, saidCharsMax)
    .replace(words, (word) => (/^\w/.test(word) && !standsIn(request, word.toLowerCase()) ? word : gap))
    .replace(/…\W*…/g, gap);
}

function standsIn(request: string, word: string): boolean {
  for (let at = 0; at === 0 || at + runChars <= word.length; at += 1) {
    if (request.includes(word.slice(at, at + runChars))) return true;
  }
  return false;
}
