/**
 * Keeps text well-formed in both directions: it replaces each lone half of a surrogate pair by U+FFFD. Upstream refuses
 * a request with a lone half, and clients that decode strictly would refuse an event with one.
 */

const surrogateEscape = /\\u[dD][89a-fA-F]/;
/**
 * The first alternative matches pairs, so that the second one matches only lone halves. The last one matches every
 * other escape, so that `\\ud800`, which is an escaped backslash, is not taken for a half.
 */
const escapes = /\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|\\u[dD][89a-fA-F][\da-fA-F]{2}|\\[^]/g;
const loneEscapeChars = 6;

/**
 * Whether JSON may contain a lone half. JSON contains one only as an escape: `JSON.stringify` writes it so, and text
 * that was decoded from UTF-8 has none.
 */
export function mayHoldHalves(json: string): boolean {
  return surrogateEscape.test(json);
}

/**
 * Returns the same JSON with U+FFFD for each lone half in its texts and keys. JSON without an escaped half, lone or in a pair,
 * costs one search.
 */
export function wellFormedJson(json: string): string {
  if (!mayHoldHalves(json)) return json;
  return json.replace(escapes, (escape) => (escape.length === loneEscapeChars ? '\ufffd' : escape));
}

/**
 * Joins surrogate pairs that were cut in two between two pieces of a text. Keeps the first half until the text's next
 * piece, or its end. Each text has a number.
 */
export class Pieces {
  readonly #halves = new Map<number, string>();

  /** Whether it keeps a half of any text. Then the next piece of that text must go through `join`. */
  get holding(): boolean {
    return this.#halves.size > 0;
  }

  /** Returns the text that can be emitted with this piece. */
  join(number: number, piece: string): string {
    const text = (this.#halves.get(number) ?? '') + piece;
    const last = text.charCodeAt(text.length - 1);
    if (last >= 0xd800 && last < 0xdc00) {
      this.#halves.set(number, text.slice(-1));
      return text.slice(0, -1).toWellFormed();
    }
    this.#halves.delete(number);
    return text.toWellFormed();
  }

  /** To be called at the end of a text. Returns U+FFFD for a half that was kept, else an empty text. */
  end(number: number): string {
    return this.#halves.delete(number) ? '\ufffd' : '';
  }
}
