/**
 * Takes the messages of a WebSocket's client one after the other, and no faster than the client reads the replies. While too many
 * bytes of replies wait in the socket, or too many calls are in progress, it doesn't read the socket. Knows nothing of what the
 * messages say.
 *
 * Events don't count as replies: the door itself waits with them while the socket is full. A viewer that reads its events slowly must
 * be able to cancel its generation, so its messages are read as long as it has read the replies to the messages before.
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { leaveTogether } from '../flow-control.ts';
import type { Hold } from '../../access/held-bytes.ts';

export interface IntakeLimits {
  /** The socket isn't read while it holds more bytes of replies than this. */
  readonly socketBufferBytesMax: number;
  /** Calls of one socket in progress at once. */
  readonly callsPerSocketMax: number;
}

/** https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1; IANA has added 1013. */
export const closeCodes = { goingAway: 1001, policyViolation: 1008, tryAgainLater: 1013 } as const;
/** How long a client may take to answer a close frame. */
export const closeMs = 1_000;
/** A reply counts as this many bytes at least, since a short one costs memory too. */
const replyBytesMin = 256;
/** Messages that may wait. One read brings 64 KiB, which hold fewer messages that mean anything. */
const stepsMax = 1_024;
/** Bytes of an unfinished message that aren't counted for the caller: the system's buffers hold as many for every connection. */
const uncountedBytes = 64 * 1_024;

export class Intake {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  readonly #limits: IntakeLimits;
  /** The waiting messages of one read of the socket, which brings 64 KiB at most. The messages before `#next` have been taken. */
  #steps: (() => void)[] = [];
  #next = 0;
  #stepping = false;
  #goesOnLater = false;
  /** Bytes of replies that have not left the socket. */
  #unsentBytes = 0;
  #calls = 0;
  /** Whether a call is in progress beside which no other may begin. */
  #alone = false;
  /** Bytes that the socket had received when the last message was taken. */
  #takenBytes = 0;
  #hold: Hold | undefined;
  #closed = false;

  constructor(webSocket: WebSocket, socket: Socket, limits: IntakeLimits) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#limits = limits;
    this.#takenBytes = socket.bytesRead;
    // The listener of `ws` runs first. Messages that these bytes complete have reached `take` by now, so what is counted here is
    // an unfinished message, and messages that wait.
    socket.on('data', () => {
      const bytes = socket.bytesRead - this.#takenBytes;
      if (bytes <= uncountedBytes || this.#closed) return;
      try {
        this.#hold?.resize(bytes);
      } catch {
        this.close(closeCodes.tryAgainLater, 'too much is being sent');
      }
    });
    webSocket.on('close', () => {
      this.#closed = true;
      this.#steps = [];
      this.#next = 0;
      this.#hold?.[Symbol.dispose]();
    });
  }

  /** Bytes of the message that is still arriving, and of the messages that wait. */
  get bytes(): number {
    return this.#socket.bytesRead - this.#takenBytes;
  }

  /** From now on, counts the message that is still arriving for the caller of the hold. Disposes the hold when the socket closes. */
  count(hold: Hold): void {
    if (this.#closed) hold[Symbol.dispose]();
    else this.#hold = hold;
  }

  /** Runs the handler of a message when its turn comes; as a rule, at once. */
  take(message: () => void): void {
    if (!this.#isOpen) return;
    if (this.#steps.length - this.#next >= stepsMax) {
      return this.close(closeCodes.policyViolation, 'too many messages at once');
    }
    this.#steps.push(() => {
      this.#takenBytes = this.#socket.bytesRead;
      this.#hold?.resize(0);
      message();
    });
    this.#goOn();
  }

  /** Called by the handler of a message: runs the parts of the message before the next message, each when there is room for it. */
  takeParts(parts: readonly (() => void)[]): void {
    this.#steps.splice(this.#next, 0, ...parts);
  }

  /**
   * Counts a call that begins. Returns the function that ends the counting, for when the reply is written.
   *
   * @param alone Whether no other call may begin meanwhile. For calls whose reply may be long.
   */
  begin(alone = false): () => void {
    this.#calls += 1;
    if (alone) this.#alone = true;
    let replied = false;
    return () => {
      if (replied) return;
      replied = true;
      this.#calls -= 1;
      if (alone) this.#alone = false;
      this.#goOnLater();
    };
  }

  /** Counts a reply that is written. Returns the function that ends the counting, for when the reply has left the socket. */
  replying(replyBytes: number): () => void {
    const bytes = Math.max(replyBytes, replyBytesMin);
    this.#unsentBytes += bytes;
    // Replies that are written in one turn leave in one piece.
    if (this.#socket.writableCorked === 0) leaveTogether(this.#socket);
    return () => {
      this.#unsentBytes -= bytes;
      this.#goOnLater();
    };
  }

  /** Closes the socket and reads nothing more. A client that doesn't answer the close frame in time is cut off. */
  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.#webSocket.close(code, reason);
    this.#webSocket.pause();
    this.#steps = [];
    this.#next = 0;
    const patience = setTimeout(() => this.#webSocket.terminate(), closeMs);
    this.#webSocket.on('close', () => clearTimeout(patience));
  }

  get #isOpen(): boolean {
    return !this.#closed && this.#webSocket.readyState === this.#webSocket.OPEN;
  }

  get #hasRoom(): boolean {
    const { socketBufferBytesMax, callsPerSocketMax } = this.#limits;
    return this.#unsentBytes <= socketBufferBytesMax && this.#calls < callsPerSocketMax && !this.#alone;
  }

  #goOn(): void {
    if (this.#stepping || !this.#isOpen) return;
    this.#stepping = true;
    while (this.#next < this.#steps.length && this.#hasRoom) {
      const step = this.#steps[this.#next]!;
      this.#next += 1;
      step();
    }
    this.#stepping = false;
    if (!this.#isOpen) return;
    if (this.#next < this.#steps.length) {
      this.#webSocket.pause();
    } else {
      this.#steps = [];
      this.#next = 0;
      if (this.#webSocket.isPaused) this.#webSocket.resume();
    }
  }

  /** Goes on in a later turn of the event loop, so that a client that sends and reads a great deal delays nobody else. */
  #goOnLater(): void {
    if (this.#goesOnLater || this.#steps.length === 0) return;
    this.#goesOnLater = true;
    setImmediate(() => {
      this.#goesOnLater = false;
      this.#goOn();
    });
  }
}
