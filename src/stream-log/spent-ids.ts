/**
 * Ids that can't be started (again), each for its time. Bounded: past `max` the oldest are forgotten.
 *
 * A service that runs for days has as many as it may have, so each is 64 bits of a digest and a time, in typed arrays: no
 * object for the garbage collector to walk. Two of a hundred thousand ids share their digest once in four billion services.
 */
import { createHash } from 'node:crypto';
import type { GenerationKey } from './stream-log.ts';

const capacityAtFirst = 1_024;

export class SpentIds {
  readonly #max: number;
  #table: Table;

  constructor(max: number) {
    this.#max = max;
    this.#table = new Table(Math.min(max, capacityAtFirst));
  }

  add(key: GenerationKey, durationMs: number): void {
    const digest = digestOf(key);
    const expiresAt = Date.now() + durationMs;
    if (this.#table.renew(digest, expiresAt)) return;
    if (this.#table.full && this.#table.capacity < this.#max) {
      this.#table = this.#table.grown(Math.min(this.#max, this.#table.capacity * 2));
    }
    this.#table.add(digest, expiresAt);
  }

  has(key: GenerationKey): boolean {
    return (this.#table.expiryOf(digestOf(key)) ?? 0) > Date.now();
  }
}

/** A ring of entries, oldest out, and an index of where in it each digest stands: open addressing, linear probing. */
class Table {
  readonly capacity: number;
  readonly #digests: BigUint64Array;
  readonly #expiries: Float64Array;
  /** Places in the ring, counted from 1; 0 is free. Never more than half full. */
  readonly #index: Uint32Array;
  /** Entries that were ever added; the next one's place is its remainder. */
  #added = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#digests = new BigUint64Array(capacity);
    this.#expiries = new Float64Array(capacity);
    this.#index = new Uint32Array(2 ** Math.ceil(Math.log2(capacity * 2)));
  }

  get full(): boolean {
    return this.#added >= this.capacity;
  }

  expiryOf(digest: bigint): number | undefined {
    const place = this.#index[this.#slotOf(digest)]!;
    return place === 0 ? undefined : this.#expiries[place - 1];
  }

  /** Whether it was there. */
  renew(digest: bigint, expiresAt: number): boolean {
    const place = this.#index[this.#slotOf(digest)]!;
    if (place === 0) return false;
    this.#expiries[place - 1] = expiresAt;
    return true;
  }

  /** Of a digest that isn't there. */
  add(digest: bigint, expiresAt: number): void {
    const place = this.#added % this.capacity;
    if (this.full) this.#free(this.#slotOf(this.#digests[place]!));
    this.#digests[place] = digest;
    this.#expiries[place] = expiresAt;
    this.#index[this.#slotOf(digest)] = place + 1;
    this.#added += 1;
  }

  /** A larger one with the same entries. */
  grown(capacity: number): Table {
    const grown = new Table(capacity);
    const oldest = Math.max(0, this.#added - this.capacity);
    for (let each = oldest; each < this.#added; each += 1) {
      const place = each % this.capacity;
      grown.add(this.#digests[place]!, this.#expiries[place]!);
    }
    return grown;
  }

  /** Where in the index the digest stands, or else where it would. */
  #slotOf(digest: bigint): number {
    let slot = this.#home(digest);
    for (;;) {
      const place = this.#index[slot]!;
      if (place === 0 || this.#digests[place - 1] === digest) return slot;
      slot = this.#after(slot);
    }
  }

  /** Frees a slot, and moves up what stands behind it only because it was taken. Knuth, TAOCP 6.4, algorithm R. */
  #free(slot: number): void {
    let gap = slot;
    for (let next = this.#after(gap); this.#index[next] !== 0; next = this.#after(next)) {
      const place = this.#index[next]!;
      const mask = this.#index.length - 1;
      const wayFromHome = (next - this.#home(this.#digests[place - 1]!)) & mask;
      if (wayFromHome < ((next - gap) & mask)) continue;
      this.#index[gap] = place;
      gap = next;
    }
    this.#index[gap] = 0;
  }

  #home(digest: bigint): number {
    return Number(digest & BigInt(this.#index.length - 1));
  }

  #after(slot: number): number {
    return (slot + 1) & (this.#index.length - 1);
  }
}

/** A generationId has no blank, so no two keys share the text that is digested. */
function digestOf({ caller, generationId }: GenerationKey): bigint {
  return createHash('sha256').update(`${generationId} ${caller}`).digest().readBigUInt64LE();
}
