/**
 * Removes quotations of the request from what upstream wrote, before it gets into events and logs. Operators need
 * upstream's sentence about a failure ("max_tokens: 100000 > 64000"), but such sentences quote what they complain
 * about. So each word is removed that also occurs in the request, and each longer word of which eight characters in a
 * row occur there. Single words, such as a stop reason or an id, are checked in the same way.
 */

/** A sentence is cut here; its cause is at its beginning. */
const saidCharsMax = 300;
/**
 * Of a longer request everything that upstream wrote is removed, since a search through this many characters takes
 * about 30 ms.
 */
const requestCharsMax = 1_000_000;
const runChars = 8;

/** Replaces what was removed. */
const gap = '…';
/** Escape sequences. The words of an escaped quotation can't be compared with the request, which has them unescaped. */
const escapes = /\\|%[0-9a-f]{2}|&#?\w+;/i;
/**
 * A word, or a run of characters beyond ASCII. Not every script separates its words, so such a run is always removed.
 */
const words = /\w+|[^\x20-\x7e]+/g;

/**
 * Returns the sentence without the words of the request.
 *
 * @param requestTexts All secret texts of the request, in any order.
 */
export function withoutRequest(said: string, requestTexts: readonly string[]): string {
  const request = searchable(requestTexts);
  if (request === undefined || escapes.test(said)) return gap;
  return said
    .slice(0, saidCharsMax)
    .replace(words, (word) => (/^\w/.test(word) && !standsIn(request, word.toLowerCase()) ? word : gap))
    .replace(/…\W*…/g, gap);
}

/** Returns the word; undefined where it isn't a single word, or where it or a part of it occurs in the request. */
export function ownWord(word: string | undefined, requestTexts: readonly string[]): string | undefined {
  if (word === undefined || !/^[\w.:-]{1,128}$/.test(word)) return undefined;
  const request = searchable(requestTexts);
  return request === undefined || standsIn(request, word.toLowerCase()) ? undefined : word;
}

/** Undefined where the request is too long to be searched. */
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
