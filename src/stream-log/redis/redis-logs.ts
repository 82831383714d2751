/**
 * The stream logs in Redis: they outlive the process that writes them, and every instance can read them.
 *
 * While the process that runs a generation lives, its memory is the authority, and heals whatever Redis forgot. Nobody ever
 * takes a generation over. So a generation has one owner, or an end.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { LlmError } from '../../errors.ts';
import type { StartEvent } from '../../protocol.ts';
import { parseRedisUrl } from '../../settings/redis-url.ts';
import { SettingsError } from '../../settings/settings.ts';
import {
  generationNotFound,
  type GenerationKey,
  type GenerationRecord,
  type LogPage,
  type Producer,
  type StreamLog,
  type StreamLogs,
} from '../stream-log.ts';
import { BarRate } from './bar-rate.ts';
import { CallerCounts } from './caller-counts.ts';
import { CallerIndex } from './caller-index.ts';
import { connect as connectToRedis, type Connection } from './connection.ts';
import { checkFitness } from './fitness.ts';
import { storedHash } from './elements.ts';
import { FollowedLog } from './followed-log.ts';
import { Incidents, type RedisCounts, type RedisLines } from './incidents.ts';
import { placeOf } from './keys.ts';
import { LogRoom, logOverheadBytes, type LogPlace, type LogRoomLimits } from './log-room.ts';
import { OwnedLog } from './owned-log.ts';
import { createRetry, outOfReach, type Retry } from './retry.ts';
import { BAR } from './scripts/bar.ts';
import { Shard, type RedisLogLimits } from './shard.ts';
import { defaultTiming, type RedisTiming } from './timing.ts';

export interface RedisLogsOptions {
  /** As `REDIS_URL`. */
  readonly url: string;
  /** Between two flushes. 0: as soon as Redis has answered to the one before. */
  readonly flushMs: number;
  /** How long Redis may be out of reach before running generations are stopped. */
  readonly outageMs: number;
  readonly limits: RedisLogLimits & LogRoomLimits;
  /** Where what happens to Redis is logged; nowhere unless given. */
  readonly lines?: RedisLines | undefined;
  /** Called once for a Redis that may lose logs without an error, with the reason. */
  readonly onDoubt?: ((doubt: string) => void) | undefined;
  /** For tests, which can't wait. */
  readonly timing?: Partial<RedisTiming> | undefined;
  /** For tests, which cut connections. */
  readonly connect?: typeof connectToRedis | undefined;
}

/** Between two attempts to connect, where a connection was made and then lost. */
const connectAgainMs = 500;
/** Slots are dealt to a cluster's nodes, so the shards are spread over them. One node has no use for more than one. */
const clusterShards = 64;

interface Place {
  readonly shard: Shard;
  readonly k: string;
}

export class RedisStreamLogs implements StreamLogs {
  /** This process's name for the others, new at each start. */
  readonly instance = randomBytes(9).toString('base64url');
  readonly callerCounts: CallerCounts;
  readonly #barRate: BarRate;
  readonly #options: RedisLogsOptions;
  readonly #timing: RedisTiming;
  readonly #incidents: Incidents;
  readonly #room: LogRoom;
  readonly #retry: Retry;
  readonly #closing = new AbortController();
  /** Aborts what waits for Redis on behalf of a request. */
  readonly #givingUp = new AbortController();
  #shards: readonly Shard[] = [];
  #index: CallerIndex | undefined;
  #connection: Connection | undefined;
  #connecting: Promise<void> | undefined;
  #beats: NodeJS.Timeout | undefined;
  #tick: NodeJS.Timeout | NodeJS.Immediate | undefined;
  #flushedAt = 0;

  /** Connects on first use, or by `connect`. */
  constructor(options: RedisLogsOptions) {
    this.#options = options;
    this.#timing = { ...defaultTiming, ...options.timing };
    this.#incidents = new Incidents(options.lines, this.#timing);
    this.#room = new LogRoom(options.limits, () => this.#shards.forEach((shard) => shard.releaseRetired()));
    this.#retry = createRetry(this.#timing, this.#incidents, this.#givingUp.signal);
    this.callerCounts = new CallerCounts(this.instance, this.#timing);
    this.#barRate = new BarRate(this.callerCounts, options.limits);
  }

  get counts(): Readonly<RedisCounts> {
    return this.#incidents.counts;
  }

  /** Bytes in this process's memory of logs that it writes or has copies of, as the limits count them. */
  get bytes(): number {
    return this.#room.bytes;
  }

  /** The logs that this process writes, or wrote a moment ago. */
  get count(): number {
    return this.#shards.reduce((count, { owned }) => count + owned.size, 0);
  }

  get reachable(): boolean {
    return this.#shards.length > 0 && this.#shards.every(({ silentMs }) => silentMs < this.#timing.patienceMs);
  }

  /**
   * Settles when Redis was reached, however long that takes. Rejects where it is one that would lose logs or is too old, and when
   * the logs are disposed before that.
   */
  connect(): Promise<void> {
    this.#connecting ??= this.#connectUntilReached();
    return this.#connecting;
  }

  async open(
    record: GenerationRecord,
    start: StartEvent,
    producer: Producer,
  ): Promise<{ readonly log: StreamLog; readonly created: boolean }> {
    const { shard, k } = await this.#where(record);
    for (let other = shard.opening.get(k); other; other = shard.opening.get(k)) await other;
    let opened = () => {};
    shard.opening.set(k, new Promise((resolve) => (opened = resolve)));
    const place = this.#room.place(record.caller);
    try {
      const full = place.resize(logOverheadBytes);
      if (full) throw full;
      // Both are sent at once, and both must succeed: a generation that runs unlisted would be in no list of its caller's.
      const [, answer] = await Promise.all([
        this.#retry(() => this.#index!.add(record)),
        this.#open(shard, k, record.requestHash, start),
      ]);
      if (answer === 'X') throw generationNotFound();
      const first = answer === 'O' ? start : await this.#adopt(shard, k, record, answer);
      if (first) return { log: this.#own(shard, k, record, first, producer, place), created: true };
      place[Symbol.dispose]();
      const log = await this.find(record);
      if (!log) throw generationNotFound();
      return { log, created: false };
    } catch (error) {
      place[Symbol.dispose]();
      throw error;
    } finally {
      shard.opening.delete(k);
      opened();
    }
  }

  async find(key: GenerationKey): Promise<StreamLog | undefined> {
    const { shard, k } = await this.#where(key);
    const own = shard.owned.get(k);
    if (own?.running && !own.abandoned) return own;
    let found = await this.#retry(() => shard.read(k, -1, -1));
    if (typeof found === 'string') {
      // A miss. It counts if Redis has forgotten nothing, or whoever runs the generation had time to write it again.
      if (found !== shard.era.value) await this.#retry(() => shard.learn());
      if (!shard.era.held) return undefined;
      await this.#released(shard);
      found = await this.#retry(() => shard.read(k, -1, -1));
    }
    return typeof found === 'string' ? undefined : new FollowedLog(shard, k, key, found, this.#retry);
  }

  async list(caller: string, { limit, before, thread }: LogPage): Promise<readonly StreamLog[]> {
    await this.#up();
    const ids = await this.#retry(() => this.#index!.newest(caller, thread));
    // Two requests with one id may have entered it under two threads at once. The log has the thread of the one that made it.
    const belongs = ({ record }: StreamLog) => thread === undefined || record.thread === thread;
    const from = before === undefined ? 0 : ids.indexOf(before) + 1;
    if (before !== undefined && (from === 0 || !(await this.find({ caller, generationId: before }))))
      throw generationNotFound();
    const logs: StreamLog[] = [];
    const gone: string[] = [];
    // Twice as many each time: whoever wants one log may find a thousand ids of logs that are gone.
    for (let at = from, size = limit; at < ids.length && logs.length < limit; at += size, size *= 2) {
      const page = ids.slice(at, at + size);
      const found = await Promise.all(page.map((generationId) => this.find({ caller, generationId })));
      found.forEach((log, place) => (log && belongs(log) ? logs.push(log) : gone.push(page[place]!)));
    }
    if (gone.length > 0) void this.#index!.prune(caller, thread, gone);
    return logs.slice(0, limit);
  }

  async bar(key: GenerationKey, durationMs: number): Promise<StreamLog | undefined> {
    const { shard, k } = await this.#where(key);
    const { meta, spent } = shard.keys.of(k);
    const answer = await this.#retry(() => shard.connection.run(BAR, [meta, spent], [String(durationMs)]));
    if (answer === 1) return this.find(key);
    const lift = () => shard.connection.command(spent, 'DEL', spent);
    if (answer === 2) await this.#barRate.count(key.caller, durationMs, lift);
    return undefined;
  }

  moveReaders(): void {
    for (const shard of this.#shards) shard.moveFollowers();
  }

  giveUp(): void {
    this.#givingUp.abort();
    for (const shard of this.#shards) shard.abandon();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#beats);
    this.#givingUp.abort();
    if (this.reachable) await Promise.all([...this.#shards.map((shard) => shard.leave()), this.callerCounts.leave()]);
    this.#closing.abort();
    for (const shard of this.#shards) shard.close();
    if (this.#tick) {
      clearTimeout(this.#tick as NodeJS.Timeout);
      clearImmediate(this.#tick as NodeJS.Immediate);
    }
    this.#connection?.close();
    await this.#connecting?.catch(() => undefined);
  }

  async #connectUntilReached(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        return await this.#connect();
      } catch (error) {
        this.#connection?.close();
        if (error instanceof SettingsError || signal.aborted) throw error;
        this.#incidents.failed(error);
        await delay(connectAgainMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #connect(): Promise<void> {
    const address = parseRedisUrl(this.#options.url);
    const { signal } = this.#closing;
    const connection = await (this.#options.connect ?? connectToRedis)(address, {
      signal,
      callMs: this.#timing.callMs,
      onError: (error) => {
        if (!signal.aborted) this.#incidents.failed(error);
      },
    });
    if (signal.aborted) return connection.close();
    this.#connection = connection;
    const doubt = await checkFitness(connection);
    if (doubt !== undefined) this.#options.onDoubt?.(doubt);
    const parts = {
      connection,
      instance: this.instance,
      prefix: address.prefix,
      limits: this.#options.limits,
      timing: this.#timing,
      incidents: this.#incidents,
      room: this.#room,
      schedule: this.#schedule,
    };
    const shards = Array.from(
      { length: connection.clustered ? clusterShards : 1 },
      (_, number) => new Shard(parts, number),
    );
    await Promise.all(shards.map((shard) => shard.start()));
    if (signal.aborted) return;
    this.#index = new CallerIndex(connection, address.prefix, this.#options.limits);
    this.#shards = shards;
    this.callerCounts.connected(connection, address.prefix);
    connection.onUp(() => this.callerCounts.back());
    connection.onDown(() => shards.forEach((shard) => shard.interrupt()));
    connection.onUp(() => shards.forEach((shard) => void shard.resume()));
    this.#beats = setInterval(() => this.#beat(), this.#timing.beatMs).unref();
  }

  #beat(): void {
    this.#incidents.report(Math.max(...this.#shards.map(({ silentMs }) => silentMs)));
    for (const shard of this.#shards) {
      if (shard.silentMs >= this.#options.outageMs) shard.abandon();
      void shard.beat();
    }
    this.callerCounts.beat();
  }

  /** Settles when the shards are known. */
  async #up(): Promise<void> {
    if (this.#shards.length > 0) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(outOfReach(undefined)), this.#timing.patienceMs);
    });
    try {
      await Promise.race([this.connect(), late]);
    } catch (error) {
      throw error instanceof LlmError ? error : outOfReach(error);
    } finally {
      clearTimeout(timer);
    }
    if (this.#shards.length === 0) throw outOfReach(undefined);
  }

  async #where(key: GenerationKey): Promise<Place> {
    await this.#up();
    const { shard, k } = placeOf(key, this.#shards.length);
    return { shard: this.#shards[shard]!, k };
  }

  /**
   * The `start` of a log that exists, if this instance has made it for the same request: the answer to its OPEN was lost, and
   * nobody runs it. Of another request's log like that nothing may be mixed into this one's: its generation is ended at the next beat.
   */
  async #adopt(
    shard: Shard,
    k: string,
    { requestHash }: GenerationRecord,
    [owner, state, hash]: readonly string[],
  ): Promise<StartEvent | undefined> {
    if (owner !== this.instance || state !== 'r' || hash !== storedHash(requestHash) || shard.owned.has(k))
      return undefined;
    const found = await this.#retry(() => shard.read(k, 0, 0));
    return typeof found === 'string' ? undefined : (JSON.parse(found.start) as StartEvent);
  }

  #own(
    shard: Shard,
    k: string,
    record: GenerationRecord,
    start: StartEvent,
    producer: Producer,
    place: LogPlace,
  ): OwnedLog {
    const { config, startedAt, thread } = start;
    const log = new OwnedLog(shard, k, { ...record, config, startedAt, thread }, start, producer, place);
    shard.own(log);
    return log;
  }

  /** Settles when ids of the shard may be started. Rejects when the process has to end. */
  async #released({ era }: Shard): Promise<void> {
    try {
      await era.released(this.#givingUp.signal);
    } catch (error) {
      throw outOfReach(error);
    }
  }

  /** Opens a log, once nobody can be just writing it again. */
  async #open(shard: Shard, k: string, requestHash: string, start: StartEvent): Promise<'O' | 'X' | string[]> {
    for (;;) {
      const answer = await this.#retry(async () => {
        await this.#released(shard);
        return shard.open(k, storedHash(requestHash), start, '');
      });
      if (answer !== 'ERA') return answer;
      await this.#retry(() => shard.learn());
    }
  }

  /** Has all shards flushed together: at once if nothing was sent for a while, else `flushMs` after the last time. */
  readonly #schedule = (): void => {
    if (this.#tick) return;
    const waitMs = this.#options.flushMs - (performance.now() - this.#flushedAt);
    this.#tick = waitMs > 0.5 ? setTimeout(this.#flush, waitMs) : setImmediate(this.#flush);
  };

  readonly #flush = (): void => {
    this.#tick = undefined;
    this.#flushedAt = performance.now();
    for (const shard of this.#shards) shard.flush();
  };
}
