/**
 * The stream log in this process's memory. Each log is a list whose index is the offset; what has been read stays, so a
 * late viewer and a live one take the same path.
 *
 * Bounded three ways: a log in bytes, all logs in bytes, spent ids in number. Ended logs go first.
 */
import { LlmError } from '../errors.ts';
import { formatEventId, isTerminal, type LlmEvent, type StartEvent, type TerminalEvent } from '../protocol.ts';
import { ended, pour, type Sink } from '../sink.ts';
import { EventList, type Weighed } from './event-list.ts';
import { SpentIds } from './spent-ids.ts';
import {
  generationNotFound,
  LoggedEvent,
  type GenerationKey,
  type GenerationRecord,
  type LogBatch,
  type LogReader,
  type LogStatus,
  type StreamLog,
  type StreamLogs,
} from './stream-log.ts';

export interface MemoryLogLimits {
  /** Bytes that one generation's log may hold, before it ends with `log_limit`. */
  readonly logBytesMax: number;
  /** Bytes that all logs may hold together. */
  readonly logsBytesMax: number;
  /** How long a log is kept after its end. */
  readonly logRetentionMs: number;
  /** How many spent ids are remembered; past it the oldest are forgotten. */
  readonly tombstonesMax: number;
  readonly tombstoneMs: number;
  /** Bytes of text that one batch of a viewer may hold. */
  readonly viewerBatchBytesMax: number;
}

/** What a log costs beside its events. */
const logOverheadBytes = 1_024;
/** What a client is told to wait when there is no room for another log. */
const capacityRetryAfterMs = 1_000;

export class MemoryStreamLogs implements StreamLogs {
  readonly #limits: MemoryLogLimits;
  readonly #callers = new Map<string, Map<string, MemoryStreamLog>>();
  /** Ended logs that are still kept, oldest end first. */
  readonly #ended = new Map<MemoryStreamLog, { readonly expiresAt: number }>();
  readonly #spent: SpentIds;
  #bytes = 0;
  #expiry: NodeJS.Timeout | undefined;

  constructor(limits: MemoryLogLimits) {
    this.#limits = limits;
    this.#spent = new SpentIds(limits.tombstonesMax);
  }

  /** Bytes in all logs, as the limits count them. */
  get bytes(): number {
    return this.#bytes;
  }

  async open(record: GenerationRecord, start: StartEvent): Promise<{ log: StreamLog; created: boolean }> {
    const existing = this.#get(record);
    if (existing) return { log: existing, created: false };
    if (this.#spent.has(record)) throw generationNotFound();
    if (!this.#makeRoom(logOverheadBytes)) {
      throw new LlmError('at_capacity', 'The service holds as many answers as it can; try again shortly', {
        retryAfterMs: capacityRetryAfterMs,
      });
    }
    const log = new MemoryStreamLog(record, start, this.#limits, {
      grow: (bytes) => this.#makeRoom(bytes),
      ended: () => this.#keepUntilExpiry(log),
    });
    let logs = this.#callers.get(record.caller);
    if (!logs) this.#callers.set(record.caller, (logs = new Map()));
    logs.set(record.generationId, log);
    return { log, created: true };
  }

  async find(key: GenerationKey): Promise<StreamLog | undefined> {
    return this.#get(key);
  }

  async list(caller: string): Promise<readonly StreamLog[]> {
    // A map iterates in order of insertion, which is the order of starting.
    return [...(this.#callers.get(caller)?.values() ?? [])].toReversed();
  }

  async bar(key: GenerationKey, durationMs: number): Promise<StreamLog | undefined> {
    const log = this.#get(key);
    if (!log && !this.#spent.has(key)) this.#spent.add(key, durationMs);
    return log;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#expiry);
    this.#callers.clear();
    this.#ended.clear();
    this.#bytes = 0;
  }

  #get(key: GenerationKey): MemoryStreamLog | undefined {
    return this.#callers.get(key.caller)?.get(key.generationId);
  }

  /** Takes `bytes` of what is left for all logs, at the cost of the oldest ended ones; false if that doesn't do. */
  #makeRoom(bytes: number): boolean {
    while (this.#bytes + bytes > this.#limits.logsBytesMax) {
      const [oldest] = this.#ended.keys();
      if (!oldest) return false;
      this.#forget(oldest);
    }
    this.#bytes += bytes;
    return true;
  }

  #keepUntilExpiry(log: MemoryStreamLog): void {
    if (this.#limits.logRetentionMs === 0) return this.#forget(log);
    this.#ended.set(log, { expiresAt: Date.now() + this.#limits.logRetentionMs });
    this.#expiry ??= this.#scheduleExpiry(this.#limits.logRetentionMs);
  }

  /** One timer for all logs: they are kept equally long, so the one that ended first goes first. */
  #scheduleExpiry(delayMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#expiry = undefined;
      for (const [log, { expiresAt }] of this.#ended) {
        const leftMs = expiresAt - Date.now();
        if (leftMs > 0) {
          this.#expiry = this.#scheduleExpiry(leftMs);
          return;
        }
        this.#forget(log);
      }
    }, delayMs).unref();
  }

  /** Viewers that are reading it keep their reference, and read on to its end. */
  #forget(log: MemoryStreamLog): void {
    const { caller, generationId } = log.record;
    this.#ended.delete(log);
    const logs = this.#callers.get(caller);
    logs?.delete(generationId);
    if (logs?.size === 0) this.#callers.delete(caller);
    this.#bytes -= log.bytes;
    this.#spent.add(log.record, this.#limits.tombstoneMs);
  }
}

class MemoryStreamLog implements StreamLog {
  readonly record: GenerationRecord;
  /** What the store was asked for. */
  bytes = logOverheadBytes;
  /** Beside the record, which is an object of some caller's making, for every event to be named by. */
  readonly #generationId: string;
  readonly #limits: MemoryLogLimits;
  readonly #store: { grow(bytes: number): boolean; ended(): void };
  readonly #events = new EventList();
  /** Undefined while it runs. The terminal event itself is among the events. */
  #terminalType: TerminalEvent['type'] | undefined;
  readonly #readers = new Set<Reader>();
  /** The batch that was last made: viewers that stand at the same place share it, and the JSON that is made of it. */
  #taken: Taken | undefined;

  constructor(
    record: GenerationRecord,
    start: StartEvent,
    limits: MemoryLogLimits,
    store: { grow(bytes: number): boolean; ended(): void },
  ) {
    this.record = record;
    this.#generationId = record.generationId;
    this.#events.push(this.#events.weigh([start]));
    this.#limits = limits;
    this.#store = store;
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
    const fits = this.bytes + bytes <= this.#limits.logBytesMax && this.#store.grow(bytes);
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
    if (terminal) this.#store.ended();
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
  take(next: number): Taken | typeof ended | undefined {
    const { length } = this.#events;
    if (next >= length) return this.#terminalType ? ended : undefined;
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
        resolve(batch === ended ? { done: true, value: undefined } : { done: false, value: batch });
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

  #take(): LogBatch | typeof ended | undefined {
    const taken = this.#over ? ended : this.#log.take(this.#next);
    if (taken === undefined) return undefined;
    if (taken === ended) {
      this.#end();
      return ended;
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
