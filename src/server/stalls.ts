/**
 * Closes connections whose peers read nothing while bytes wait for them. Node's own timeout of a socket starts again with each byte
 * that the peer sends, so it never closes a peer that sends and never reads; here only bytes that the peer took are progress. One
 * timer looks at all connections, so that no write has to restart a timer of its own.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** How often the timer looks within `stallMs`. */
const looksPerStall = 4;

/** What a connection had taken at the last look. */
interface Mark {
  /** Bytes that had left Node's buffer. */
  readonly left: number;
  /** Bytes of the current write that the system had not taken. */
  readonly queued: number | undefined;
  /** Looks since both numbers last changed. */
  readonly looks: number;
}

export class StallWatch implements Disposable {
  readonly #marks = new Map<Socket, Mark | undefined>();
  readonly #clock: NodeJS.Timeout;

  /** @param stallMs A connection that takes nothing is closed after this time, or up to a quarter later. */
  constructor(server: Server, stallMs: number) {
    server.on('connection', (socket: Socket) => {
      this.#marks.set(socket, undefined);
      socket.once('close', () => this.#marks.delete(socket));
    });
    // Looks are counted, not time: when the process has slept or was busy, no peer loses the time that it has.
    this.#clock = setInterval(() => this.#look(), Math.max(1, stallMs / looksPerStall)).unref();
  }

  #look(): void {
    for (const [socket, before] of this.#marks) {
      if (socket.writableLength === 0) {
        if (before) this.#marks.set(socket, undefined);
        continue;
      }
      const left = socket.bytesWritten - socket.writableLength;
      const queued = queuedBytes(socket);
      const same = before?.left === left && before.queued === queued;
      const looks = same ? before.looks + 1 : 0;
      if (looks >= looksPerStall) socket.destroy();
      else this.#marks.set(socket, { left, queued, looks });
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#clock);
  }
}

/**
 * Bytes of the current write that the system has not taken yet. One write may be long, and take long on a slow line. Node's own
 * timeout reads this number for the same reason, and no public property has it. Where a version of Node lacks it, a write counts as
 * progress when it has left whole.
 */
function queuedBytes(socket: Socket): number | undefined {
  return (socket as unknown as { readonly _handle?: { readonly writeQueueSize?: number } | null })._handle
    ?.writeQueueSize;
}
