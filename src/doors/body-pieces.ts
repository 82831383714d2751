/**
 * Bounds the pieces in which bodies arrive. A client may send a body in chunks of one byte, and Node calls back for each: 64 KiB of
 * them, which is one read, take some ten milliseconds, and one turn of the event loop may read two megabytes from each connection.
 * Knows bytes, nothing of what they are for.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Any body may come in this many pieces; in a larger number of them, each holds this many bytes on average. */
const piecesFree = 10_000;
/** The same for a body that nobody reads, since its request is answered already. */
const unreadPiecesFree = 100;
const bytesPerPieceMin = 16;
/** Pieces of all bodies in one turn of the event loop at which other connections have to wait for the next. */
const piecesPerTurnMax = 1_000;

export class BodyPieces implements Disposable {
  readonly #onMany: (turnEnds: Promise<void>) => void;
  #inTurn = 0;
  #turn: NodeJS.Immediate | undefined;
  #turnEnds: () => void = () => {};

  /**
   * @param onMany Called where a turn has brought as many pieces as it may: nothing more is to be read until the promise is
   *   fulfilled. What the system has handed over by then is parsed all the same.
   */
  constructor(onMany: (turnEnds: Promise<void>) => void) {
    this.#onMany = onMany;
  }

  /** Counts one piece. `pieces` and `bytes` are those of its body so far. False where the body has too many. */
  count(pieces: number, bytes: number, free = piecesFree): boolean {
    this.#turn ??= setImmediate(() => this.#endTurn());
    this.#inTurn += 1;
    if (this.#inTurn === piecesPerTurnMax) this.#onMany(new Promise((resolve) => (this.#turnEnds = resolve)));
    return pieces <= free + bytes / bytesPerPieceMin;
  }

  /**
   * Counts the pieces of a body that nobody has read when its request is answered. Node would read it to its end, so that the
   * connection can take another request; here a connection whose chunks are tiny is closed. To be called before Node listens
   * for the end of the response.
   */
  boundUnread(request: IncomingMessage, response: ServerResponse): void {
    if (request.headers['transfer-encoding'] === undefined) return;
    response.prependOnceListener('finish', () => {
      if (request.complete || request.readableFlowing !== null) return;
      let pieces = 0;
      let bytes = 0;
      request.on('data', (piece: Buffer) => {
        pieces += 1;
        bytes += piece.length;
        if (!this.count(pieces, bytes, unreadPiecesFree)) request.destroy();
      });
      // Node leaves a body alone that somebody has begun to read.
      request.read(0);
    });
  }

  #endTurn(): void {
    this.#turn = undefined;
    this.#inTurn = 0;
    this.#turnEnds();
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#turn);
    this.#endTurn();
  }
}
