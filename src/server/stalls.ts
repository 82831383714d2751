/**
 * Closes connections whose peers take nothing of what waits for them. Node's own timeout of a socket begins anew with each
 * byte that the peer sends, so whoever sends and never reads would be waited for without end: here only what was taken is
 * progress. One clock for all connections, whatever they speak, so that none winds a timer up at each write.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** How often it looks in the time that a connection may take nothing. */
const looksPerStall = 4;

/** What a connection had taken when it was looked at, and how often that has been the same since. */
interface Mark {
  readonly left: number;
  readonly queued: number | undefined;
  readonly looks: number;
}

export class StallWatch implements Disposable {
  readonly #marks = new Map<Socket, Mark | undefined>();
  readonly #clock: NodeJS.Timeout;

  /** @param stallMs A connection that takes nothing is closed after this time, and a quarter of it at the most. */
  constructor(server: Server, stallMs: number) {
    server.on('connection', (socket: Socket) => {
      this.#marks.set(socket, undefined);
      socket.once('close', () => this.#marks.delete(socket));
    });
    // Looks are counted, not time: after a process has slept or been busy, peers get their time all the same.
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
 * What the system has not taken yet of the write that is under way, which may be a long one on a slow line. Node's own
 * timeout looks at it for the same reason; no public property tells it. Where it is missing, a write is progress when it
 * has left whole.
 */
function queuedBytes(socket: Socket): number | undefined {
  return (socket as unknown as { readonly _handle?: { readonly writeQueueSize?: number } | null })._handle
    ?.writeQueueSize;
}
