/**
 * The body of one answer, read at the reader's own pace. Knows nothing of what it holds. It reads ahead by a bounded
 * amount only, and its socket is either drained to the end of the response and reused, or closed.
 */
import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** Above this much unread, the socket isn't read, and TCP slows upstream down. */
const readAheadBytesMax = 64 * 1024;
/** A socket that was destroyed reports its close within a turn or two; longer than this nobody waits for it. */
const closeWaitMs = 1_000;
/** How long a response may take from its last event to its end before its socket is given up instead of reused. */
const endWaitMs = 100;

export class ResponseBody {
  readonly #message: IncomingMessage;
  readonly #closed: Promise<void>;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #state: 'open' | 'ended' | 'broken' = 'open';
  #discard = false;
  #wake: (() => void) | undefined;

  /** Takes over the message: attaches what it needs to, and starts to read ahead. */
  constructor(message: IncomingMessage) {
    this.#message = message;
    message.on('data', (chunk: Buffer) => this.#take(chunk));
    message.on('end', () => this.#settle('ended'));
    // `close` follows and says all there is to say.
    message.on('error', () => {});
    this.#closed = new Promise((resolve) => {
      message.on('close', () => {
        this.#settle('broken');
        resolve();
      });
    });
  }

  /** Whether the response ended as HTTP says it should; false too while it hasn't ended. */
  get ended(): boolean {
    return this.#state === 'ended';
  }

  /** Settles when `take` has something to give, or never will again. For one caller at a time. */
  ready(): Promise<void> | undefined {
    if (this.#waiting.length > 0 || this.#state !== 'open') return undefined;
    return new Promise((resolve) => (this.#wake = resolve));
  }

  /** All that has come since the last call; undefined if that is nothing: after `ready`, that is the end. */
  take(): readonly Buffer[] | undefined {
    if (this.#waiting.length === 0) return undefined;
    const chunks = this.#waiting;
    this.#waiting = [];
    if (this.#waitingBytes > readAheadBytesMax) this.#message.resume();
    this.#waitingBytes = 0;
    return chunks;
  }

  /** Closes the socket, unless the response has ended and it isn't this one's any more. What is unread is lost. */
  destroy(): void {
    this.#discardAll();
    if (this.#state !== 'open') return;
    this.#settle('broken');
    this.#message.destroy();
  }

  /** As `destroy`; settles when the socket is closed, or after a second. */
  async close(): Promise<void> {
    this.destroy();
    if (this.#state !== 'ended') await settledWithin(this.#closed, closeWaitMs);
  }

  /** Leaves the rest unread, so that the socket can be reused; closes it if the response doesn't end at once. */
  async finish(): Promise<void> {
    this.#discardAll();
    this.#message.resume();
    if (this.#state === 'open') {
      await settledWithin(new Promise<void>((resolve) => (this.#wake = resolve)), endWaitMs);
    }
    await this.close();
  }

  #take(chunk: Buffer): void {
    if (this.#discard) return;
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes > readAheadBytesMax) this.#message.pause();
    this.#wakeReader();
  }

  #settle(state: 'ended' | 'broken'): void {
    if (this.#state === 'open') this.#state = state;
    this.#wakeReader();
  }

  #wakeReader(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  #discardAll(): void {
    this.#discard = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}

async function settledWithin(settled: Promise<void>, ms: number): Promise<void> {
  const timer = new AbortController();
  try {
    await Promise.race([settled, delay(ms, undefined, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}
