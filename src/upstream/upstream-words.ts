/**
 * Upstream's own words, made fit for events and logs. Operators need its sentence on a failure ("max_tokens: 100000 > 64000"),
 * but such sentences quote what they complain about. So nothing is kept of one that also stands in the request: no word, and
 * no eight characters of a longer one. The same goes for single words: a reason to stop, an id.
 */

/** What comes later in a sentence tells nothing new. */
const saidCharsMax = 300;
/** What is said of a longer request is left out whole: to search this much takes some 30 ms. */
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
  const request = searchable(requestTexts);
  if (request === undefined || escapes.test(said)) return gap;
  return said
    .slice(0, saidCharsMax)
    .replace(words, (word) => (/^\w/.test(word) && !standsIn(request, word.toLowerCase()) ? word : gap))
    .replace(/…\W*…/g, gap);
}

/** A word as it came; undefined for what doesn't look like one, and for what stands in the request, whole or in part. */
export function ownWord(word: string | undefined, requestTexts: readonly string[]): string | undefined {
  if (word === undefined || !/^[\w.:-]{1,128}$/.test(word)) return undefined;
  const request = searchable(requestTexts);
  return request === undefined || standsIn(request, word.toLowerCase()) ? undefined : word;
}

/** Undefined for a request that is too long to be searched. */
function searchable(requestTexts: readonly string[]): string | undefined {
  const chars = requestTexts.reduce((sum, text) => sum + text.length, 0);
  return chars > requestCharsMax ? undefined : requestTexts.join('\n').toLowerCase();
}

function standsIn(request: string, word: string): boolean {
  for (let at = 0; at === 0 || at + runChars <= word.length; at += 1) {
    if (request.includes(word.slice(at, at + runChars))) return true;
  }
  return false;
}
