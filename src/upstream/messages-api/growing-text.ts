/**
 * A text that grows by many small pieces. `+=` would keep every piece as a string of its own until somebody reads the
 * whole, some 60 bytes beside each; here they are joined as soon as a few have come.
 */

/** Joined at whichever comes first. */
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
