/**
 * The body of one answer, read at the reader's own pace. Knows nothing of what it holds. It reads ahead by a bounded
 * amount only, and its socket is either drained to the end of the response and reused, or closed.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable, Transform } from 'node:stream';
import { exhausted, pour, type Sink } from '../../flow/sink.ts';
import { within } from '../../flow/within.ts';
import { pauseBriefly, ReadPace, type BrieflyPaused } from './read-pace.ts';

/** Above this much unread, the socket isn't read, and TCP slows upstream down. */
const readAheadBytesMax = 64 * 1024;
/** A socket that was destroyed reports its close within a turn or two; longer than this nobody waits for it. */
const closeWaitMs = 1_000;
/** How long a response may take from its last event to its end before its socket is given up instead of reused. */
const endWaitMs = 100;

export class ResponseBody implements BrieflyPaused {
  readonly #message: IncomingMessage;
  /** What the bytes come from: the message, or what decodes it. */
  readonly #source: Readable;
  readonly #closed: Promise<void>;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #state: 'open' | 'finished' | 'broken' = 'open';
  #discard = false;
  #undecodable = false;
  readonly #pace = new ReadPace();
  /** Whether it keeps what comes to itself for a moment. */
  #paused = false;
  #pausedSocket: Socket | undefined;
  #wake: () => void = () => {};
  #onSettled: () => void = () => {};

  /**
   * Takes over the message: attaches what it needs to, and starts to read ahead.
   *
   * @param decoder What the message's bytes go through first. It belongs to the body then.
   */
  constructor(message: IncomingMessage, decoder?: Transform) {
    this.#message = message;
    this.#source = decoder ? message.pipe(decoder) : message;
    this.#source.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#source.on('end', () => this.#settle('finished'));
    // `close` follows and says all there is to say.
    message.on('error', () => {});
    decoder?.on('error', () => {
      this.#undecodable = true;
      this.destroy();
    });
    this.#closed = new Promise((resolve) => {
      message.on('close', () => {
        // What has come whole may still be on its way through the decoder.
        if (!decoder || !message.complete || this.#discard) this.#settle('broken');
        resolve();
      });
    });
  }

  /** Whether it isn't what its `content-encoding` says. */
  get undecodable(): boolean {
    return this.#undecodable;
  }

  /** Whether the response ended as HTTP says it should; false too while it hasn't ended. */
  get finished(): boolean {
    return this.#state === 'finished';
  }

  /**
   * Hands over all that has come, and then all that each read of the socket brings, until the response has ended or was
   * stopped. Once only. The bytes are the sink's until it returns, not until it is ready.
   */
  pipe(sink: Sink<readonly Buffer[]>): Promise<void> {
    const { wake, done } = pour(() => this.#next(), sink);
    this.#wake = wake;
    wake();
    return done;
  }

  /** Whether chunks may be given to `takeChunks`: not while the message holds some that came before. */
  get flows(): boolean {
    return this.#message.readableFlowing === true && this.#message.readableLength === 0;
  }

  /**
   * As if the message had brought these. On return, their bytes are the caller's again.
   *
   * @param last Whether these are the last for now; more that follow at once are told with them.
   */
  takeChunks(chunks: readonly Buffer[], last: boolean): void {
    if (this.#discard) return;
    const first = this.#waiting.length;
    for (const chunk of chunks) this.#add(chunk);
    if (last) this.#handOver();
    else if (first === 0) process.nextTick(this.#handOver);
    for (let at = first; at < this.#waiting.length; at += 1) this.#waiting[at] = Buffer.from(this.#waiting[at]!);
  }

  /** Ends a pause. */
  resume(): void {
    this.#paused = false;
    // Also if it is another's by now: no one else knows that it was stopped.
    this.#pausedSocket?.resume();
    this.#pausedSocket = undefined;
    this.#wake();
  }

  pauseSocket(): void {
    if (!this.#paused || this.#state !== 'open') return;
    this.#pausedSocket = this.#message.socket;
    this.#pausedSocket.pause();
  }

  /** Hands over nothing more. */
  stop(): void {
    this.#discard = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#wake();
  }

  /** Closes the socket, unless the response has ended and it isn't this one's any more. What is unread is lost. */
  destroy(): void {
    this.stop();
    if (this.#state !== 'open') return;
    this.#settle('broken');
    this.#message.destroy();
    this.#source.destroy();
  }

  /** As `destroy`; settles when the socket is closed, or after a second. */
  async close(): Promise<void> {
    this.destroy();
    if (this.#state !== 'finished') await within(closeWaitMs, this.#closed);
  }

  /** Leaves the rest unread, so that the socket can be reused; closes it if the response doesn't end at once. */
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
    // A read of the socket can hold hundreds of chunks, a token in each: they are told together, after the last of them.
    // By a tick, since a promise costs more than all that is done with the bytes of one.
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

  /** The rest of the message is read to its end, and decoded no more. */
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
