/**
 * One stream log in this process's memory. Knows of the store that keeps it only how to ask for room and when to say that its
 * generation has ended.
 */
import { LlmError } from '../errors.ts';
import { isTerminal, type CallAnswer, type LlmEvent, type StartEvent, type TerminalEvent } from '../protocol.ts';
import { heldBytesOf } from './event-list.ts';
import { Replica } from './replica.ts';
import {
  readToEnd,
  rejection,
  resolveBy,
  type GenerationRecord,
  type LogReader,
  type LogStatus,
  type Produced,
  type Producer,
  type StreamLog,
  type TakeRoom,
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

/** Bytes that a log costs beside its events, without a thread. */
const logOverheadBytes = 1_024;
/** Bytes that a thread takes beside its label: its entry among the caller's threads, and the set of its logs. */
const threadOverheadBytes = 256;

/** Bytes that a log costs beside its events. The label stands in the record, and once more in the JSON of `start`. */
export function overheadBytesOf({ thread }: GenerationRecord): number {
  return thread === undefined ? logOverheadBytes : logOverheadBytes + threadOverheadBytes + 2 * heldBytesOf(thread);
}

export class MemoryStreamLog implements StreamLog {
  readonly record: GenerationRecord;
  /** Bytes of room that it has taken. */
  bytes: number;
  readonly #limits: MemoryLogLimits;
  readonly #keeper: LogKeeper;
  readonly #producer: Producer;
  readonly #replica: Replica;

  constructor(
    record: GenerationRecord,
    start: StartEvent,
    producer: Producer,
    limits: MemoryLogLimits,
    keeper: LogKeeper,
  ) {
    this.record = record;
    this.bytes = overheadBytesOf(record);
    this.#limits = limits;
    this.#keeper = keeper;
    this.#producer = producer;
    this.#replica = new Replica(record.generationId, limits.viewerBatchBytesMax);
    this.#replica.push(this.#replica.weigh([start]), undefined);
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
    if (this.#replica.terminalType) throw new Error('append to a log that has its terminal event');
    const last = events.at(-1);
    const terminal = last && isTerminal(last) ? last : undefined;
    const weighed = this.#replica.weigh(events);
    const { bytes } = weighed;
    const fits = this.bytes + bytes <= this.#limits.logBytesMax && this.#keeper.grow(bytes);
    // A terminal event on its own is let in whatever the bounds say: without it the log would never end.
    if (!fits && !(terminal && events.length === 1)) {
      throw new LlmError('log_limit', 'The answer grew beyond what the service keeps of one');
    }
    if (fits) this.bytes += bytes;
    this.#replica.push(weighed, terminal?.type);
    if (terminal) this.#keeper.ended();
  }

  async read(after: number, signal: AbortSignal, onClose?: () => void): Promise<LogReader> {
    return this.#replica.read(after, signal, onClose);
  }

  async snapshot(room?: TakeRoom): Promise<LogStatus & { text: string }> {
    await room?.(this.bytes);
    return { ...this.#status(), text: this.#replica.text };
  }

  produced(): Produced {
    return this.#replica.produced();
  }

  /** What was appended is in memory, and so it is in the log. */
  recorded(): undefined {}

  resolve(answers: readonly CallAnswer[]): Promise<number> {
    return resolveBy(this.#producer, answers);
  }

  async cancel(): Promise<TerminalEvent> {
    if (!this.#replica.terminalType) this.#producer.cancel();
    return readToEnd(this);
  }

  /** No other instance can read what is in this process's memory. */
  async recountViewers(): Promise<void> {}

  #status(): LogStatus {
    const { terminalType, terminal, length } = this.#replica;
    return { state: terminalType ?? 'running', lastOffset: length - 1, terminal };
  }
}
