/**
 * What one shard of Redis remembers, as far as an instance can see: whether it has forgotten something since, and how long
 * ids must not be started for that reason. Whoever runs a generation that Redis forgot needs that time to write it again; an id
 * that was started meanwhile would be run, and billed, twice.
 */
export class Era {
  /** Empty until it was learned. */
  value = '';
  readonly #holdMs: number;
  #heldUntil = 0;
  /** Until when the era's own age demands it, whatever the run says. */
  #eraHeldUntil = 0;
  #run: string | undefined;

  /** @param holdMs How long ids are held after Redis has forgotten something. */
  constructor(holdMs: number) {
    this.#holdMs = holdMs;
  }

  get held(): boolean {
    return this.#leftMs > 0;
  }

  /** Settles when ids may be started. */
  async released(): Promise<void> {
    for (let ms = this.#leftMs; ms > 0; ms = this.#leftMs) {
      await new Promise((resolve) => setTimeout(resolve, ms));
    }
  }

  /** Redis answered with its era. Returns whether it has forgotten everything since the one before. */
  learn(value: string, ageMs: number): boolean {
    if (value === this.value) return false;
    const forgot = this.value !== '';
    this.value = value;
    if (forgot) this.#eraHeldUntil = performance.now() + Math.max(0, this.#holdMs - ageMs);
    return forgot;
  }

  /** A connection is up again. Until `resume` says what answers there, it may be another Redis, which lacks the last writes. */
  interrupt(): void {
    this.#heldUntil = performance.now() + this.#holdMs;
  }

  /**
   * @param run The `run_id` of the process that answers; undefined where it can't be had.
   * @returns Whether it may be another process than before.
   */
  resume(run: string | undefined): boolean {
    const same = run !== undefined && (this.#run === undefined || this.#run === run);
    if (same) this.#heldUntil = 0;
    this.#run = run ?? this.#run;
    return !same;
  }

  get #leftMs(): number {
    return Math.ceil(Math.max(this.#heldUntil, this.#eraHeldUntil) - performance.now());
  }
}
