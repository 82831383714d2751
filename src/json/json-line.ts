/**
 * Makes JSON safe for readers that split text into lines. JSON allows U+0085, U+2028 and U+2029 unescaped within a
 * string, but Python's `str.splitlines()`, and the line iterators that are built on it, end a line at each of them and
 * so cut the JSON in two.
 */

const lineEnd = /[\u0085\u2028\u2029]/g;

/**
 * Returns the same JSON with those characters escaped. The text may also be several lines with JSON in them, such as an
 * event stream, as long as everything outside the JSON is ASCII: then each such character is within a JSON string.
 */
export function escapeLineEnds(json: string): string {
  return json.replace(lineEnd, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
