/**
 * Keeps the stream logs of a process in its memory, bounded in bytes, over all callers and for each. A log that needs room
 * beyond a bound takes the place of logs of ended generations, the oldest first, which are forgotten before their time. Beyond the caller's
 * own bound these are the caller's; beyond the bound of all, those of the caller that holds the most. So a caller with many
 * answers never has those of a caller with few forgotten.
 */
import { LlmError } from '../errors.ts';
import type { StartEvent } from '../protocol.ts';
import { MemoryStreamLog, overheadBytesOf, type MemoryLogLimits } from './memory-log.ts';
import { SpentIds } from './spent-ids.ts';
import {
  generationNotFound,
  type GenerationKey,
  type GenerationRecord,
  type LogPage,
  type Producer,
  type StreamLog,
  type StreamLogs,
} from './stream-log.ts';

export interface MemoryLogsLimits extends MemoryLogLimits {
  /** Bytes that all logs may hold together. */
  readonly logsBytesMax: number;
  /** Bytes that the logs of one caller may hold together. */
  readonly logsBytesPerCallerMax: number;
  /** How long a log is kept after its end. */
  readonly logRetentionMs: number;
  /** How many spent ids are remembered, of all callers. */
  readonly tombstonesMax: number;
  readonly tombstoneMs: number;
  /** How many ids are barred at once, of all callers. */
  readonly barsMax: number;
  /** How many ids of one caller are barred at once. */
  readonly barsPerCallerMax: number;
}

/** The `retryAfterMs` of a refusal for lack of room. */
const capacityRetryAfterMs = 1_000;

/** The logs of one caller. */
class CallerLogs {
  readonly logs = new Map<string, MemoryStreamLog>();
  /** The logs of each thread. The one that was opened first is the first. */
  readonly threads = new Map<string, Set<MemoryStreamLog>>();
  /** The logs of generations that have ended. The one that ended first is the first. */
  readonly ended = new Set<MemoryStreamLog>();
  bytes = 0;

  add(log: MemoryStreamLog): void {
    const { generationId, thread } = log.record;
    this.logs.set(generationId, log);
    if (thread === undefined) return;
    const ofThread = this.threads.get(thread);
    if (ofThread) ofThread.add(log);
    else this.threads.set(thread, new Set([log]));
  }

  delete(log: MemoryStreamLog): void {
    const { generationId, thread } = log.record;
    this.logs.delete(generationId);
    this.ended.delete(log);
    if (thread === undefined) return;
    const ofThread = this.threads.get(thread);
    ofThread?.delete(log);
    if (ofThread?.size === 0) this.threads.delete(thread);
  }
}

export class MemoryStreamLogs implements StreamLogs {
  readonly #limits: MemoryLogsLimits;
  readonly #callers = new Map<string, CallerLogs>();
  /** When the log of each ended generation is forgotten, in milliseconds since 1970. The one that ended first is the first. */
  readonly #expiries = new Map<MemoryStreamLog, number>();
  readonly #spent: SpentIds;
  /** Kept apart from the spent ids, so that cancels of ids that never were can't use up the room of those, which last far longer. */
  readonly #bars: SpentIds;
  #bytes = 0;
  #expiry: NodeJS.Timeout | undefined;

  constructor(limits: MemoryLogsLimits) {
    this.#limits = limits;
    this.#spent = new SpentIds(limits.tombstonesMax);
    this.#bars = new SpentIds(limits.barsMax);
  }

  /** Bytes in all logs, as the limits count them. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    let count = 0;
    for (const { logs } of this.#callers.values()) count += logs.size;
    return count;
  }

  /** Always true: the logs are in this process. */
  get reachable(): boolean {
    return true;
  }

  /** Nothing to connect to. */
  async connect(): Promise<void> {}

  async open(
    record: GenerationRecord,
    start: StartEvent,
    producer: Producer,
  ): Promise<{ log: StreamLog; created: boolean }> {
    const existing = this.#get(record);
    if (existing) return { log: existing, created: false };
    if (this.#spent.has(record) || this.#bars.has(record)) throw generationNotFound();
    const { caller } = record;
    const mine = this.#callers.get(caller) ?? new CallerLogs();
    const refusal = this.#take(mine, overheadBytesOf(record));
    if (refusal) throw refusal;
    const log = new MemoryStreamLog(record, start, producer, this.#limits, {
      grow: (bytes) => this.#take(mine, bytes) === undefined,
      ended: () => this.#keepUntilExpiry(log, mine),
    });
    // Set also where it was found: a caller's entry is deleted with its last log, which may just have made room for this one.
    this.#callers.set(caller, mine);
    mine.add(log);
    return { log, created: true };
  }

  async find(key: GenerationKey): Promise<StreamLog | undefined> {
    return this.#get(key);
  }

  async list(caller: string, { limit, before, thread }: LogPage): Promise<readonly StreamLog[]> {
    const mine = this.#callers.get(caller);
    // Maps and sets iterate in order of insertion, which is the order of starting.
    const logs = [...((thread === undefined ? mine?.logs.values() : mine?.threads.get(thread)) ?? [])];
    const end = before === undefined ? logs.length : logs.findIndex(({ record }) => record.generationId === before);
    if (end === -1) throw generationNotFound();
    return logs.slice(Math.max(0, end - limit), end).toReversed();
  }

  async bar(key: GenerationKey, durationMs: number): Promise<StreamLog | undefined> {
    const log = this.#get(key);
    if (log || this.#spent.has(key) || this.#bars.has(key)) return log;
    const { barsPerCallerMax } = this.#limits;
    if (this.#bars.count(key.caller) >= barsPerCallerMax) {
      throw new LlmError(
        'rate_limited',
        `At most ${barsPerCallerMax} cancels of generations that aren’t there at once`,
        {
          retryAfterMs: durationMs,
        },
      );
    }
    this.#bars.add(key, durationMs);
    return undefined;
  }

  /** Every log's producer is in this process. */
  moveReaders(): void {}

  /** What is in this process is never out of reach. */
  giveUp(): void {}

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#expiry);
    this.#callers.clear();
    this.#expiries.clear();
    this.#bytes = 0;
  }

  #get({ caller, generationId }: GenerationKey): MemoryStreamLog | undefined {
    return this.#callers.get(caller)?.logs.get(generationId);
  }

  /** Takes `bytes` of room for a caller, and returns undefined; or takes none, and returns the refusal. */
  #take(mine: CallerLogs, bytes: number): LlmError | undefined {
    const { logsBytesMax, logsBytesPerCallerMax } = this.#limits;
    while (mine.bytes + bytes > logsBytesPerCallerMax) {
      if (!this.#forgetOldest(mine)) return full('rate_limited', 'one caller may keep here');
    }
    while (this.#bytes + bytes > logsBytesMax) {
      if (!this.#forgetOldest(this.#largest())) return full('at_capacity', 'the service can keep');
    }
    mine.bytes += bytes;
    this.#bytes += bytes;
    return undefined;
  }

  /** The caller that holds the most bytes, of those that have a log of an ended generation. It walks through all callers, once for each log that is forgotten for another's room. */
  #largest(): CallerLogs | undefined {
    let largest: CallerLogs | undefined;
    for (const each of this.#callers.values()) {
      if (each.ended.size > 0 && each.bytes > (largest?.bytes ?? 0)) largest = each;
    }
    return largest;
  }

  /** Forgets the log of the caller's generation that ended first. Returns false if all of them run. */
  #forgetOldest(holder: CallerLogs | undefined): boolean {
    const [oldest] = holder?.ended ?? [];
    if (!holder || !oldest) return false;
    this.#forget(oldest, holder);
    return true;
  }

  #keepUntilExpiry(log: MemoryStreamLog, holder: CallerLogs): void {
    const { logRetentionMs } = this.#limits;
    if (logRetentionMs === 0) return this.#forget(log, holder);
    holder.ended.add(log);
    this.#expiries.set(log, Date.now() + logRetentionMs);
    this.#expiry ??= this.#scheduleExpiry(logRetentionMs);
  }

  /** One timer serves all logs: they are kept equally long, so the one whose generation ended first is the first to be forgotten. */
  #scheduleExpiry(delayMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#expiry = undefined;
      for (const [log, expiresAt] of this.#expiries) {
        const leftMs = expiresAt - Date.now();
        if (leftMs > 0) {
          this.#expiry = this.#scheduleExpiry(leftMs);
          return;
        }
        this.#forget(log, this.#callers.get(log.record.caller)!);
      }
    }, delayMs).unref();
  }

  /** Viewers that read the log keep a reference to it, and read on to its end. */
  #forget(log: MemoryStreamLog, holder: CallerLogs): void {
    this.#expiries.delete(log);
    holder.delete(log);
    if (holder.logs.size === 0) this.#callers.delete(log.record.caller);
    holder.bytes -= log.bytes;
    this.#bytes -= log.bytes;
    this.#spent.add(log.record, this.#limits.tombstoneMs);
  }
}

function full(code: 'rate_limited' | 'at_capacity', who: string): LlmError {
  return new LlmError(code, `There are as many answers as ${who}; try again shortly`, {
    retryAfterMs: capacityRetryAfterMs,
  });
}
