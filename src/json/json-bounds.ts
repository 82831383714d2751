/**
 * How much JSON a text holds, before it is parsed. A parsed value takes some 50 bytes beside what is written: ten
 * megabytes of `[1,1,…]` become five million values and seconds of work. Knows nothing of what the JSON means, nor whether
 * it is valid.
 */
export interface JsonBounds {
  /** Values, keys included. */
  readonly valuesMax: number;
  /** Levels of arrays and objects. */
  readonly depthMax: number;
}

export type JsonExcess = 'values' | 'depth';

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;
const bracket = 0x5b;
const brace = 0x7b;
/** Bytes that are read one by one after an escape. */
const steppedBytes = 256;
/** From an opening bracket or brace to the one that closes it. */
const toClosing = 2;

/**
 * Which bound the JSON exceeds; undefined if none. It reads each byte once, 1 to 2 ms for a megabyte, and stops at the
 * bound.
 *
 * @param json UTF-8
 */
export function excessOf(json: Buffer, { valuesMax, depthMax }: JsonBounds): JsonExcess | undefined {
  const strings = new Strings(json);
  let values = 1;
  let depth = 0;
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at]!;
    if (byte === quote) {
      at = strings.end(at + 1);
    } else if (byte === comma || byte === colon) {
      values += 1;
      if (values > valuesMax) return 'values';
    } else if (byte === bracket || byte === brace) {
      values += 1;
      depth += 1;
      if (values > valuesMax) return 'values';
      if (depth > depthMax) return 'depth';
    } else if (byte === bracket + toClosing || byte === brace + toClosing) {
      depth -= 1;
    }
  }
  return undefined;
}

/**
 * Finds the ends of strings. What holds no escape is passed over by native search, ten times faster than byte by byte; a
 * search is repeated only from where it last found something, so that all of them together read each byte once.
 */
class Strings {
  readonly #json: Buffer;
  #quoteAt = -1;
  #escapeAt = -1;

  constructor(json: Buffer) {
    this.#json = json;
  }

  /** Where the quote stands that ends the string which begins at `start`; past the end of all if none does. */
  end(start: number): number {
    const json = this.#json;
    let at = start;
    for (;;) {
      if (this.#quoteAt < at) this.#quoteAt = this.#find(quote, at);
      if (this.#escapeAt < at) this.#escapeAt = this.#find(backslash, at);
      if (this.#escapeAt >= this.#quoteAt) return this.#quoteAt;
      // One escape is seldom alone.
      const until = Math.min(this.#escapeAt + steppedBytes, json.length);
      at = this.#escapeAt;
      while (at < until && json[at] !== quote) at += json[at] === backslash ? 2 : 1;
      if (at < until || at >= json.length) return at;
    }
  }

  #find(byte: number, from: number): number {
    const at = this.#json.indexOf(byte, from);
    return at === -1 ? this.#json.length : at;
  }
}
