/** A reader that gives one event, the last, under an offset that its log doesn't have. */
import type { Sink } from '../../flow/sink.ts';
import { formatEventId, type TerminalEvent } from '../../protocol.ts';
import { LoggedEvent, type LogBatch } from '../logged-event.ts';
import type { LogReader } from '../stream-log.ts';

export class LastEvent implements LogReader {
  readonly moved = false;
  readonly #batch: LogBatch;
  readonly #onClose: () => void;
  #given = false;
  #closed = false;

  /** @param onClose Called once, when the event was given, or the reader has returned. */
  constructor(generationId: string, offset: number, terminal: TerminalEvent, onClose: () => void) {
    this.#batch = [new LoggedEvent(formatEventId(generationId, offset), true, terminal, undefined)];
    this.#onClose = onClose;
  }

  async next(): Promise<IteratorResult<LogBatch, undefined>> {
    if (this.#given) return this.return();
    this.#given = true;
    return { done: false, value: this.#batch };
  }

  async return(): Promise<IteratorResult<LogBatch, undefined>> {
    this.#given = true;
    if (!this.#closed) {
      this.#closed = true;
      this.#onClose();
    }
    return { done: true, value: undefined };
  }

  async pipe(sink: Sink<LogBatch>): Promise<void> {
    try {
      if (!this.#given) await sink(this.#batch);
    } finally {
      await this.return();
    }
  }
}
