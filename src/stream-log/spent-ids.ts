/**
 * Remembers ids that can't be started, each until its time is over, and at most `max` of them. A new id beyond that replaces
 * the oldest id of the caller that has the most. So no caller can have another caller's ids forgotten by spending many of its
 * own: a forgotten id could be run, and billed, again.
 *
 * It keeps 64 bits of an id's digest. Among a hundred thousand ids, two have the same 64 bits in one of four billion services.
 *
 * `lru-cache` could bound the number and the time, but not by whoever has the most, and it keeps an object and two strings for
 * each id where this keeps 28 bytes.
 */
import { createHash } from 'node:crypto';
import { DigestTable } from './digest-table.ts';
import { Shares } from './shares.ts';
import type { GenerationKey } from './stream-log.ts';

const capacityAtFirst = 1_024;
/** The least time between two searches for ids whose time is over. A search walks through all callers. */
const sweepIntervalMs = 60_000;

/** The ids of one caller, a linked list of places from the oldest to the newest. */
interface Owner {
  readonly caller: string;
  count: number;
  oldest: number;
  newest: number;
}

export class SpentIds {
  readonly #max: number;
  readonly #owners = new Map<string, Owner>();
  readonly #shares = new Shares<Owner>();
  #table: DigestTable;
  /** When the id at a place is forgotten, in milliseconds since 1970. */
  #expiries: Float64Array;
  /** The place of the next newer id of the same owner. */
  #newer: Uint32Array;
  #sweptAt = 0;

  /** @param max Ids that are remembered, of all callers. */
  constructor(max: number) {
    this.#max = max;
    this.#table = new DigestTable(Math.min(max, capacityAtFirst));
    this.#expiries = new Float64Array(this.#table.capacity);
    this.#newer = new Uint32Array(this.#table.capacity);
  }

  /** Remembers an id for `durationMs`. An id that is remembered already gets that time from now on. */
  add(key: GenerationKey, durationMs: number): void {
    const digest = digestOf(key);
    const expiresAt = Date.now() + durationMs;
    const known = this.#table.placeOf(digest);
    if (known !== undefined) {
      this.#expiries[known] = expiresAt;
      return;
    }
    this.#makeRoom();
    const place = this.#table.add(digest);
    this.#expiries[place] = expiresAt;
    this.#give(place, this.#ownerOf(key.caller));
  }

  has(key: GenerationKey): boolean {
    const place = this.#table.placeOf(digestOf(key));
    return place !== undefined && this.#expiries[place]! > Date.now();
  }

  /** How many ids of a caller are remembered. */
  count(caller: string): number {
    const owner = this.#owners.get(caller);
    if (!owner) return 0;
    this.#forgetExpired(owner, Date.now());
    return owner.count;
  }

  #makeRoom(): void {
    if (this.#table.size < this.#table.capacity) return;
    if (this.#table.capacity < this.#max) return this.#grow(Math.min(this.#max, this.#table.capacity * 2));
    const now = Date.now();
    if (now - this.#sweptAt >= sweepIntervalMs) {
      this.#sweptAt = now;
      for (const owner of this.#owners.values()) this.#forgetExpired(owner, now);
    }
    if (this.#table.size < this.#table.capacity) return;
    this.#forgetOldest(this.#shares.largest()!);
  }

  #grow(capacity: number): void {
    const expiries = new Float64Array(capacity);
    const newer = new Uint32Array(capacity);
    expiries.set(this.#expiries);
    newer.set(this.#newer);
    this.#expiries = expiries;
    this.#newer = newer;
    this.#table = this.#table.grown(capacity);
  }

  #ownerOf(caller: string): Owner {
    let owner = this.#owners.get(caller);
    if (!owner) this.#owners.set(caller, (owner = { caller, count: 0, oldest: 0, newest: 0 }));
    return owner;
  }

  #give(place: number, owner: Owner): void {
    if (owner.count === 0) owner.oldest = place;
    else this.#newer[owner.newest] = place;
    owner.newest = place;
    owner.count += 1;
    this.#shares.set(owner, owner.count);
  }

  #forgetOldest(owner: Owner): void {
    const place = owner.oldest;
    owner.oldest = this.#newer[place]!;
    owner.count -= 1;
    this.#shares.set(owner, owner.count);
    if (owner.count === 0) this.#owners.delete(owner.caller);
    this.#table.delete(place);
  }

  /** Forgets the caller's oldest ids up to the first whose time isn't over. A younger one whose time is over stays until it is the oldest. */
  #forgetExpired(owner: Owner, now: number): void {
    while (owner.count > 0 && this.#expiries[owner.oldest]! <= now) this.#forgetOldest(owner);
  }
}

/** A generationId has no blank in it, so no two keys give the same text. */
function digestOf({ caller, generationId }: GenerationKey): bigint {
  return createHash('sha256').update(`${generationId} ${caller}`).digest().readBigUInt64LE();
}
