/**
 * The copy of a log that another instance writes, which all viewers of it on this instance share: the reader. It enters this
 * instance among those that watch, and gets the events as messages. Where one is missing it reads the log again from there.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { StartEvent } from '../../protocol.ts';
import { cursorBeyondEnd, Replica } from '../replica.ts';
import { generationNotFound, type LogReader } from '../stream-log.ts';
import { decode, pageElements, parse, terminalOf, type ParsedElement } from './elements.ts';
import { LastEvent } from './last-event.ts';
import { lostEvent } from './producer-lost.ts';
import { outOfReach } from './retry.ts';
import { BAR } from './scripts/cancel.ts';
import { WATCH } from './scripts/watch.ts';
import type { Shard } from './shard.ts';
import { leaseMs } from './timing.ts';

type Watched = readonly [owner: string, state: 'r' | 'e', requestHash: string, length: number, elements: string[]];

export class Follow {
  readonly #shard: Shard;
  readonly #k: string;
  readonly #generationId: string;
  readonly #start: StartEvent;
  readonly #replica: Replica;
  #owner: string;
  #readers = 0;
  /** Whether a message has come since the last beat. */
  #heard = true;
  #filling: Promise<void> | undefined;
  #refill = false;
  /** Messages that came while the log is being read. */
  #early: (readonly [first: number, elements: readonly ParsedElement[]])[] = [];
  #left = false;

  constructor(shard: Shard, k: string, generationId: string, start: StartEvent, owner: string) {
    this.#shard = shard;
    this.#k = k;
    this.#generationId = generationId;
    this.#start = start;
    this.#owner = owner;
    this.#replica = new Replica(generationId, shard.limits.viewerBatchBytesMax);
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

  /** Waits a moment for a running log to be as long as the cursor says: one that Redis rolled back is soon as long again. */
  async #reach(after: number, signal: AbortSignal): Promise<void> {
    const { cursorWaitMs, retryMs } = this.#shard.timing;
    await this.#fill();
    if (this.#shard.closed) throw outOfReach(undefined);
    const until = performance.now() + cursorWaitMs;
    while (after >= this.#replica.length && !this.#replica.terminalType && !signal.aborted) {
      if (performance.now() >= until) throw cursorBeyondEnd();
      await delay(retryMs);
      await this.#fill();
    }
  }

  /** A message: elements, the first of them at this offset. */
  take(first: number, elements: readonly ParsedElement[]): void {
    this.#heard = true;
    if (this.#filling) this.#early.push([first, elements]);
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

  /** Adds the elements that are new. Returns false where some before them are missing. */
  #add(first: number, elements: readonly ParsedElement[]): boolean {
    const { length, terminalType } = this.#replica;
    if (terminalType) return true;
    if (first > length) return false;
    const events = elements.slice(length - first).map(decode);
    if (events.length > 0) {
      this.#replica.push(this.#replica.weigh(events), terminalOf(events)?.type);
    } else {
      // Redis had forgotten events that viewers here have seen, and so has whoever ended the log: the end comes after those.
      this.#end(terminalOf(elements.slice(-1).map(decode)));
    }
    return true;
  }

  #end(terminal: ReturnType<typeof terminalOf>): void {
    if (terminal && !this.#replica.terminalType) this.#replica.push(this.#replica.weigh([terminal]), terminal.type);
  }

  /** Settles when the replica has all that the log has. Rejects with `generation_not_found` where there is no log. */
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
    while (!this.#left && !this.#shard.closed && !this.#replica.terminalType) {
      const found = await this.#watch();
      if (found === undefined) {
        // Redis is out of reach: viewers wait.
      } else if (found === null) {
        if (this.#replica.length === 0 && !this.#shard.era.held) throw generationNotFound();
        missingSince ??= performance.now();
        if (await this.#givenUp(missingSince)) return;
      } else {
        missingSince = undefined;
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
    } catch {
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
    if (events.length > 0) this.#replica.push(this.#replica.weigh(events), terminalOf(events)?.type);
    if (state === 'e' && length <= this.#replica.length && !this.#replica.terminalType) {
      // Redis had forgotten events that viewers here have seen when the log was ended.
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
    if (shard.followed.get(this.#k) === this) shard.followed.delete(this.#k);
    if (!this.#replica.terminalType && !shard.closed) void shard.unwatch(this.#owner, this.#k, shard.instance);
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
