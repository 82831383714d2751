/**
 * One viewer of a generation. Knows nothing of how its log is found: whoever makes a view passes a function that opens it.
 */
import { LlmError } from '../errors.ts';
import type { Sink } from '../flow/sink.ts';
import type { LogBatch, LogReader } from '../stream-log/stream-log.ts';

/** The batches of a generation's log after the viewer's cursor, to be pulled or piped, not both. */
export interface LogView extends LogReader {
  [Symbol.asyncIterator](): LogView;

  /** Has `release` called when the view is closed; at once if it is already. */
  onClose(release: () => void): void;

  /** Has `callback` called when the view is open: nothing can refuse it from then on. Must be called before `next` and `pipe`. */
  onOpen(callback: () => void): void;
}

/** How long a client waits before it asks another instance. */
const movedRetryMs = 1_000;

/** The refusal for a viewer who can follow the log on another instance, where a response can’t just end. */
export function movedAway(): LlmError {
  return new LlmError('shutting_down', 'This instance can’t go on with the answer; ask again', {
    retryAfterMs: movedRetryMs,
  });
}

/** Takes the places that a view needs, finds or makes its log, and opens the reader. Called once at most. */
export type OpenView = (view: View) => Promise<LogReader>;

/**
 * A view that is opened by the first call of `next` or `pipe`, and passes all calls to the log's own reader from then on. What
 * was taken for it is given back when the log was read to its end, the signal has aborted, or whoever iterates leaves.
 */
export class View implements LogView {
  readonly signal: AbortSignal;
  readonly #open: OpenView;
  readonly #releases: (() => void)[] = [];
  #opened: () => void = () => {};
  #reader: LogReader | undefined;
  #moved = false;
  #closed = false;

  constructor(signal: AbortSignal, open: OpenView) {
    this.signal = signal;
    this.#open = open;
  }

  get moved(): boolean {
    return this.#moved || (this.#reader?.moved ?? false);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  onOpen(callback: () => void): void {
    this.#opened = callback;
  }

  async next(): Promise<IteratorResult<LogBatch, undefined>> {
    const reader = this.#reader ?? (await this.#openReader());
    return reader ? reader.next() : { done: true, value: undefined };
  }

  async pipe(sink: Sink<LogBatch>): Promise<void> {
    const reader = this.#reader ?? (await this.#openReader());
    await reader?.pipe(sink);
  }

  async return(): Promise<IteratorResult<LogBatch, undefined>> {
    this.close();
    return this.#reader ? this.#reader.return() : { done: true, value: undefined };
  }

  onClose(release: () => void): void {
    if (this.#closed) release();
    else this.#releases.push(release);
  }

  /** Gives back all that was taken. The log's reader calls it when it is closed. */
  readonly close = (): void => {
    this.#closed = true;
    for (const release of this.#releases.splice(0)) release();
  };

  /** Ends the view early. Its client is to ask again, with the cursor that it has by then. */
  readonly move = (): void => {
    this.#moved = true;
    void this.return();
  };

  /** Undefined if the view was closed before it was opened. */
  async #openReader(): Promise<LogReader | undefined> {
    if (this.#closed || this.signal.aborted) {
      this.close();
      return undefined;
    }
    try {
      this.#reader = await this.#open(this);
    } catch (error) {
      this.close();
      throw error;
    }
    // Whoever iterates may have left while the view was being opened.
    if (this.#closed) await this.#reader.return();
    else this.#opened();
    return this.#reader;
  }
}
