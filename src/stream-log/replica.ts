/**
 * The reading half of a stream log: the events that viewers may read, in this process's memory, and the readers that follow
 * them. What was read stays, so a viewer that comes late and one that reads along take the same path.
 *
 * Whoever fills a replica decides which events go in, and when: the memory log at once, the log on Redis once Redis has
 * them. Knows nothing of where else the events are kept, and no bound on them.
 */
import { LlmError } from '../errors.ts';
import { exhausted, pour, type Sink } from '../flow/sink.ts';
import { formatEventId, type LlmEvent, type TerminalEvent } from '../protocol.ts';
import { EventList, type Weighed } from './event-list.ts';
import { LoggedEvent, type LogBatch } from './logged-event.ts';
import type { LogReader, Produced } from './stream-log.ts';

export class Replica {
  readonly #generationId: string;
  readonly #batchBytesMax: number;
  readonly #events = new EventList();
  /** Undefined while the generation runs. The terminal event itself is the last of the events. */
  #terminalType: TerminalEvent['type'] | undefined;
  readonly #readers = new Set<Reader>();
  /** The batch that was made last. Viewers that stand at the same place share it, and the JSON that doors make of it. */
  #taken: Taken | undefined;

  /** @param batchBytesMax Bytes of text that one batch of a viewer may hold. An event that is larger by itself is a batch. */
  constructor(generationId: string, batchBytesMax: number) {
    this.#generationId = generationId;
    this.#batchBytesMax = batchBytesMax;
  }

  /** How many events there are, which is also the offset that the next one will get. */
  get length(): number {
    return this.#events.length;
  }

  get terminalType(): TerminalEvent['type'] | undefined {
    return this.#terminalType;
  }

  /** Undefined while the generation runs. */
  get terminal(): TerminalEvent | undefined {
    return this.#terminalType && (JSON.parse(this.#events.lastJson()) as TerminalEvent);
  }

  get readers(): number {
    return this.#readers.size;
  }

  /** All text so far, without the thinking. */
  get text(): string {
    return this.#events.text();
  }

  /** All events, and after them others that readers can't have yet. */
  produced(others: readonly LlmEvent[] = []): Produced {
    const { events: kept } = this.#events.slice(0, Infinity);
    const events = kept.map(({ event }) => (typeof event === 'string' ? (JSON.parse(event) as LlmEvent) : event));
    let text = this.text;
    for (const event of others) {
      const last = events.at(-1)!;
      if (event.type === 'text') text += event.text;
      const merges = 'text' in event && 'text' in last && event.type === last.type && event.index === last.index;
      if (merges) events[events.length - 1] = { ...event, text: last.text + event.text };
      else events.push(event);
    }
    return { text, events };
  }

  /** Weighs events that the next `push` will add. */
  weigh(events: readonly LlmEvent[]): Weighed {
    return this.#events.weigh(events);
  }

  /**
   * Adds events, and hands them in this very call to every reader whose sink is ready.
   *
   * @param terminalType The type of the last event if that is the terminal one.
   */
  push(weighed: Weighed, terminalType: TerminalEvent['type'] | undefined): void {
    const first = this.#events.length;
    this.#events.push(weighed);
    this.#terminalType = terminalType;
    // Readers that have kept up stand right before these events, so the batch for them needs no look-up, cut or merge.
    if (this.#readers.size > 0 && weighed.bytes <= this.#batchBytesMax) this.#taken = this.#share(first, weighed);
    for (const reader of this.#readers) reader.wake();
  }

  /** The event at an offset, as an object or as its JSON. There must be one. */
  at(offset: number): LlmEvent | string {
    return this.#events.at(offset);
  }

  /**
   * A reader that begins after the event at offset `after`; -1 for the first event.
   *
   * @param onClose Called once, when the reader is closed.
   * @throws LlmError `invalid_input` if `after` lies beyond the last event.
   */
  read(after: number, signal: AbortSignal, onClose?: () => void): LogReader {
    if (after >= this.#events.length) throw cursorBeyondEnd();
    const reader = new Reader(this, after + 1, signal, () => {
      this.#readers.delete(reader);
      if (this.#readers.size === 0) this.#taken = undefined;
      onClose?.();
    });
    this.#readers.add(reader);
    return reader;
  }

  /** Closes all readers as moved. */
  moveReaders(): void {
    for (const reader of this.#readers) reader.move();
  }

  /** What a reader whose next offset is `next` gets now: a batch, `exhausted` after the last one, or undefined if it must wait. */
  take(next: number): Taken | typeof exhausted | undefined {
    const { length } = this.#events;
    if (next >= length) return this.#terminalType ? exhausted : undefined;
    if (this.#taken?.next !== next || this.#taken.length !== length) this.#taken = this.#batch(next);
    return this.#taken;
  }

  /** The events from offset `next` on, up to the bound of a batch. */
  #batch(next: number): Taken {
    const { events, end } = this.#events.slice(next, this.#batchBytesMax);
    const batch = events.map(({ offset, event }) =>
      typeof event === 'string' ? this.#logged(offset, undefined, event) : this.#logged(offset, event),
    );
    return { next, length: this.#events.length, batch, end };
  }

  /** The same for events that were pushed just now, the first of them at offset `next`. */
  #share(next: number, { events, jsons }: Weighed): Taken {
    const batch = events.map((event, at) => this.#logged(next + at, event, jsons?.[at]));
    const { length } = this.#events;
    return { next, length, batch, end: length };
  }

  #logged(offset: number, event?: LlmEvent, json?: string): LoggedEvent {
    const terminal = this.#terminalType !== undefined && offset === this.#events.length - 1;
    return new LoggedEvent(formatEventId(this.#generationId, offset), terminal, event, json);
  }
}

/** A batch from offset `next` to before `end`, made when there were `length` events. */
interface Taken {
  readonly next: number;
  readonly length: number;
  readonly batch: LogBatch;
  readonly end: number;
}

/** What a viewer is refused with whose cursor names an event that its log doesn't have. */
export function cursorBeyondEnd(): LlmError {
  return LlmError.invalidInput([{ path: 'lastEventId', message: 'beyond the end' }]);
}

/** A cursor in a replica. */
class Reader implements LogReader {
  moved = false;
  readonly #replica: Replica;
  readonly #signal: AbortSignal;
  readonly #onClose: () => void;
  #next: number;
  /** Nothing more is to be taken, though the reader may not have noticed yet. */
  #stopped: boolean;
  #closed = false;
  /** Called when there may be something to take; undefined while nobody waits. */
  #onWake: (() => void) | undefined;

  constructor(replica: Replica, next: number, signal: AbortSignal, onClose: () => void) {
    this.#replica = replica;
    this.#next = next;
    this.#signal = signal;
    this.#onClose = onClose;
    this.#stopped = signal.aborted;
    signal.addEventListener('abort', this.#stop);
  }

  next(): Promise<IteratorResult<LogBatch, undefined>> {
    return new Promise((resolve) => {
      this.#onWake = () => {
        const batch = this.#take();
        if (batch === undefined) return;
        this.#onWake = undefined;
        resolve(batch === exhausted ? { done: true, value: undefined } : { done: false, value: batch });
      };
      this.wake();
    });
  }

  async return(): Promise<IteratorResult<LogBatch, undefined>> {
    this.#stop();
    this.#close();
    return { done: true, value: undefined };
  }

  async pipe(sink: Sink<LogBatch>): Promise<void> {
    const { wake, done } = pour(() => this.#take(), sink);
    this.#onWake = wake;
    this.wake();
    try {
      await done;
    } finally {
      this.#close();
    }
  }

  /** To be called when there may be something to take. */
  wake(): void {
    this.#onWake?.();
  }

  move(): void {
    this.moved = true;
    this.#stop();
    this.#close();
  }

  readonly #stop = (): void => {
    this.#stopped = true;
    this.wake();
  };

  #take(): LogBatch | typeof exhausted | undefined {
    const taken = this.#stopped ? exhausted : this.#replica.take(this.#next);
    if (taken === undefined) return undefined;
    if (taken === exhausted) {
      this.#close();
      return exhausted;
    }
    this.#next = taken.end;
    return taken.batch;
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onWake = undefined;
    this.#signal.removeEventListener('abort', this.#stop);
    this.#onClose();
  }
}
