/**
 * A text that grows by many small pieces. With `+=`, V8 would keep each piece as a string of its own until the whole is
 * read, which takes about 60 bytes more for each piece. Here pieces are joined in groups.
 */

/** A group is joined when it has this many pieces or this many characters. */
const piecesMax = 256;
const charsMax = 4_096;

export class GrowingText {
  readonly #joined: string[] = [];
  #pieces: string[] = [];
  #chars = 0;

  push(piece: string): void {
    this.#pieces.push(piece);
    this.#chars += piece.length;
    if (this.#pieces.length < piecesMax && this.#chars < charsMax) return;
    this.#joined.push(this.#pieces.join(''));
    this.#pieces = [];
    this.#chars = 0;
  }

  toString(): string {
    return [...this.#joined, ...this.#pieces].join('');
  }
}
