/**
 * What each caller does on all instances together: how many of its generations run, and how many it starts in a minute. Knows no
 * limit: who asks names one.
 *
 * An instance writes how many generations it runs, never by how much that number has changed. So a call whose answer was lost may
 * be repeated, what Redis forgot is written again, and nothing drifts. The number of an instance that is gone counts until its
 * lease is over.
 */
import type { Connection } from './connection.ts';
import { callerIndex } from './keys.ts';
import { script, type Script } from './script.ts';
import { RUNNING } from './scripts/running.ts';
import type { RedisTiming } from './timing.ts';

/** An instance writes its numbers again at every second beat. */
const beatsPerRenewal = 2;
/** A number counts for so many beats after it was written: for two renewals that fail, and the time between. */
const beatsPerLease = 6;
/** For a number that is written whatever the others run. */
const unlimited = Number.MAX_SAFE_INTEGER;

/** What this instance runs of one caller. */
interface Mine {
  /** Generations that run here, and those that are just being admitted. */
  running: number;
  /** The number that Redis has, as far as this instance knows. */
  written: number;
  writing: boolean;
}

export class CallerCounts {
  readonly #instance: string;
  readonly #leaseMs: string;
  readonly #callers = new Map<string, Mine>();
  #connection: Connection | undefined;
  #prefix = '';
  #rateScript: Script | undefined;
  #beats = 0;

  constructor(instance: string, { beatMs }: RedisTiming) {
    this.#instance = instance;
    this.#leaseMs = String(beatMs * beatsPerLease);
  }

  /** Until then, and wherever Redis doesn't answer, only this instance is counted. */
  connected(connection: Connection, prefix: string): void {
    this.#connection = connection;
    this.#prefix = prefix;
  }

  /** Counts one more generation of a caller, if all instances together then run at most `max`. Returns whether it did. Never rejects. */
  async take(caller: string, max: number): Promise<boolean> {
    let mine = this.#callers.get(caller);
    if (!mine) this.#callers.set(caller, (mine = { running: 0, written: 0, writing: false }));
    if (mine.running >= max) return false;
    mine.running += 1;
    const { running } = mine;
    try {
      if (await this.#write(caller, running, max)) {
        mine.written = running;
        return true;
      }
    } catch {
      // Redis is out of reach. This instance's own number is below the limit, and is written by a later renewal.
      return true;
    }
    this.give(caller);
    return false;
  }

  /** Counts one generation less. */
  give(caller: string): void {
    const mine = this.#callers.get(caller);
    // This instance has left.
    if (!mine) return;
    mine.running -= 1;
    void this.#settle(caller, mine);
  }

  /** To be called at each beat of this instance. */
  beat(): void {
    this.#beats += 1;
    if (this.#beats % beatsPerRenewal === 0) this.renew();
  }

  /** Writes all numbers again: Redis may have forgotten them, and they count for a while only. */
  renew(): void {
    for (const [caller, mine] of this.#callers) {
      mine.written = Number.NaN;
      void this.#settle(caller, mine);
    }
  }

  /** This instance runs nothing any more. Never rejects. */
  async leave(): Promise<void> {
    const writes = [...this.#callers.keys()].map((caller) => this.#write(caller, 0, unlimited));
    this.#callers.clear();
    await Promise.allSettled(writes);
  }

  /**
   * Runs the script of a rate limiter, as the client of Redis does that rate-limiter-flexible expects.
   *
   * @param options The only key is the limiter's name and the caller's: `starts:alice`.
   */
  async eval(lua: string, options: { readonly keys: readonly string[]; readonly arguments: readonly string[] }) {
    const [name = ''] = options.keys;
    const colon = name.indexOf(':');
    const key = `${callerIndex(this.#prefix, name.slice(colon + 1))}:${name.slice(0, colon)}`;
    // The hash of the text is worked out once: there is one text.
    if (this.#rateScript?.lua !== lua) this.#rateScript = script(lua);
    return this.#run(this.#rateScript, key, options.arguments);
  }

  /** Writes the number until Redis has the present one. A renewal repeats what fails. */
  async #settle(caller: string, mine: Mine): Promise<void> {
    if (mine.writing) return;
    mine.writing = true;
    try {
      while (mine.running !== mine.written) {
        const { running } = mine;
        await this.#write(caller, running, unlimited);
        mine.written = running;
      }
      if (mine.running === 0 && this.#callers.get(caller) === mine) this.#callers.delete(caller);
    } catch {
      // As above.
    } finally {
      mine.writing = false;
    }
  }

  async #write(caller: string, count: number, max: number): Promise<boolean> {
    const key = `${callerIndex(this.#prefix, caller)}:run`;
    return (await this.#run(RUNNING, key, [this.#instance, String(count), String(max), this.#leaseMs])) === 1;
  }

  async #run(lua: Script, key: string, args: readonly string[]): Promise<unknown> {
    if (!this.#connection) throw new Error('not connected yet');
    return this.#connection.run(lua, [key], args);
  }
}
