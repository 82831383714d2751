/**
 * The life and death of instances, as one shard sees it. An instance counts a beat up; one whose counter doesn't change for some
 * beats of the others is dead, and its generations are ended for it. No clock is compared with another, so a Redis that comes
 * back late, and a machine whose clock is wrong, kill nobody.
 *
 * Nobody ever takes a generation over: an upstream call can't be handed on.
 */
import { randomBytes } from 'node:crypto';
import type { StartEvent } from '../../protocol.ts';
import { pageElements, parse } from './elements.ts';
import { lostEvent, textCharsOf } from './producer-lost.ts';
import { BEAT } from './scripts/beat.ts';
import { END } from './scripts/end.ts';
import type { Shard } from './shard.ts';

/** Instances that were found dead, of which messages may still speak. */
const deadKept = 100;
/** Generations of a dead instance that are ended at once. */
const endsAtOnce = 16;

type BeatAnswer = readonly [beats: readonly string[], running: readonly string[] | null, era: string, eraAgeMs: number];

export class Heartbeat {
  /** Since when Redis owes an answer, by `performance.now()`; undefined where it owes none. */
  #silentSince: number | undefined;
  readonly #shard: Shard;
  /** The counters of the other instances, and how many of our own beats have found each unchanged. */
  readonly #others = new Map<string, { beat: string; missed: number }>();
  readonly #dead = new Set<string>();
  /** When the last beat was answered; 0 after a lost connection. */
  #steadySince = 0;
  #beating: Promise<void> | undefined;
  /** The instances whose generations are just being ended. */
  readonly #burying = new Set<string>();

  constructor(shard: Shard) {
    this.#shard = shard;
  }

  get silentMs(): number {
    return this.#silentSince === undefined ? 0 : performance.now() - this.#silentSince;
  }

  /** Redis is taken to owe an answer from now on. */
  fallSilent(): void {
    this.#silentSince ??= performance.now();
  }

  isAlive(instance: string): boolean {
    return !this.#dead.has(instance);
  }

  /** A connection was lost: what was seen before says nothing about the time without it. */
  interrupt(): void {
    this.#steadySince = 0;
    this.#others.clear();
  }

  /** Never rejects. */
  async beat(): Promise<void> {
    await this.learn().catch((error: unknown) => this.#missed(error));
  }

  /** Without an answer nothing is known of the other instances. */
  #missed(error: unknown): void {
    if (!this.#shard.closed) this.#shard.incidents.retried(error);
    this.interrupt();
  }

  /** Beats, and learns the era by it. Rejects where Redis doesn't answer. */
  learn(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => (this.#beating = undefined));
    return this.#beating;
  }

  async #beat(): Promise<void> {
    const shard = this.#shard;
    if (shard.closed) return;
    const running = [...shard.owned.values()].filter((log) => log.running).length;
    const { keys, instance } = shard;
    this.fallSilent();
    const answer = await shard.connection.run(
      BEAT,
      [keys.beats, keys.live(instance), keys.era],
      [instance, String(running), randomBytes(6).toString('hex')],
    );
    const [beats, theirs, era, eraAgeMs] = answer as BeatAnswer;
    const now = performance.now();
    this.#silentSince = undefined;
    if (shard.era.learn(era, eraAgeMs)) for (const log of shard.owned.values()) log.verify();
    for (const follow of shard.followed.values()) follow.beat();
    if (theirs) this.#reconcile(theirs);
    const steady = this.#steadySince > 0 && now - this.#steadySince < 2 * shard.timing.beatMs;
    this.#steadySince = now;
    this.#judge(beats, steady);
  }

  /** Redis takes other generations to be run by this instance than those that are. */
  #reconcile(theirs: readonly string[]): void {
    const there = new Set(theirs);
    for (const log of this.#shard.owned.values()) if (log.running !== there.has(log.k)) log.verify();
    this.#aside(this.#shard.instance, async () => {
      for (const k of there) if (!this.#shard.isOwn(k)) await this.#end(k, this.#shard.instance, undefined);
    });
  }

  /** @param steady Whether this beat came in its time after the one before: only then does an unchanged counter count. */
  #judge(beats: readonly string[], steady: boolean): void {
    const present = new Set<string>();
    for (let at = 0; at < beats.length; at += 2) {
      const [name, beat] = [beats[at]!, beats[at + 1]!];
      present.add(name);
      if (name === this.#shard.instance) continue;
      const known = this.#others.get(name);
      if (!known || known.beat !== beat || !steady) {
        this.#others.set(name, { beat, missed: 0 });
        if (known && known.beat !== beat) this.#dead.delete(name);
        continue;
      }
      known.missed += 1;
      if (known.missed >= this.#shard.timing.beatsMissedMax) this.#aside(name, () => this.#bury(name, beat));
    }
    for (const name of this.#others.keys()) if (!present.has(name)) this.#forget(name);
  }

  /**
   * Ends generations of an instance beside the beats, once at a time for each instance. They can be thousands, and an instance that
   * didn't beat meanwhile would be taken for dead itself. A later beat repeats what fails here.
   */
  #aside(instance: string, end: () => Promise<void>): void {
    if (this.#burying.has(instance)) return;
    this.#burying.add(instance);
    void end()
      .catch((error: unknown) => {
        if (!this.#shard.closed) this.#shard.incidents.retried(error);
      })
      .finally(() => this.#burying.delete(instance));
  }

  async #bury(instance: string, beat: string): Promise<void> {
    const { keys, connection } = this.#shard;
    const live = keys.live(instance);
    const running = (await connection.command(live, 'HKEYS', live)) as readonly string[];
    for (let at = 0; at < running.length; at += endsAtOnce) {
      const some = running.slice(at, at + endsAtOnce);
      const ended = await Promise.all(some.map((k) => this.#end(k, instance, beat)));
      if (ended.includes('it lives')) return;
    }
    if (running.length === 0) await connection.command(keys.beats, 'HDEL', keys.beats, instance);
    this.#mourn(instance);
  }

  /** It has left, or somebody else has buried it. */
  #forget(instance: string): void {
    this.#others.delete(instance);
    this.#mourn(instance);
  }

  #mourn(instance: string): void {
    if (this.#dead.has(instance)) return;
    this.#dead.add(instance);
    if (this.#dead.size > deadKept) this.#dead.delete(this.#dead.values().next().value!);
    for (const log of this.#shard.owned.values()) log.forgetWatcher(instance);
  }

  /**
   * Writes the terminal event of a generation whose own instance can't write it.
   *
   * @param beat The owner's counter as it was observed; undefined if Redis names this instance as the owner, but this instance
   *   doesn't run the generation.
   */
  async #end(k: string, owner: string, beat: string | undefined): Promise<'ended' | 'it lives'> {
    const shard = this.#shard;
    const { connection } = shard;
    const { meta, log, spent } = shard.keys.of(k);
    for (;;) {
      const { length, terminal } = await this.#measure(k);
      const observed =
        beat ?? ((await connection.command(shard.keys.beats, 'HGET', shard.keys.beats, owner)) as string | null);
      // This instance may have opened it meanwhile.
      if (beat === undefined && shard.isOwn(k)) return 'it lives';
      const answer = await connection.run(
        END,
        [meta, log, spent, shard.keys.live(owner), shard.keys.beats],
        [owner, observed ?? '', String(length), terminal, ...shard.expiries, k, shard.keys.inboxes],
      );
      if (answer === 'E') shard.incidents.counts.reaped += 1;
      if (answer === 'L') return 'it lives';
      // The log has grown since it was read.
      if (answer !== 'N' || shard.closed) return 'ended';
    }
  }

  /** The length of a log, and the event that ends it. */
  async #measure(k: string): Promise<{ readonly length: number; readonly terminal: string }> {
    let length = 0;
    let textChars = 0;
    let start: StartEvent | undefined;
    for (;;) {
      const found = await this.#shard.read(k, length, length + pageElements - 1);
      if (typeof found === 'string' || found.elements.length === 0) break;
      start ??= JSON.parse(found.start) as StartEvent;
      textChars += textCharsOf(found.elements.map(parse));
      length += found.elements.length;
    }
    return { length, terminal: JSON.stringify(lostEvent(start, textChars)) };
  }
}
