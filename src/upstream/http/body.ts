/**
 * The body of one response. It hands its chunks to a sink no faster than the sink takes them, and reads ahead by a
 * bounded amount. Knows nothing of what the bytes mean. Its socket is either drained to the end of the response and
 * kept for another request, or closed.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable, Transform } from 'node:stream';
import { exhausted, pour, type Sink } from '../../flow/sink.ts';
import { within } from '../../flow/within.ts';
import { pauseBriefly, ReadPace, type BrieflyPaused } from './read-pace.ts';

/** When more bytes than this wait for the sink, the socket isn't read any more, and TCP slows upstream down. */
const readAheadBytesMax = 64 * 1024;
/**
 * How long to wait for a destroyed socket to report its close. It usually does so within a turn or two of the event
 * loop.
 */
const closeWaitMs = 1_000;
/**
 * How long to wait for the end of a response after the message is complete. Then its socket is closed instead of kept.
 */
const endWaitMs = 100;

export class ResponseBody implements BrieflyPaused {
  readonly #message: IncomingMessage;
  /** Where the bytes are read from: the message, or its decoder. */
  readonly #source: Readable;
  readonly #closed: Promise<void>;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #state: 'open' | 'finished' | 'broken' = 'open';
  #discard = false;
  #undecodable = false;
  readonly #pace = new ReadPace();
  /** Whether a pause is on: chunks that arrive are kept until it is over. */
  #paused = false;
  /** The socket that this body has paused, and must resume. */
  #pausedSocket: Socket | undefined;
  #wake: () => void = () => {};
  #onSettled: () => void = () => {};

  /**
   * Takes over the message: adds its listeners, and begins to read ahead.
   *
   * @param decoder Decodes the message's bytes. It belongs to the body from now on.
   */
  constructor(message: IncomingMessage, decoder?: Transform) {
    this.#message = message;
    this.#source = decoder ? message.pipe(decoder) : message;
    this.#source.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#source.on('end', () => this.#settle('finished'));
    // Node emits `close` after an error, and the listener below acts on that.
    message.on('error', () => {});
    decoder?.on('error', () => {
      this.#undecodable = true;
      this.destroy();
    });
    this.#closed = new Promise((resolve) => {
      message.on('close', () => {
        // A message that has arrived whole may still be in the decoder, which emits `end` when it is through.
        if (!decoder || !message.complete || this.#discard) this.#settle('broken');
        resolve();
      });
    });
  }

  /** Whether the bytes are not in the encoding that `content-encoding` names. */
  get undecodable(): boolean {
    return this.#undecodable;
  }

  /** Whether the response has arrived whole, as HTTP's framing says. False while it is still arriving. */
  get finished(): boolean {
    return this.#state === 'finished';
  }

  /**
   * Hands the sink all chunks that have arrived, and then the chunks of each read of the socket. Settles when the body
   * is finished, broken or stopped, and the sink has the last chunk. May be called once. The sink may use the bytes
   * only until it returns, also where it returns a promise: the buffer of the next read is the same.
   */
  pipe(sink: Sink<readonly Buffer[]>): Promise<void> {
    const { wake, done } = pour(() => this.#next(), sink);
    this.#wake = wake;
    wake();
    return done;
  }

  /**
   * Whether `takeChunks` may be called. It may not while the message holds earlier chunks, which must be handed over
   * first.
   */
  get flows(): boolean {
    return this.#message.readableFlowing === true && this.#message.readableLength === 0;
  }

  /**
   * Takes chunks that did not go through Node's HTTP parser, as if the message had emitted them. When this returns, the
   * bytes belong to the caller again: chunks that still wait for the sink have been copied.
   *
   * @param last Whether the read ends with these chunks, so that they are handed over at once. Otherwise they are
   *   handed over together with the chunks of the calls that follow at once.
   */
  takeChunks(chunks: readonly Buffer[], last: boolean): void {
    if (this.#discard) return;
    const first = this.#waiting.length;
    for (const chunk of chunks) this.#add(chunk);
    if (last) this.#handOver();
    else if (first === 0) process.nextTick(this.#handOver);
    for (let at = first; at < this.#waiting.length; at += 1) this.#waiting[at] = Buffer.from(this.#waiting[at]!);
  }

  /** Ends the pause. */
  resume(): void {
    this.#paused = false;
    // The response may have finished during the pause, so that another request uses the socket by now. It is resumed
    // all the same, since nobody else knows that it is paused.
    this.#pausedSocket?.resume();
    this.#pausedSocket = undefined;
    this.#wake();
  }

  pauseSocket(): void {
    if (!this.#paused || this.#state !== 'open') return;
    this.#pausedSocket = this.#message.socket;
    this.#pausedSocket.pause();
  }

  /** Drops the chunks that wait, and hands over nothing more. */
  stop(): void {
    this.#discard = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#wake();
  }

  /**
   * Closes the socket, unless the response is finished: then the socket is free for other requests. Unread bytes are
   * lost.
   */
  destroy(): void {
    this.stop();
    if (this.#state !== 'open') return;
    this.#settle('broken');
    this.#message.destroy();
    this.#source.destroy();
  }

  /** Does the same as `destroy`. Settles when the socket is closed, after a second at the latest. */
  async close(): Promise<void> {
    this.destroy();
    if (this.#state !== 'finished') await within(closeWaitMs, this.#closed);
  }

  /**
   * Reads to the end of the response and hands over nothing, so that the socket can be kept for another request. Closes
   * the socket if the response doesn't end at once.
   */
  async drain(): Promise<void> {
    this.stop();
    if (this.#source !== this.#message) this.#stopDecoding();
    this.#message.resume();
    if (this.#state === 'open') {
      await within(endWaitMs, new Promise<void>((resolve) => (this.#onSettled = resolve)));
    }
    await this.close();
  }

  #take(chunk: Buffer): void {
    if (this.#discard) return;
    this.#add(chunk);
    // One read of the socket can hold hundreds of chunks with one token each. They are handed over together, after the
    // last one. A tick runs at that moment; a promise would too, but costs more than everything else that is done with
    // one chunk.
    if (this.#waiting.length === 1) process.nextTick(this.#handOver);
  }

  #add(chunk: Buffer): void {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes > readAheadBytesMax) this.#source.pause();
  }

  readonly #handOver = (): void => {
    if (!this.#paused) this.#wake();
  };

  #next(): readonly Buffer[] | typeof exhausted | undefined {
    if (this.#waiting.length === 0) return this.#discard || this.#state !== 'open' ? exhausted : undefined;
    const chunks = this.#waiting;
    this.#waiting = [];
    if (this.#waitingBytes > readAheadBytesMax) this.#source.resume();
    this.#waitingBytes = 0;
    if (this.#pace.tooFast(chunks.length) && !this.#paused && this.#state === 'open') {
      this.#paused = true;
      pauseBriefly(this);
    }
    return chunks;
  }

  /** Removes the decoder. What remains of the message is read but not decoded. */
  #stopDecoding(): void {
    this.#message.unpipe();
    this.#source.destroy();
    if (this.#message.readableEnded) this.#settle('finished');
    else this.#message.on('end', () => this.#settle('finished'));
  }

  #settle(state: 'finished' | 'broken'): void {
    if (this.#state === 'open') this.#state = state;
    this.#wake();
    this.#onSettled();
  }
}
