/**
 * A part of the logs: those whose keys stand in one slot of Redis. Knows which of them this instance writes and follows, hands
 * the messages of others to the logs that they are for, and calls the scripts that concern a single log.
 */
import type { StartEvent } from '../../protocol.ts';
import type { PassedOn, Reply } from './answers.ts';
import type { Connection } from './connection.ts';
import type { ParsedElement } from './elements.ts';
import { Era } from './era.ts';
import type { Follow } from './follow.ts';
import { Heartbeat } from './heartbeat.ts';
import type { Incidents } from './incidents.ts';
import { ShardKeys } from './keys.ts';
import type { LogRoom } from './log-room.ts';
import { Outbox } from './outbox.ts';
import type { OwnedLog } from './owned-log.ts';
import { OPEN } from './scripts/open.ts';
import { READ } from './scripts/read.ts';
import { UNWATCH } from './scripts/watch.ts';
import { leaseMs, type RedisTiming } from './timing.ts';

export interface RedisLogLimits {
  /** Bytes that one generation's log may hold, before it ends with `log_limit`. */
  readonly logBytesMax: number;
  /** Bytes of text that one batch of a viewer may hold. */
  readonly viewerBatchBytesMax: number;
  /** How long Redis keeps a log after its generation's end. */
  readonly logRetentionMs: number;
  /** How long after that its id can't be started. */
  readonly tombstoneMs: number;
  /** How many ids of one caller are barred at once, about. */
  readonly barsPerCallerMax: number;
}

/** What all shards of an instance share. */
interface ShardParts {
  readonly connection: Connection;
  readonly instance: string;
  readonly prefix: string;
  readonly limits: RedisLogLimits;
  readonly timing: RedisTiming;
  readonly incidents: Incidents;
  readonly room: LogRoom;
  /** Has `flush` called on all shards soon. */
  readonly schedule: () => void;
}

/** A log as READ finds it. */
export interface FoundLog {
  readonly owner: string;
  readonly state: 'r' | 'e';
  readonly requestHash: string;
  readonly length: number;
  /** The elements that were asked for. */
  readonly elements: readonly string[];
  readonly start: string;
}

/** A message is a list of these: `[k, offset, …events]`, `[k, -1, watchers]`, `[k, -2]` for a cancel or an end by another instance,
 * `[k, -3, instance, number, answers]` for answers to calls, or `[k, -4, number, reply]` for what became of those. */
type Message = readonly [k: string, first: number, ...elements: readonly unknown[]];

export class Shard {
  readonly keys: ShardKeys;
  readonly era: Era;
  readonly owned = new Map<string, OwnedLog>();
  readonly followed = new Map<string, Follow>();
  /** Generations that this instance is just opening: Redis may have them before `owned` does. */
  readonly opening = new Map<string, Promise<void>>();
  /** Called with the replies to answers that this instance has passed on, by their numbers. */
  readonly replies = new Map<string, (reply: Reply) => void>();
  readonly #parts: ShardParts;
  readonly #heartbeat: Heartbeat;
  readonly #outbox: Outbox;
  readonly #retiring = new Map<OwnedLog, NodeJS.Timeout>();
  #closed = false;

  constructor(parts: ShardParts, number: number) {
    this.#parts = parts;
    this.keys = new ShardKeys(parts.prefix, number);
    this.era = new Era(leaseMs(parts.timing));
    this.#heartbeat = new Heartbeat(this);
    this.#outbox = new Outbox(this, parts.schedule);
  }

  get instance(): string {
    return this.#parts.instance;
  }

  get limits(): RedisLogLimits {
    return this.#parts.limits;
  }

  get timing(): RedisTiming {
    return this.#parts.timing;
  }

  get incidents(): Incidents {
    return this.#parts.incidents;
  }

  get room(): LogRoom {
    return this.#parts.room;
  }

  get connection(): Connection {
    return this.#parts.connection;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** How long Redis has been owing an answer. */
  get silentMs(): number {
    return this.#heartbeat.silentMs;
  }

  /** The expiries of a log and of its id, as arguments of a script. */
  get expiries(): [retentionMs: string, spentMs: string] {
    const { logRetentionMs, tombstoneMs } = this.limits;
    return [String(logRetentionMs), String(logRetentionMs + tombstoneMs)];
  }

  /** Subscribes to the inbox, and beats for the first time. Rejects where Redis doesn't answer. */
  async start(): Promise<void> {
    await this.connection.subscribe(this.keys.inbox(this.instance), (message) => this.#receive(message));
    this.era.resume(await this.#runId());
    await this.#heartbeat.learn();
  }

  /** A connection is up again. Messages may have been lost, and Redis may have forgotten something. */
  async resume(): Promise<void> {
    this.era.interrupt();
    this.#heartbeat.interrupt();
    this.#outbox.flush();
    for (const follow of this.followed.values()) void follow.refill();
    if (this.era.resume(await this.#runId())) for (const log of this.owned.values()) log.verify();
    await this.#heartbeat.beat();
  }

  /** A connection is down. */
  interrupt(): void {
    this.#heartbeat.fallSilent();
  }

  beat(): Promise<void> {
    return this.#heartbeat.beat();
  }

  /** Redis has been out of reach for too long: stops what this instance runs, and has all viewers go elsewhere. */
  abandon(): void {
    for (const log of this.owned.values()) log.abandon();
    this.moveFollowers();
  }

  /** Closes as moved all readers of logs that other instances run. */
  moveFollowers(): void {
    for (const follow of this.followed.values()) follow.move();
  }

  /** Asks Redis for its era now. Rejects where it can't be had. */
  learn(): Promise<void> {
    return this.#heartbeat.learn();
  }

  isAlive(instance: string): boolean {
    return this.#heartbeat.isAlive(instance);
  }

  /** Whether this instance runs the generation, ran it lately, or is opening it. */
  isOwn(k: string): boolean {
    return this.owned.has(k) || this.opening.has(k);
  }

  /** To be called when a log has something to send. */
  mark(log: OwnedLog): void {
    this.#outbox.mark(log);
  }

  /** Sends what the logs have. */
  flush(): void {
    this.#outbox.flush();
  }

  #receive(message: string): void {
    for (const [k, first, ...elements] of JSON.parse(message) as readonly Message[]) {
      if (first === -1) this.owned.get(k)?.watched(elements[0] as string);
      else if (first === -2) this.#stop(k);
      else if (first === -3) void this.#takeAnswers(k, elements as unknown as PassedOn);
      else if (first === -4) this.replies.get(elements[0] as string)?.(elements[1] as Reply);
      else this.followed.get(k)?.take(first, elements as readonly ParsedElement[]);
    }
  }

  /** Another instance passes on what clients have answered. */
  async #takeAnswers(k: string, [instance, number, answers]: PassedOn): Promise<void> {
    const reply = await this.owned.get(k)?.passedOn.replyTo(number, answers);
    if (reply) this.send(instance, [k, -4, number, reply]);
  }

  /** Sends a message to an instance. Whether it arrives, nobody knows. */
  send(instance: string, message: Message): void {
    const inbox = this.keys.inbox(instance);
    this.connection.command(inbox, 'SPUBLISH', inbox, JSON.stringify([message])).catch(() => undefined);
  }

  /** Somebody has asked to cancel, or has ended the generation. */
  #stop(k: string): void {
    const log = this.owned.get(k);
    if (!log?.running) return;
    log.stop();
    log.verify();
  }

  /** `O`, `X`, `ERA`, or owner, state and request hash of the log that exists. */
  async open(
    k: string,
    requestHash: string,
    start: StartEvent,
    watchers: string,
  ): Promise<'O' | 'X' | 'ERA' | string[]> {
    const { meta, log, spent } = this.keys.of(k);
    const keys = [meta, log, spent, this.keys.live(this.instance), this.keys.era];
    const args = [this.instance, requestHash, JSON.stringify(start), k, watchers, this.era.value];
    return (await this.connection.run(OPEN, keys, args)) as 'O' | 'X' | 'ERA' | string[];
  }

  /** The log with its elements from one offset to another, both included, -1 being the last; or the era, where there is no log. */
  async read(k: string, from: number, to: number): Promise<FoundLog | string> {
    const { meta, log } = this.keys.of(k);
    const found = await this.connection.run(READ, [meta, log, this.keys.era], [String(from), String(to)]);
    if (typeof found === 'string') return found;
    const [owner, state, requestHash, length, elements, start] = found as [
      string,
      'r' | 'e',
      string,
      number,
      string[],
      string,
    ];
    return { owner, state, requestHash, length, elements, start };
  }

  /** None where there is no log. */
  async lastElement(k: string): Promise<readonly string[]> {
    const found = await this.read(k, -1, -1);
    return typeof found === 'string' ? [] : found.elements;
  }

  /** Takes an instance off those that watch. Whoever it doesn't reach notices by itself, so a failure is of no interest. */
  async unwatch(owner: string, k: string, instance: string): Promise<void> {
    await this.connection
      .run(UNWATCH, [this.keys.live(owner)], [owner, instance, k, this.keys.inboxes])
      .catch(() => undefined);
  }

  /** Which instances watch a generation of this one, as Redis has it; null where it doesn't run. */
  async watchersOf(k: string): Promise<string | null> {
    const live = this.keys.live(this.instance);
    return (await this.connection.command(live, 'HGET', live, k)) as string | null;
  }

  /** From here on the log is this instance's to write. */
  own(log: OwnedLog): void {
    const before = this.owned.get(log.k);
    if (before) this.release(before);
    this.owned.set(log.k, log);
  }

  /** Keeps the log of an ended generation for a while, to write it again if Redis forgot it. */
  retire(log: OwnedLog): void {
    if (this.#closed || this.#retiring.has(log)) return;
    const timer = setTimeout(() => this.release(log), this.timing.keepEndedMs).unref();
    this.#retiring.set(log, timer);
  }

  /** Releases the logs that are kept only in case Redis forgot them. */
  releaseRetired(): void {
    for (const log of this.#retiring.keys()) this.release(log);
  }

  /** Nothing of the log is to be written any more. */
  release(log: OwnedLog): void {
    clearTimeout(this.#retiring.get(log));
    this.#retiring.delete(log);
    this.#outbox.forget(log);
    log.place[Symbol.dispose]();
    if (this.owned.get(log.k) === log) this.owned.delete(log.k);
  }

  /** Takes this instance off the beats, if it runs nothing, so that nobody waits for it. */
  async leave(): Promise<void> {
    if ([...this.owned.values()].some(({ running }) => running)) return;
    await this.connection.command(this.keys.beats, 'HDEL', this.keys.beats, this.instance).catch(() => undefined);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#retiring.values()) clearTimeout(timer);
    this.#retiring.clear();
    this.#outbox.close();
    this.moveFollowers();
    for (const log of this.owned.values()) log.replica.moveReaders();
  }

  /** The name of the process that answers; undefined where a proxy hides it. */
  async #runId(): Promise<string | undefined> {
    const info = await this.connection.command(this.keys.era, 'INFO', 'server').catch(() => '');
    return /run_id:(\w+)/.exec(String(info))?.[1];
  }
}
