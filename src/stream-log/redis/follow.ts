/**
 * The copy of a log that another instance writes, which all viewers of it on this instance share: the reader. It enters this
 * instance among those that watch, and gets the events as messages. Where one is missing it reads the log again from there.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { LlmError } from '../../errors.ts';
import type { LlmEvent, StartEvent } from '../../protocol.ts';
import { Replica } from '../replica.ts';
import { generationNotFound, type GenerationKey, type LogReader } from '../stream-log.ts';
import { untilReached } from './cursor-wait.ts';
import { decode, pageElements, parse, terminalOf, type ParsedElement } from './elements.ts';
import { LastEvent } from './last-event.ts';
import { logOverheadBytes, type LogPlace } from './log-room.ts';
import { lostEvent } from './producer-lost.ts';
import { outOfReach } from './retry.ts';
import { BAR } from './scripts/bar.ts';
import { WATCH } from './scripts/watch.ts';
import type { Shard } from './shard.ts';
import { leaseMs } from './timing.ts';

/** Messages that are kept while the log is being read. With more, all of them are dropped, and the log is read once more. */
const earlyMax = 32;

type Watched = readonly [owner: string, state: 'r' | 'e', requestHash: string, length: number, elements: string[]];

export class Follow {
  readonly #shard: Shard;
  readonly #k: string;
  readonly #generationId: string;
  readonly #start: StartEvent;
  readonly #replica: Replica;
  /** The memory that the copy takes. */
  readonly #place: LogPlace;
  #bytes = logOverheadBytes;
  /** There is no room for what the log has. */
  #full: LlmError | undefined;
  #owner: string;
  #readers = 0;
  /** Whether a message has come since the last beat. */
  #heard = true;
  #filling: Promise<void> | undefined;
  #refill = false;
  /** Messages that came while the log is being read. */
  #early: (readonly [first: number, elements: readonly ParsedElement[]])[] = [];
  #left = false;

  constructor(shard: Shard, k: string, { caller, generationId }: GenerationKey, start: StartEvent, owner: string) {
    this.#shard = shard;
    this.#k = k;
    this.#generationId = generationId;
    this.#start = start;
    this.#owner = owner;
    this.#replica = new Replica(generationId, shard.limits.viewerBatchBytesMax);
    this.#place = shard.room.place(caller);
  }

  /** As `StreamLog.read`. */
  async read(after: number, signal: AbortSignal, onClose?: () => void): Promise<LogReader> {
    this.#readers += 1;
    const close = () => {
      this.#readers -= 1;
      if (this.#readers === 0) this.#leave();
      onClose?.();
    };
    let reader: LogReader | undefined;
    try {
      await orAborted(this.#reach(after, signal), signal);
      const { terminal, length } = this.#replica;
      if (signal.aborted) {
        reader = this.#replica.read(-1, signal, close);
      } else if (after >= length && terminal?.type === 'error' && terminal.code === 'producer_lost') {
        // The viewer has seen events that are lost with the producer and with what Redis has forgotten.
        reader = new LastEvent(this.#generationId, after + 1, terminal, close);
      } else {
        reader = this.#replica.read(after, signal, close);
      }
      return reader;
    } finally {
      if (!reader) {
        this.#readers -= 1;
        if (this.#readers === 0) this.#leave();
      }
    }
  }

  async #reach(after: number, signal: AbortSignal): Promise<void> {
    await this.#fill();
    if (this.#full) throw this.#full;
    if (this.#shard.closed) throw outOfReach(undefined);
    await untilReached(this.#replica, after, signal, this.#shard.timing, () => this.#fill());
  }

  /** A message: elements, the first of them at this offset. */
  take(first: number, elements: readonly ParsedElement[]): void {
    this.#heard = true;
    if (this.#filling) this.#keep(first, elements);
    else if (!this.#add(first, elements)) void this.refill();
  }

  /** Our own instance has beaten: reads the log again if nothing has come of it since the last beat, for a message may be lost. */
  beat(): void {
    if (!this.#heard) void this.refill();
    this.#heard = false;
  }

  /** Reads what is missing, and enters this instance again among those that watch. Never rejects. */
  async refill(): Promise<void> {
    if (this.#filling) this.#refill = true;
    else await this.#fill().catch(() => undefined);
  }

  /** Closes all readers as moved. */
  move(): void {
    this.#replica.moveReaders();
  }

  #keep(first: number, elements: readonly ParsedElement[]): void {
    if (this.#early.length === earlyMax) {
      this.#early = [];
      this.#refill = true;
    }
    this.#early.push([first, elements]);
  }

  /** Adds the elements that are new. Returns false where some before them are missing. */
  #add(first: number, elements: readonly ParsedElement[]): boolean {
    const { length, terminalType } = this.#replica;
    if (terminalType || this.#full) return true;
    if (first > length) return false;
    const events = elements.slice(length - first).map(decode);
    if (events.length > 0) {
      this.#push(events);
    } else {
      // Redis had forgotten events that viewers here have seen, and so has whoever ended the generation: the end comes after those.
      this.#end(terminalOf(elements.slice(-1).map(decode)));
    }
    return true;
  }

  #end(terminal: ReturnType<typeof terminalOf>): void {
    if (terminal && !this.#replica.terminalType) this.#push([terminal]);
  }

  /** Where there is no room for the events, the copy is given up, and its viewers go on elsewhere or later. */
  #push(events: readonly LlmEvent[]): void {
    const weighed = this.#replica.weigh(events);
    const terminal = terminalOf(events);
    const full = this.#place.resize(this.#bytes + weighed.bytes);
    // The end on its own is let in whatever the bounds say.
    if (full && !(terminal && events.length === 1)) {
      this.#full = full;
      this.#forget();
      return this.move();
    }
    this.#bytes += weighed.bytes;
    this.#replica.push(weighed, terminal?.type);
  }

  /** Settles when the replica has all that the log has. Rejects where there is no log, and where Redis is out of reach. */
  #fill(): Promise<void> {
    this.#filling ??= this.#fillOnce().finally(() => {
      this.#filling = undefined;
      const early = this.#early;
      this.#early = [];
      for (const [first, elements] of early) if (!this.#add(first, elements)) this.#refill = true;
      if (!this.#refill) return;
      this.#refill = false;
      void this.refill();
    });
    return this.#filling;
  }

  async #fillOnce(): Promise<void> {
    let missingSince: number | undefined;
    let silentSince: number | undefined;
    while (!this.#left && !this.#full && !this.#shard.closed && !this.#replica.terminalType) {
      const found = await this.#watch();
      if (found === undefined) {
        // Viewers wait, and are served when the next beat is answered. Whoever just wants to attach is refused.
        silentSince ??= performance.now();
        if (performance.now() - silentSince > this.#shard.timing.patienceMs) throw outOfReach(undefined);
      } else if (found === null) {
        if (this.#replica.length === 0 && !this.#shard.era.held) throw generationNotFound();
        silentSince = undefined;
        missingSince ??= performance.now();
        if (await this.#givenUp(missingSince)) return;
      } else {
        missingSince = undefined;
        silentSince = undefined;
        if (await this.#takeFound(found)) return;
        continue;
      }
      await delay(this.#shard.timing.retryMs);
    }
  }

  /** Null where Redis has no such log, undefined where it doesn't answer. */
  async #watch(): Promise<Watched | null | undefined> {
    const { keys, instance, connection } = this.#shard;
    const { meta, log } = keys.of(this.#k);
    const from = this.#replica.length;
    try {
      return (await connection.run(
        WATCH,
        [meta, log, keys.live(this.#owner)],
        [String(from), String(from + pageElements - 1), this.#owner, instance, this.#k, keys.inboxes],
      )) as Watched | null;
    } catch (error) {
      if (!this.#shard.closed) this.#shard.incidents.retried(error);
      return undefined;
    }
  }

  /** Returns whether that is all that the log has. */
  async #takeFound([owner, state, , length, elements]: Watched): Promise<boolean> {
    if (owner !== this.#owner && (state === 'r' || this.#replica.length > 0)) {
      // Another runs it than whoever ran it: the events aren't those that viewers here have seen.
      if (this.#replica.length > 0) this.#end(lostEvent(this.#start, 0));
      this.#owner = owner;
      return this.#replica.length > 0;
    }
    const events = elements.map(parse);
    if (this.#left) return true;
    if (events.length > 0) this.#push(events);
    if (state === 'e' && length <= this.#replica.length && !this.#replica.terminalType) {
      // Redis had forgotten events that viewers here have seen when the generation was ended.
      this.#end(terminalOf((await this.#shard.lastElement(this.#k)).map(parse)));
    }
    return this.#replica.length >= length;
  }

  /**
   * Redis has forgotten the log. Whoever runs it writes it again, so viewers wait for a lease, and two beats more. Then the
   * id is barred, so that an owner that comes back later finds that it is over, and viewers get the end.
   */
  async #givenUp(missingSince: number): Promise<boolean> {
    const { timing, keys, limits, connection } = this.#shard;
    if (performance.now() - missingSince < leaseMs(timing) + 2 * timing.beatMs) return false;
    const { meta, spent } = keys.of(this.#k);
    try {
      if ((await connection.run(BAR, [meta, spent], [String(limits.tombstoneMs)])) === 1) return false;
    } catch {
      return false;
    }
    if (this.#replica.length === 0) throw generationNotFound();
    this.#end(lostEvent(this.#start, 0));
    return true;
  }

  /** The last reader is gone. */
  #leave(): void {
    if (this.#left) return;
    this.#left = true;
    const shard = this.#shard;
    this.#forget();
    this.#place[Symbol.dispose]();
    if (!this.#replica.terminalType && !shard.closed) void shard.unwatch(this.#owner, this.#k, shard.instance);
  }

  /** Whoever attaches from here on gets a copy of its own. */
  #forget(): void {
    const { followed } = this.#shard;
    if (followed.get(this.#k) === this) followed.delete(this.#k);
  }
}

/** Settles with the promise, or when the signal aborts. */
async function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  let stop = () => {};
  const aborted = new Promise<void>((resolve) => (stop = resolve));
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  promise.catch(() => {});
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
