/**
 * Bounds the pieces in which bodies arrive. A client may send a body in chunks of one byte, and Node calls back for each chunk. One
 * read brings 64 KiB of such chunks, which take some ten milliseconds, and in one turn of the event loop Node may read thirty-two
 * times from each connection. Knows bytes, and nothing of what they are for.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Any body may come in this many pieces. If it comes in more, the pieces must hold `bytesPerPieceMin` bytes on average. */
const piecesFree = 10_000;
/** The same for a body whose bytes are dropped. */
const unreadPiecesFree = 100;
const bytesPerPieceMin = 16;
/** Pieces of all bodies in one turn of the event loop. When there are more, connections wait for later turns. */
const piecesPerTurnMax = 1_000;

export class BodyPieces implements Disposable {
  readonly #onMany: () => void;
  #inTurn = 0;
  #cut = false;
  #turn: NodeJS.Immediate | undefined;

  /** @param onMany Called once in a turn that has brought too many pieces, of all bodies or of one. It stops all reading in this turn. */
  constructor(onMany: () => void) {
    this.#onMany = onMany;
  }

  /**
   * Counts one piece. Returns false where its body has too many.
   *
   * @param pieces Pieces of the same body so far, this one included.
   * @param bytes Bytes of the same body so far.
   * @param free Pieces that a body may have whatever they hold.
   */
  count(pieces: number, bytes: number, free = piecesFree): boolean {
    this.#turn ??= setImmediate(() => this.#endTurn());
    this.#inTurn += 1;
    const few = pieces <= free + bytes / bytesPerPieceMin;
    // Its connection is closed then, but Node still calls back for each chunk of the read that brought this one.
    if (!this.#cut && (!few || this.#inTurn >= piecesPerTurnMax)) {
      this.#cut = true;
      this.#onMany();
    }
    return few;
  }

  /**
   * Reads and discards the body of a chunked request that is answered unread, and closes the connection if its chunks are tiny. Node
   * itself would read all of them, however many, so that the connection can take another request.
   */
  boundUnread(request: IncomingMessage, response: ServerResponse): void {
    if (request.headers['transfer-encoding'] === undefined) return;
    response.prependOnceListener('finish', () => {
      if (request.complete || request.readableFlowing !== null) return;
      this.drop(request);
      // Marks the body as one that somebody reads, so that Node doesn't read it.
      request.read(0);
    });
  }

  /** Reads a body to its end and keeps none of it. Closes a connection whose chunks are tiny. */
  drop(request: IncomingMessage): void {
    let pieces = 0;
    let bytes = 0;
    request.on('data', (piece: Buffer) => {
      pieces += 1;
      bytes += piece.length;
      if (!this.count(pieces, bytes, unreadPiecesFree)) request.destroy();
    });
  }

  #endTurn(): void {
    this.#turn = undefined;
    this.#inTurn = 0;
    this.#cut = false;
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#turn);
  }
}
