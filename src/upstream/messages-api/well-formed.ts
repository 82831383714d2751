/**
 * Well-formed Unicode: no half of a surrogate pair alone, in what goes to upstream and in what comes from there. Upstream
 * refuses a lone half, and so does whoever decodes what a client would be sent. U+FFFD stands in place of one.
 */

const surrogateEscape = /\\u[dD][89a-fA-F]/;
/** Pairs first, so that what the second form finds is alone; last every other escape, lest `\\ud800` be taken for one. */
const escapes = /\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|\\u[dD][89a-fA-F][\da-fA-F]{2}|\\[^]/g;
const loneEscapeChars = 6;

/**
 * Whether JSON can stand for a lone half. One is always written as an escape: `JSON.stringify` does so, and text that was
 * decoded from UTF-8 holds none.
 */
export function mayHoldHalves(json: string): boolean {
  return surrogateEscape.test(json);
}

/** The same JSON with U+FFFD for each lone half in any of its texts, keys among them. One search where there is none. */
export function wellFormedJson(json: string): string {
  if (!mayHoldHalves(json)) return json;
  return json.replace(escapes, (escape) => (escape.length === loneEscapeChars ? '\ufffd' : escape));
}

/**
 * Texts that come in pieces, by number: a pair that was cut in two leaves whole. Its first half is held back until the
 * next piece, or the end.
 */
export class Pieces {
  readonly #halves = new Map<number, string>();

  /** Whether a half is held back, so that the next piece of its text must come through `join`. */
  get holding(): boolean {
    return this.#halves.size > 0;
  }

  /** What may be passed on with this piece. */
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

  /** What is left of a text that has ended. */
  end(number: number): string {
    return this.#halves.delete(number) ? '\ufffd' : '';
  }
}
