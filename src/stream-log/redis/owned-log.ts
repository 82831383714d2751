/**
 * A log that this process writes to Redis: the writer. Its own replica holds the events that Redis has acknowledged, and viewers
 * here read those only: what a viewer has seen is never lost with this process.
 *
 * While this process lives, its replica is the authority, and what Redis has forgotten is sent again from there.
 */
import { LlmError } from '../../errors.ts';
import type { CallAnswer, LlmEvent, StartEvent, TerminalEvent } from '../../protocol.ts';
import { Replica } from '../replica.ts';
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
} from '../stream-log.ts';
import { TakenAnswers } from './answers.ts';
import { untilReached } from './cursor-wait.ts';
import { elementBytes, encode, encodeKept, parse, storedHash, terminalOf } from './elements.ts';
import { logOverheadBytes, type LogPlace } from './log-room.ts';
import { lostEvent, producerLost } from './producer-lost.ts';
import type { FoundLog, Shard } from './shard.ts';
import { Watchers } from './watchers.ts';

/** Bytes that an event takes in memory beside its text until Redis has acknowledged it: an object and a second text. */
const pendingOverheadBytes = 160;
/** Bytes that may wait to be acknowledged before `append` gives a promise. */
const pendingBytesMax = 256 * 1_024;
/** Redis adds this to a length where the generation is to be cancelled. No log is that long. */
const cancelMark = 2 ** 40;

/** A part of a log that is to be sent. */
export interface Sending {
  readonly log: OwnedLog;
  /** The offset of the first element. */
  readonly first: number;
  readonly elements: readonly string[];
  /** Whether the last element is the terminal event. */
  readonly ends: boolean;
}

export class OwnedLog implements StreamLog {
  readonly record: GenerationRecord;
  readonly k: string;
  /** The events that Redis has acknowledged. */
  readonly replica: Replica;
  /** The memory that it takes here. */
  readonly place: LogPlace;
  readonly #shard: Shard;
  readonly #start: StartEvent;
  readonly #producer: Producer;
  /** Accepted events that Redis hasn't acknowledged, and the same as elements. */
  #pending: LlmEvent[] = [];
  #elements: string[] = [];
  #pendingBytes = 0;
  /** Bytes in Redis, as the log's own bound counts them. */
  #bytes = logOverheadBytes;
  /** Bytes of the replica. */
  #replicaBytes = logOverheadBytes;
  /** Where Redis has less than the replica: the offset from which to send again. */
  #resendFrom: number | undefined;
  /** The promise that the producer waits for. */
  #waiter: { readonly resolve: () => void; readonly reject: (error: LlmError) => void } | undefined;
  /** The terminal event was accepted. */
  #closing = false;
  /** The next `append` rejects with it. */
  #refusal: LlmError | undefined;
  /** The generation has been ended by another instance. All later calls of `append` reject with it. */
  #lost: LlmError | undefined;
  /** Redis was out of reach for too long: the log gets `producer_lost`, unless its terminal event was accepted before. */
  #abandoned = false;
  #inquiring = false;
  #passedOn: TakenAnswers | undefined;
  readonly #watchers: Watchers;

  /** @param place Taken for this log, which gives it back when it is released. */
  constructor(
    shard: Shard,
    k: string,
    record: GenerationRecord,
    start: StartEvent,
    producer: Producer,
    place: LogPlace,
  ) {
    this.record = record;
    this.k = k;
    this.place = place;
    this.#shard = shard;
    this.#start = start;
    this.#producer = producer;
    this.#watchers = new Watchers(producer);
    this.replica = new Replica(record.generationId, shard.limits.viewerBatchBytesMax);
    this.#push([start]);
  }

  /** Answers to calls that other instances have passed on. */
  get passedOn(): TakenAnswers {
    return (this.#passedOn ??= new TakenAnswers((answers) => this.resolve(answers)));
  }

  /** Whether the terminal event was accepted. */
  get closing(): boolean {
    return this.#closing;
  }

  /** Whether the producer was stopped since Redis was out of reach. Viewers get nothing from here any more. */
  get abandoned(): boolean {
    return this.#abandoned;
  }

  /** Whether Redis is to have it among those that this instance runs. */
  get running(): boolean {
    return !this.#lost && this.replica.terminalType === undefined;
  }

  async status(): Promise<LogStatus> {
    const { terminalType, terminal, length } = this.replica;
    return { state: terminalType ?? 'running', lastOffset: length - 1, terminal };
  }

  async snapshot(room?: TakeRoom): Promise<LogStatus & { readonly text: string }> {
    await room?.(this.#replicaBytes);
    return { ...(await this.status()), text: this.replica.text };
  }

  produced(): Produced {
    return this.replica.produced(this.#pending);
  }

  async read(after: number, signal: AbortSignal, onClose?: () => void): Promise<LogReader> {
    if (after >= this.replica.length) await untilReached(this.replica, after, signal, this.#shard.timing);
    return this.replica.read(after, signal, onClose);
  }

  async cancel(): Promise<TerminalEvent> {
    if (this.running && !this.#closing) this.#producer.cancel();
    return readToEnd(this);
  }

  recorded(): Promise<void> | undefined {
    if (this.#lost) return rejection(this.#lost);
    // Of a generation that is stopped since Redis is out of reach nothing is recorded soon.
    if (this.#abandoned || (this.#pending.length === 0 && this.#resendFrom === undefined)) return undefined;
    return new Promise((resolve, reject) => (this.#waiter = { resolve, reject }));
  }

  resolve(answers: readonly CallAnswer[]): Promise<number> {
    return resolveBy(this.#producer, answers);
  }

  append(events: readonly LlmEvent[]): Promise<void> | undefined {
    try {
      return this.#append(events);
    } catch (error) {
      return rejection(error);
    }
  }

  #append(events: readonly LlmEvent[]): Promise<void> | undefined {
    if (this.#lost) throw this.#lost;
    if (this.#closing) throw new Error('append to a log that has its terminal event');
    const refusal = this.#refusal;
    this.#refusal = undefined;
    if (refusal) throw refusal;
    const terminal = terminalOf(events);
    if (terminal && this.#abandoned) return this.#closeAbandoned(terminal);
    const elements = events.map(encode);
    let bytes = 0;
    for (const element of elements) bytes += elementBytes(element);
    const fits =
      this.#bytes + bytes <= this.#shard.limits.logBytesMax &&
      !this.place.resize(this.#heldWith(this.#pendingBytes + bytes, this.#pending.length + events.length));
    // A terminal event on its own is let in whatever the bounds say: without it the log would never end.
    if (!fits && !(terminal && events.length === 1)) {
      throw new LlmError('log_limit', 'The answer grew beyond what the service keeps of one');
    }
    this.#accept(events, elements, bytes);
    this.#closing = terminal !== undefined;
    // A producer that is being stopped waits for nothing.
    if (!terminal && (this.#abandoned || this.#pendingBytes < pendingBytesMax)) return undefined;
    return new Promise((resolve, reject) => (this.#waiter = { resolve, reject }));
  }

  #accept(events: readonly LlmEvent[], elements: readonly string[], bytes: number): void {
    this.#bytes += bytes;
    this.#pendingBytes += bytes;
    for (const event of events) this.#pending.push(event);
    for (const element of elements) this.#elements.push(element);
    this.#shard.mark(this);
  }

  /** The producer has stopped since Redis was out of reach. Its account is kept for the log's end. */
  #closeAbandoned({ usage, costUsd, timing, config, model }: TerminalEvent): never {
    const end = { ...lostEvent(undefined, 0), usage, costUsd, timing, config, model };
    const element = encode(end);
    this.#accept([end], [element], elementBytes(element));
    this.#closing = true;
    throw producerLost();
  }

  /** The next elements to be sent: those that Redis has lost, then those that it never had. At least one, if there is one. */
  toSend(elementsMax: number, bytesMax: number): Sending {
    const { length } = this.replica;
    const first = this.#resendFrom ?? length;
    const elements: string[] = [];
    let bytes = 0;
    for (let at = first; elements.length < elementsMax; at += 1) {
      const element = at < length ? encodeKept(this.replica.at(at)) : this.#elements[at - length];
      if (element === undefined) break;
      bytes += element.length;
      if (bytes > bytesMax && elements.length > 0) break;
      elements.push(element);
    }
    const closed = this.#closing || this.replica.terminalType !== undefined;
    return { log: this, first, elements, ends: closed && first + elements.length === length + this.#pending.length };
  }

  /**
   * Redis answered to an APPEND.
   *
   * @param answer The log's length, with `cancelMark` where it is to be cancelled; negative where Redis doesn't have the
   *   generation as run by this instance.
   */
  answered({ first, elements }: Pick<Sending, 'first' | 'elements'>, answer: number): void {
    if (this.#lost) return;
    if (answer < 0) return void this.#inquire();
    const length = answer >= cancelMark ? answer - cancelMark : answer;
    if (answer >= cancelMark) this.stop();
    if (length < first) {
      this.#shard.incidents.counts.gaps += 1;
      this.#resendFrom = length;
      this.#shard.mark(this);
      return;
    }
    const reached = Math.min(length, first + elements.length);
    const acknowledged = reached - this.replica.length;
    if (acknowledged > 0) this.#deliver(acknowledged);
    this.#resendFrom = reached < this.replica.length ? reached : undefined;
    if (this.#resendFrom !== undefined || this.#pending.length > 0) return this.#shard.mark(this);
    this.#waiter?.resolve();
    this.#waiter = undefined;
    if (this.replica.terminalType) this.#shard.retire(this);
  }

  /** Hands the first of the pending events to the viewers here. */
  #deliver(count: number): void {
    let events = this.#pending;
    if (count === events.length) {
      this.#pending = [];
      this.#elements = [];
      this.#pendingBytes = 0;
    } else {
      events = this.#pending.splice(0, count);
      for (const element of this.#elements.splice(0, count)) this.#pendingBytes -= elementBytes(element);
    }
    this.#push(events);
    this.place.resize(this.#heldWith(this.#pendingBytes, this.#pending.length));
  }

  #push(events: readonly LlmEvent[]): void {
    const weighed = this.replica.weigh(events);
    this.#replicaBytes += weighed.bytes;
    this.replica.push(weighed, terminalOf(events)?.type);
  }

  /** Bytes in memory, with so many bytes and events that aren't acknowledged. */
  #heldWith(pendingBytes: number, pendingEvents: number): number {
    return this.#replicaBytes + pendingBytes + pendingEvents * pendingOverheadBytes;
  }

  /** Sends the last event again, to see whether Redis still has it, and everything before it. */
  verify(): void {
    if (this.#lost) return;
    this.#resendFrom ??= this.replica.length - 1;
    this.#shard.mark(this);
  }

  /** Another instance was asked to cancel. */
  stop(): void {
    if (this.running && !this.#closing) this.#producer.cancel();
  }

  /** Redis has no memory left for this log: it ends as `log_limit`, for which there always is room. */
  refuse(): void {
    if (this.#closing || this.#lost) return;
    const refusal = new LlmError('log_limit', 'There is no room for more of this answer');
    this.#pending = [];
    this.#elements = [];
    this.#pendingBytes = 0;
    if (this.#waiter) this.#waiter.reject(refusal);
    else this.#refusal = refusal;
    this.#waiter = undefined;
    this.#producer.cancel();
  }

  /** Redis has been out of reach for too long. The generation is stopped; its end is written if Redis can be reached again. */
  abandon(): void {
    if (this.#abandoned || this.#lost || this.replica.terminalType) return;
    this.#abandoned = true;
    this.replica.moveReaders();
    const waiter = this.#waiter;
    this.#waiter = undefined;
    // The terminal event waits to be written, and the producer with it. Whether it ever will be is known to nobody.
    if (this.#closing) return waiter?.reject(producerLost());
    this.#producer.cancel();
    waiter?.resolve();
  }

  /** Sees why Redis doesn't have the generation as run by this instance. */
  async #inquire(): Promise<void> {
    if (this.#inquiring) return;
    this.#inquiring = true;
    try {
      const found = await this.#shard.read(this.k, this.replica.length, -1);
      if (typeof found === 'string') await this.#reopen();
      else if (found.owner !== this.#shard.instance) this.#lose([]);
      else await this.#compare(found);
    } catch (error) {
      this.#shard.incidents.retried(error);
      setTimeout(() => this.#shard.mark(this), this.#shard.timing.retryMs);
    } finally {
      this.#inquiring = false;
    }
  }

  /** Redis has forgotten the generation: opens it again, and sends everything. */
  async #reopen(): Promise<void> {
    this.#shard.incidents.counts.reopened += 1;
    const hash = storedHash(this.record.requestHash);
    const answer = await this.#shard.open(this.k, hash, this.#start, this.#watchers.text);
    if (answer === 'X') return this.#lose([]);
    if (answer === 'ERA') await this.#shard.learn();
    else if (answer !== 'O' && answer[0] !== this.#shard.instance) return this.#lose([]);
    else this.#resendFrom = 0;
    this.#shard.mark(this);
  }

  /** Redis has the log as this instance's, and the generation as one that doesn't run: this instance has ended it, or another. */
  async #compare({ state, length, elements }: FoundLog): Promise<void> {
    const own = this.#elements;
    if (state === 'r') {
      // Its state and its place among those that run are one commit, so another APPEND has changed them since.
      this.#resendFrom = Math.min(length, this.replica.length);
      this.#shard.mark(this);
    } else if (this.replica.terminalType) {
      // It was sent again since Redis might have forgotten it, which Redis hasn't.
      this.#resendFrom = undefined;
      this.#shard.retire(this);
    } else if (
      this.#closing &&
      length === this.replica.length + own.length &&
      elements.every((element, at) => element === own[at])
    ) {
      // The end is this process's own. The answer to the APPEND that wrote it was lost.
      this.answered({ first: this.replica.length, elements: own }, length);
    } else {
      const theirs = elements.length > 0 ? elements : await this.#shard.lastElement(this.k);
      this.#lose(theirs.map(parse));
    }
  }

  /** Another instance has ended the generation, or runs it: the producer stops, and nothing of the log is written any more. */
  #lose(theirs: readonly LlmEvent[]): void {
    if (this.#lost) return;
    this.#shard.incidents.counts.fenced += 1;
    this.#lost = producerLost();
    this.#pending = [];
    this.#elements = [];
    if (!this.replica.terminalType) {
      const events = terminalOf(theirs) ? theirs : [lostEvent(this.#start, 0)];
      this.#push(events);
    }
    this.#shard.release(this);
    this.#waiter?.reject(this.#lost);
    this.#waiter = undefined;
    this.#producer.cancel();
  }

  /** Redis says which instances watch. */
  watched(by: string): void {
    if (this.running) this.#watchers.update(by, (instance) => this.#shard.isAlive(instance));
  }

  /** An instance is gone, and its viewers with it. */
  forgetWatcher(instance: string): void {
    if (!this.#watchers.delete(instance)) return;
    if (this.running) this.#producer.viewerLeft();
    void this.#shard.unwatch(this.#shard.instance, this.k, instance);
  }

  async recountViewers(): Promise<void> {
    const watchers = await this.#shard.watchersOf(this.k);
    if (watchers !== null) this.watched(watchers);
  }
}
