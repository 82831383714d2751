/**
 * One stream log in this process's memory: a list whose index is the offset. What was read stays, so a late viewer and a
 * live one take the same path. Knows of the store that keeps it only how to ask for room and when to say that it has ended.
 */
import { LlmError } from '../errors.ts';
import { formatEventId, isTerminal, type LlmEvent, type StartEvent, type TerminalEvent } from '../protocol.ts';
import { exhausted, pour, type Sink } from '../flow/sink.ts';
import { EventList, type Weighed } from './event-list.ts';
import {
  LoggedEvent,
  type GenerationRecord,
  type LogBatch,
  type LogReader,
  type LogStatus,
  type StreamLog,
} from './stream-log.ts';

export interface MemoryLogLimits {
  /** Bytes that one generation's log may hold, before it ends with `log_limit`. */
  readonly logBytesMax: number;
  /** Bytes of text that one batch of a viewer may hold. */
  readonly viewerBatchBytesMax: number;
}

/** The store's part in one of its logs. */
export interface LogKeeper {
  /** Takes room for more bytes; false if there is none. */
  grow(bytes: number): boolean;
  /** Called after the terminal event is in the log. */
  ended(): void;
}

/** Bytes that a log costs beside its events. */
export const logOverheadBytes = 1_024;

export class MemoryStreamLog implements StreamLog {
  readonly record: GenerationRecord;
  /** Bytes of room that it has taken. */
  bytes = logOverheadBytes;
  /** Beside the record, which is an object of some caller's making, for every event to be named by. */
  readonly #generationId: string;
  readonly #limits: MemoryLogLimits;
  readonly #keeper: LogKeeper;
  readonly #events = new EventList();
  /** Undefined while it runs. The terminal event itself is among the events. */
  #terminalType: TerminalEvent['type'] | undefined;
  readonly #readers = new Set<Reader>();
  /** The batch that was last made: viewers that stand at the same place share it, and the JSON that is made of it. */
  #taken: Taken | undefined;

  constructor(record: GenerationRecord, start: StartEvent, limits: MemoryLogLimits, keeper: LogKeeper) {
    this.record = record;
    this.#generationId = record.generationId;
    this.#events.push(this.#events.weigh([start]));
    this.#limits = limits;
    this.#keeper = keeper;
  }

  async status(): Promise<LogStatus> {
    return this.#status();
  }

  append(events: readonly LlmEvent[]): Promise<never> | undefined {
    try {
      this.#append(events);
      return undefined;
    } catch (error) {
      return rejection(error);
    }
  }

  #append(events: readonly LlmEvent[]): void {
    if (this.#terminalType) throw new Error('append to a log that has its terminal event');
    const first = this.#events.length;
    const last = events.at(-1);
    const terminal = last && isTerminal(last) ? last : undefined;
    const weighed = this.#events.weigh(events);
    const { bytes } = weighed;
    const fits = this.bytes + bytes <= this.#limits.logBytesMax && this.#keeper.grow(bytes);
    // A lone terminal event is let in whatever the bounds say: without it the log would never end.
    if (!fits && !(terminal && events.length === 1)) {
      throw new LlmError('log_limit', 'The answer grew beyond what the service keeps of one');
    }
    if (fits) this.bytes += bytes;
    this.#events.push(weighed);
    this.#terminalType = terminal?.type;
    // What live viewers stand before is what has just come: nothing has to be looked up, cut or merged for them.
    if (this.#readers.size > 0 && bytes <= this.#limits.viewerBatchBytesMax) this.#taken = this.#share(first, weighed);
    for (const reader of this.#readers) reader.wake();
    if (terminal) this.#keeper.ended();
  }

  read(after: number, signal: AbortSignal, left?: () => void): LogReader {
    if (after >= this.#events.length) throw LlmError.invalidInput([{ path: 'lastEventId', message: 'beyond the end' }]);
    const reader = new Reader(this, after + 1, signal, () => {
      this.#readers.delete(reader);
      if (this.#readers.size === 0) this.#taken = undefined;
      left?.();
    });
    this.#readers.add(reader);
    return reader;
  }

  /** What a reader at `next` gets now: a batch, nothing more ever, or nothing yet. */
  take(next: number): Taken | typeof exhausted | undefined {
    const { length } = this.#events;
    if (next >= length) return this.#terminalType ? exhausted : undefined;
    if (this.#taken?.next !== next || this.#taken.length !== length) this.#taken = this.#batch(next);
    return this.#taken;
  }

  async snapshot(): Promise<LogStatus & { text: string }> {
    return { ...this.#status(), text: this.#events.text() };
  }

  #status(): LogStatus {
    return {
      state: this.#terminalType ?? 'running',
      lastOffset: this.#events.length - 1,
      terminal: this.#terminalType && (JSON.parse(this.#events.lastJson()) as TerminalEvent),
      bytes: this.bytes,
    };
  }

  /** What there is from `next` on, up to the bound of a batch. */
  #batch(next: number): Taken {
    const { events, end } = this.#events.slice(next, this.#limits.viewerBatchBytesMax);
    const batch = events.map(({ offset, event }) =>
      typeof event === 'string' ? this.#logged(offset, undefined, event) : this.#logged(offset, event),
    );
    return { next, length: this.#events.length, batch, end };
  }

  /** The same of events that were appended just now, `next` being the offset of the first. */
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

/** A batch from offset `next` to before `end`, made when the log had `length` events. */
interface Taken {
  readonly next: number;
  readonly length: number;
  readonly batch: LogBatch;
  readonly end: number;
}

async function rejection(error: unknown): Promise<never> {
  throw error;
}

/** A cursor in a log. */
class Reader implements LogReader {
  readonly #log: MemoryStreamLog;
  readonly #signal: AbortSignal;
  readonly #left: () => void;
  #next: number;
  #over: boolean;
  #gone = false;
  /** Called when there may be something to take; undefined while nobody waits. */
  #onWake: (() => void) | undefined;

  constructor(log: MemoryStreamLog, next: number, signal: AbortSignal, left: () => void) {
    this.#log = log;
    this.#next = next;
    this.#signal = signal;
    this.#left = left;
    this.#over = signal.aborted;
    signal.addEventListener('abort', this.#abort);
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
    this.#abort();
    this.#end();
    return { done: true, value: undefined };
  }

  async pipe(sink: Sink<LogBatch>): Promise<void> {
    const { wake, done } = pour(() => this.#take(), sink);
    this.#onWake = wake;
    this.wake();
    try {
      await done;
    } finally {
      this.#end();
    }
  }

  /** To be called when there may be something for it. */
  wake(): void {
    this.#onWake?.();
  }

  readonly #abort = (): void => {
    this.#over = true;
    this.wake();
  };

  #take(): LogBatch | typeof exhausted | undefined {
    const taken = this.#over ? exhausted : this.#log.take(this.#next);
    if (taken === undefined) return undefined;
    if (taken === exhausted) {
      this.#end();
      return exhausted;
    }
    this.#next = taken.end;
    return taken.batch;
  }

  #end(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#onWake = undefined;
    this.#signal.removeEventListener('abort', this.#abort);
    this.#left();
  }
}
