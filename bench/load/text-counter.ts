/**
 * Counts the characters of an answer in the bytes that carry it, whatever the wire: each text is the JSON string after
 * a marker such as `"text":"`. Scans bytes and builds no strings, so that the load client needs little CPU.
 */
const quote = 0x22;
const backslash = 0x5c;
const letterU = 0x75;

export class TextCounter {
  /** UTF-16 code units, as JavaScript counts the tokens that were sent. */
  characters = 0;
  /** Texts that were not empty: the frames that carried something. */
  frames = 0;
  readonly #marker: Buffer;
  /** The end of the last bytes, if it may be the beginning of a marker. */
  #carried: Buffer = Buffer.alloc(0);
  #inText = false;
  #textBegan = 0;
  /** Bytes of an escape sequence that have not arrived yet: `\n` is one, `\u` four more. */
  #escaped = 0;

  constructor(marker: string) {
    this.#marker = Buffer.from(marker);
  }

  push(bytes: Buffer): void {
    const input = this.#carried.length > 0 ? Buffer.concat([this.#carried, bytes]) : bytes;
    if (this.#carried.length > 0) this.#carried = Buffer.alloc(0);
    let at = 0;
    while (at < input.length) {
      if (!this.#inText) {
        const found = input.indexOf(this.#marker, at);
        if (found < 0) {
          this.#carried = this.#possibleMarker(input, at);
          return;
        }
        at = found + this.#marker.length;
        this.#inText = true;
        this.#textBegan = this.characters;
      }
      at = this.#scanText(input, at);
    }
  }

  /** Counts up to the end of the text or of the bytes, and returns the position it has reached. */
  #scanText(input: Buffer, from: number): number {
    let characters = this.characters;
    let escaped = this.#escaped;
    let at = from;
    for (; at < input.length; at += 1) {
      const byte = input[at]!;
      if (escaped > 0) {
        // The letter of an escape sequence comes first: after `u` come four digits, after any other letter nothing.
        escaped = escaped === 5 ? (byte === letterU ? 4 : 0) : escaped - 1;
      } else if (byte === backslash) {
        escaped = 5;
        characters += 1;
      } else if (byte === quote) {
        this.#inText = false;
        if (characters > this.#textBegan) this.frames += 1;
        at += 1;
        break;
      } else if (byte < 0x80 || byte >= 0xc0) {
        // In UTF-8, this byte begins a character. Characters of four bytes are two units in UTF-16.
        characters += byte >= 0xf0 ? 2 : 1;
      }
    }
    this.characters = characters;
    this.#escaped = escaped;
    return at;
  }

  #possibleMarker(input: Buffer, from: number): Buffer {
    for (let at = Math.max(from, input.length - this.#marker.length + 1); at < input.length; at += 1) {
      const length = input.length - at;
      if (input[at] === this.#marker[0] && input.compare(this.#marker, 0, length, at) === 0) {
        // A copy, because the buffer of these bytes is reused for the next read, or is large.
        return Buffer.from(input.subarray(at));
      }
    }
    return Buffer.alloc(0);
  }
}
