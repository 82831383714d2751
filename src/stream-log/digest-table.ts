/**
 * A hash table from 64-bit digests to places, which are numbers from 0 on. Knows nothing of the values that its user keeps at
 * a place.
 *
 * It holds hundreds of thousands of digests for a day. They stand in typed arrays, which the garbage collector doesn't walk,
 * as it would a map's entries. Open addressing with linear probing; the index is never more than half full.
 */
export class DigestTable {
  readonly capacity: number;
  readonly #digests: BigUint64Array;
  /** Places by slot, counted from 1; 0 is a free slot. */
  readonly #index: Uint32Array;
  /** Places that were given back. `add` takes these first. */
  readonly #freed: number[] = [];
  /** No place from this number on was ever taken. */
  #untouched = 0;

  /** @param capacity How many digests it can hold. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#digests = new BigUint64Array(capacity);
    this.#index = new Uint32Array(2 ** Math.ceil(Math.log2(capacity * 2)));
  }

  get size(): number {
    return this.#untouched - this.#freed.length;
  }

  placeOf(digest: bigint): number | undefined {
    const place = this.#index[this.#slotOf(digest)]!;
    return place === 0 ? undefined : place - 1;
  }

  /** Gives a place to a digest that has none. `size` must be below `capacity`. */
  add(digest: bigint): number {
    const place = this.#freed.pop() ?? this.#untouched++;
    this.#digests[place] = digest;
    this.#index[this.#slotOf(digest)] = place + 1;
    return place;
  }

  /** Forgets the digest at a place. */
  delete(place: number): void {
    this.#clear(this.#slotOf(this.#digests[place]!));
    this.#freed.push(place);
  }

  /** A larger table with the same digests at the same places. This table must be full. */
  grown(capacity: number): DigestTable {
    const grown = new DigestTable(capacity);
    for (const digest of this.#digests) grown.add(digest);
    return grown;
  }

  /** The slot where the digest stands, or the free slot where it would be put. */
  #slotOf(digest: bigint): number {
    let slot = this.#home(digest);
    for (;;) {
      const place = this.#index[slot]!;
      if (place === 0 || this.#digests[place - 1] === digest) return slot;
      slot = this.#after(slot);
    }
  }

  /** Frees a slot, and moves up each entry behind it that stands there only because the slot was taken. Knuth, TAOCP 6.4, algorithm R. */
  #clear(slot: number): void {
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
