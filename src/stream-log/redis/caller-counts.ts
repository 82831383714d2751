/**
 * What each caller does on all instances together: how many of its generations run, how many it starts in a minute, and what they
 * have used up today. Knows no limit: who asks names one.
 *
 * An instance writes how many generations it runs and what was used up on it, never by how much a number has changed. So a call whose
 * answer was lost may be repeated, what Redis forgot is written again, and nothing drifts. Of an instance that is gone, the number of
 * running generations counts until its lease is over, and what was used up until the day is over.
 */
import type { SharedSpending, Used } from '../../access/budgets.ts';
import type { Connection } from './connection.ts';
import { callerIndex } from './keys.ts';
import { script, type Script } from './script.ts';
import { RUNNING } from './scripts/running.ts';
import { USED } from './scripts/used.ts';
import type { RedisTiming } from './timing.ts';

/** An instance writes its numbers again at every second beat. */
const beatsPerRenewal = 2;
/** A number counts for so many beats after it was written: for two renewals that fail, and the time between. */
const beatsPerLease = 6;
/** For a number that is written whatever the others run. */
const unlimited = Number.MAX_SAFE_INTEGER;
const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;

/** What this instance runs of one caller. */
interface Mine {
  /** Generations that run here, and those that are just being admitted. */
  running: number;
  /** The number that Redis has, as far as this instance knows. */
  written: number;
  writing: boolean;
}

export class CallerCounts implements SharedSpending {
  readonly #instance: string;
  readonly #leaseMs: string;
  readonly #callers = new Map<string, Mine>();
  /** Calls under way that write what was used up. */
  readonly #exchanges = new Set<Promise<unknown>>();
  #onBack: () => void = () => {};
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

  /** Redis can be reached again. What this instance has written may be lost. */
  back(): void {
    this.renew();
    this.#onBack();
  }

  onBack(listener: () => void): void {
    this.#onBack = listener;
  }

  async exchangeUsed(caller: string, day: number, here: Used): Promise<Used> {
    const key = `${callerIndex(this.#prefix, caller)}:used:${day}`;
    // The clock of another instance may be behind this one's, and its day later over.
    const expiryMs = Math.max((day + 1) * dayMs - Date.now(), 0) + hourMs;
    const call = this.#run(USED, key, [this.#instance, String(here.tokens), String(here.costUsd), String(expiryMs)]);
    this.#exchanges.add(call);
    try {
      return usedByOthers((await call) as readonly string[], this.#instance);
    } finally {
      this.#exchanges.delete(call);
    }
  }

  /** This instance runs nothing any more. Settles when Redis has that, and all that was used up. Never rejects. */
  async leave(): Promise<void> {
    const writes = [...this.#callers.keys()].map((caller) => this.#write(caller, 0, unlimited));
    this.#callers.clear();
    await Promise.allSettled([...writes, ...this.#exchanges]);
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

/** @param all Names of instances, each followed by its numbers. */
function usedByOthers(all: readonly string[], instance: string): Used {
  let tokens = 0;
  let costUsd = 0;
  for (let at = 0; at < all.length; at += 2) {
    if (all[at] === instance) continue;
    const [itsTokens, itsDollars] = all[at + 1]!.split(' ');
    tokens += Number(itsTokens);
    costUsd += Number(itsDollars);
  }
  return { tokens, costUsd };
}
