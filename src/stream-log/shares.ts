/**
 * Finds who has the most of something. Keeps a set of holders for each size of share, so that a change by one costs two set
 * operations, however many holders there are. Shares must change by small steps: a step of n costs up to n look-ups.
 */
export class Shares<T> {
  readonly #sizes = new Map<T, number>();
  readonly #holders = new Map<number, Set<T>>();
  #largest = 0;

  /** Sets how much a holder has. A holder with 0 is forgotten. */
  set(holder: T, size: number): void {
    const before = this.#sizes.get(holder);
    if (before !== undefined) this.#remove(holder, before);
    if (size > 0) this.#add(holder, size);
    else this.#sizes.delete(holder);
    while (this.#largest > 0 && !this.#holders.has(this.#largest)) this.#largest -= 1;
  }

  /** One of the holders that have the most; undefined if there is no holder. */
  largest(): T | undefined {
    return this.#holders.get(this.#largest)?.values().next().value;
  }

  #add(holder: T, size: number): void {
    this.#sizes.set(holder, size);
    let holders = this.#holders.get(size);
    if (!holders) this.#holders.set(size, (holders = new Set()));
    holders.add(holder);
    this.#largest = Math.max(this.#largest, size);
  }

  #remove(holder: T, size: number): void {
    const holders = this.#holders.get(size)!;
    holders.delete(holder);
    if (holders.size === 0) this.#holders.delete(size);
  }
}
