/**
 * JSON for readers that take it line by line. JSON allows U+0085, U+2028 and U+2029 within a string as they are, but Python's
 * `str.splitlines()` and the line iterators that are built on it end a line at each of them, and so cut the JSON in two.
 */

const lineEnd = /[\u0085\u2028\u2029]/g;

/**
 * The same JSON with those characters escaped. It may stand in a text of several lines, as an event stream does, if beyond
 * ASCII that text has JSON alone: there such a character can only stand within a string.
 */
export function escapeLineEnds(json: string): string {
  return json.replace(lineEnd, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
