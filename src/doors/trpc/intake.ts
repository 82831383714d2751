/**
 * What a WebSocket's client sends, taken one after the other and no faster than the client takes the answers: beyond a bound
 * on answers that wait, or on calls in progress, the socket isn't read on. Knows nothing of what the messages say.
 *
 * Events don't count as answers. The log bounds what waits of them, and a viewer that is behind with them must be able to
 * stop its answer: its messages are read as long as it has taken the answers to those before.
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { leaveTogether } from '../flow-control.ts';
import type { Hold } from '../../access/held-bytes.ts';

export interface IntakeLimits {
  /** Bytes of answers that wait in the socket at which it isn't read on. */
  readonly socketBufferBytesMax: number;
  /** Calls of one socket in progress at once. */
  readonly callsPerSocketMax: number;
}

/** https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1, and what the IANA has added */
export const closeCodes = { goingAway: 1001, policyViolation: 1008, tryAgainLater: 1013 } as const;
/** How long a client may take to answer that its socket is to be closed. */
export const closeMs = 1_000;
/** An answer costs so much at least, however short it is. */
const answerBytesMin = 256;
/** So many messages may wait. One read brings fewer of those that say anything. */
const stepsMax = 1_024;
/** Bytes of an unfinished message that the system's own buffers would hold as well: they count for nobody. */
const uncountedBytes = 64 * 1_024;

export class Intake {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  readonly #limits: IntakeLimits;
  /** Steps that wait, of one read of the socket, which brings 64 KiB at most; those before `#next` have been taken. */
  #steps: (() => void)[] = [];
  #next = 0;
  #stepping = false;
  #goesOnLater = false;
  /** Bytes of answers that have not left. */
  #unsentBytes = 0;
  #calls = 0;
  /** Whether a call is in progress that lets no other begin. */
  #alone = false;
  /** What the socket had brought when the last message was taken. */
  #takenBytes = 0;
  #hold: Hold | undefined;
  #closed = false;

  constructor(webSocket: WebSocket, socket: Socket, limits: IntakeLimits) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#limits = limits;
    this.#takenBytes = socket.bytesRead;
    // Heard after `ws`, which has put it to the message it belongs to.
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

  /** Bytes of a message that is still coming, and of those that wait. */
  get bytes(): number {
    return this.#socket.bytesRead - this.#takenBytes;
  }

  /** Counts messages that are still coming, from now on. */
  count(hold: Hold): void {
    if (this.#closed) hold[Symbol.dispose]();
    else this.#hold = hold;
  }

  /** Takes a message when its turn comes: at once, as a rule. */
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

  /** From within a message: what is to be done of it before the next one is taken, each when there is room for it. */
  takeParts(parts: readonly (() => void)[]): void {
    this.#steps.splice(this.#next, 0, ...parts);
  }

  /**
   * To be called where a call begins; gives what is to be called when it has been answered.
   *
   * @param alone Whether nothing else is to begin meanwhile: its answer may be a long one.
   */
  begin(alone = false): () => void {
    this.#calls += 1;
    if (alone) this.#alone = true;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#calls -= 1;
      if (alone) this.#alone = false;
      this.#goOnLater();
    };
  }

  /** To be called where an answer is written; gives what is to be called when it has left. */
  answering(answerBytes: number): () => void {
    const bytes = Math.max(answerBytes, answerBytesMin);
    this.#unsentBytes += bytes;
    // Those that are written in one turn leave in one piece.
    if (this.#socket.writableCorked === 0) leaveTogether(this.#socket);
    return () => {
      this.#unsentBytes -= bytes;
      this.#goOnLater();
    };
  }

  /** Closes a socket whose client needn't answer: nothing more of it is read. */
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

  /** In a later turn, so that whoever sends a great deal and reads it all holds up nobody else. */
  #goOnLater(): void {
    if (this.#goesOnLater || this.#steps.length === 0) return;
    this.#goesOnLater = true;
    setImmediate(() => {
      this.#goesOnLater = false;
      this.#goOn();
    });
  }
}
