/**
 * Follows the framing of a chunked body (RFC 9112, section 7.1) over the reads of its socket, and finds the whole
 * chunks in each read. Knows nothing of sockets. It follows only the plain form, in which a chunk's size has no
 * extensions. At anything else it gives up, and Node's HTTP parser reads the body.
 */
const cr = 0x0d;
const lf = 0x0a;
const lineEndBytes = 2;
/** A chunk of 256 MB or more has more digits, and is not taken for plain. */
const sizeDigitsMax = 7;

/** One read. The bytes between `from` and `to` are whole chunks with their framing; there may be none. */
export interface FramedRead {
  /** The data of each of these chunks, as views of the read. */
  readonly chunks: readonly Buffer[];
  readonly from: number;
  readonly to: number;
}

export class ChunkFraming {
  /** The state of the size line that is being read: its value so far, its digits, and whether its CR was seen. */
  #size = 0;
  #digits = 0;
  #sawCr = false;
  /** Bytes of the current chunk that have not arrived yet, with the line end after its data; 0 between two chunks. */
  #left = 0;
  #lost = false;

  /** Whether it has reached the last chunk, or framing that isn't plain. It finds no whole chunks any more. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Must be called with every byte of the body, in order, from the first one until it is lost. */
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

  /** Returns where the chunk ends that an earlier read began, or the end of the read if the chunk goes on. */
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

  /**
   * Reads a size line. Returns where its chunk's data begins, or undefined if the line goes on after this read or isn't
   * plain.
   */
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

  /** Returns how many bytes the chunk has after its size line, and forgets the line. */
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
