/**
 * What the logs of one shard have to send to Redis: all of them in one call, one call at a time. So the order of each log's
 * events is kept, and a thousand tokens of a thousand answers cost Redis one call.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { startsWith } from './connection.ts';
import type { OwnedLog, Sending } from './owned-log.ts';
import type { Script } from './script.ts';
import { APPEND, APPEND_END } from './scripts/append.ts';
import type { Shard } from './shard.ts';

/** A call blocks Redis for as long as it runs, and Lua's `unpack` takes some 8,000 values. */
const generationsPerCallMax = 512;
const elementsPerCallMax = 2_000;
const bytesPerCallMax = 256 * 1_024;

export class Outbox {
  readonly #shard: Shard;
  readonly #schedule: () => void;
  /** Logs that have something to send. */
  readonly #dirty = new Set<OwnedLog>();
  #sending = false;
  #closed = false;

  /** @param schedule Has `flush` called soon. */
  constructor(shard: Shard, schedule: () => void) {
    this.#shard = shard;
    this.#schedule = schedule;
  }

  /** To be called when a log has something to send. */
  mark(log: OwnedLog): void {
    this.#dirty.add(log);
    if (!this.#sending && !this.#closed) this.#schedule();
  }

  /** Sends nothing more of a log. */
  forget(log: OwnedLog): void {
    this.#dirty.delete(log);
  }

  /** Sends what the logs have, as much as one call may hold, unless a call is under way. */
  flush(): void {
    if (this.#sending || this.#closed || this.#dirty.size === 0) return;
    const sendings = this.#gather();
    if (sendings.length > 0) void this.#send(sendings);
  }

  close(): void {
    this.#closed = true;
    this.#dirty.clear();
  }

  #gather(): Sending[] {
    const sendings: Sending[] = [];
    let elementsLeft = elementsPerCallMax;
    let bytesLeft = bytesPerCallMax;
    for (const log of this.#dirty) {
      if (sendings.length === generationsPerCallMax || elementsLeft <= 0 || bytesLeft <= 0) break;
      this.#dirty.delete(log);
      const sending = log.toSend(elementsLeft, bytesLeft);
      if (sending.elements.length === 0) continue;
      sendings.push(sending);
      elementsLeft -= sending.elements.length;
      for (const element of sending.elements) bytesLeft -= element.length;
    }
    return sendings;
  }

  async #send(sendings: readonly Sending[]): Promise<void> {
    this.#sending = true;
    try {
      const answers = await this.#append(APPEND, sendings);
      this.#sending = false;
      sendings.forEach((sending, at) => sending.log.answered(sending, Number(answers[at])));
    } catch (error) {
      for (const { log } of sendings) this.#dirty.add(log);
      this.#shard.incidents.retried(error);
      if (startsWith(error, 'OOM')) await this.#sendEnds(sendings);
      await delay(this.#shard.timing.retryMs);
      this.#sending = false;
    }
    if (this.#dirty.size > 0 && !this.#closed) this.#schedule();
  }

  /** Redis has no memory left. Logs that get their end are written, since they free memory soon; the others are refused. */
  async #sendEnds(sendings: readonly Sending[]): Promise<void> {
    const ends = sendings.filter((sending) => sending.log.closing);
    for (const { log } of sendings) log.refuse();
    if (ends.length === 0) return;
    try {
      const answers = await this.#append(APPEND_END, ends);
      for (const { log } of ends) this.#dirty.delete(log);
      ends.forEach((sending, at) => sending.log.answered(sending, Number(answers[at])));
    } catch (error) {
      // They are marked, and so sent again.
      this.#shard.incidents.retried(error);
    }
  }

  async #append(script: Script, sendings: readonly Sending[]): Promise<readonly unknown[]> {
    const { keys: names, instance, expiries, connection } = this.#shard;
    const keys = [names.live(instance)];
    const args = [...expiries, names.inboxes, String(sendings.length)];
    for (const { log } of sendings) args.push(log.k);
    for (const { log, first, elements, ends } of sendings) {
      const of = names.of(log.k);
      keys.push(of.log);
      if (ends) keys.push(of.meta, of.spent);
      args.push(String(first), String(elements.length), ends ? '1' : '0');
      for (const element of elements) args.push(element);
    }
    return (await connection.run(script, keys, args)) as readonly unknown[];
  }
}
