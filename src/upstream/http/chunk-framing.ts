/**
 * Follows the framing of a chunked body (RFC 9112, 7.1) over the reads of its socket, to tell which bytes of each read are
 * whole chunks. Knows no sockets, nor what becomes of the rest. It follows the plain form only: sizes without extensions.
 */
const cr = 0x0d;
const lf = 0x0a;
const lineEndBytes = 2;
/** Chunks of 256 MB and more aren't plain. */
const sizeDigitsMax = 7;

/** A read in three parts, each of which can be empty: what `from` and `to` enclose are whole chunks. */
export interface FramedRead {
  /** The data of each of those: views of the read. */
  readonly chunks: readonly Buffer[];
  readonly from: number;
  readonly to: number;
}

export class ChunkFraming {
  /** Of the size line that is being read. */
  #size = 0;
  #digits = 0;
  #sawCr = false;
  /** What is still to come of a chunk whose size is known, its line end included. */
  #left = 0;
  #lost = false;

  /** Whether it has come to the last chunk, or to something that isn't plain: it tells no whole chunks any more. */
  get lost(): boolean {
    return this.#lost;
  }

  /** To be given every byte of the body in its order, from the first one on, until it is lost. */
  follow(read: Buffer, start: number, end: number): FramedRead {
    const from = this.#endOfBegun(read, start, end);
    const chunks: Buffer[] = [];
    let to = from;
    while (to < end) {
      const data = this.#endOfLine(read, to, end);
      if (data === undefined) break;
      const after = data + this.#takeSize();
      if (after > end) {
        this.#left = after - end;
        break;
      }
      if (read[after - 2] !== cr || read[after - 1] !== lf) {
        this.#lost = true;
        break;
      }
      chunks.push(read.subarray(data, after - lineEndBytes));
      to = after;
    }
    return { chunks, from, to };
  }

  /** Where the chunk ends that an earlier read began; the end of the read if it goes on. */
  #endOfBegun(read: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#digits > 0) {
      const data = this.#endOfLine(read, start, end);
      if (data === undefined) return end;
      at = data;
      this.#left = this.#takeSize();
    }
    const step = Math.min(this.#left, end - at);
    this.#left -= step;
    return at + step;
  }

  /** Reads on in a size line; where it ends, or undefined if that isn't in this read, or it is no size of a plain chunk. */
  #endOfLine(read: Buffer, start: number, end: number): number | undefined {
    for (let at = start; at < end; at += 1) {
      const byte = read[at]!;
      const digit = hexDigit(byte);
      if (this.#sawCr) {
        if (byte === lf && this.#size > 0) return at + 1;
      } else if (digit !== undefined && this.#digits < sizeDigitsMax) {
        this.#size = this.#size * 16 + digit;
        this.#digits += 1;
        continue;
      } else if (byte === cr && this.#digits > 0) {
        this.#sawCr = true;
        continue;
      }
      this.#lost = true;
      break;
    }
    return undefined;
  }

  /** Bytes from the end of the size line to that of the chunk. */
  #takeSize(): number {
    const bytes = this.#size + lineEndBytes;
    this.#size = 0;
    this.#digits = 0;
    this.#sawCr = false;
    return bytes;
  }
}

function hexDigit(byte: number): number | undefined {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : undefined;
}
