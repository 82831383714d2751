/**
 * What one shard of Redis remembers, as far as an instance can see: whether it has forgotten something since, and how long
 * starts of ids are held back for that reason. Whoever runs a generation that Redis forgot needs that time to write it again; an id
 * that was started meanwhile would be run, and billed, twice.
 */
import { setTimeout as delay } from 'node:timers/promises';

export class Era {
  /** Empty until it was learned. */
  value = '';
  readonly #holdMs: number;
  #heldUntil = 0;
  /** The end of a hold that only time ends: Redis has forgotten something, and its owners need that long to write it again. */
  #forgottenUntil = 0;
  #run: string | undefined;
  #resumed = false;

  /** @param holdMs How long ids are held after Redis has forgotten something. */
  constructor(holdMs: number) {
    this.#holdMs = holdMs;
  }

  get held(): boolean {
    return this.#leftMs > 0;
  }

  /** Settles when ids may be started. Rejects when the signal aborts before that. */
  async released(signal: AbortSignal): Promise<void> {
    for (let ms = this.#leftMs; ms > 0; ms = this.#leftMs) {
      await delay(ms, undefined, { signal });
    }
  }

  /** Redis answered with its era. Returns whether it has forgotten everything since the one before. */
  learn(value: string, ageMs: number): boolean {
    if (value === this.value) return false;
    const forgot = this.value !== '';
    this.value = value;
    if (forgot) this.#hold(this.#holdMs - ageMs);
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
    // An instance has two connections, and each calls this when it is up again. The second finds the process that the first has found,
    // which must not end the hold that the first began.
    if (same) this.#heldUntil = 0;
    else if (this.#resumed) this.#hold(this.#holdMs);
    this.#resumed = true;
    this.#run = run ?? this.#run;
    return !same;
  }

  #hold(ms: number): void {
    this.#forgottenUntil = Math.max(this.#forgottenUntil, performance.now() + ms);
  }

  get #leftMs(): number {
    return Math.ceil(Math.max(this.#heldUntil, this.#forgottenUntil) - performance.now());
  }
}
