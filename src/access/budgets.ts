/**
 * What each caller has used up today, and whether it may start more. Knows neither generations nor where instances share their numbers.
 *
 * A generation counts when it ends, with what it has cost in truth. So a caller can use more than its budget: what its generations
 * take that run when the budget is used up. docs/decisions/budgets-count-ends.md says how much that is, and why nothing is reserved.
 */
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { Account } from '../protocol.ts';

/** The budgets of a service. */
export interface Budgets {
  /**
   * Refuses by what is known here.
   *
   * @throws LlmError `rate_limited` where a budget is used up, with the time until the day ends.
   */
  check(caller: Caller): void;
  /**
   * The same by what all instances have used up. To be called while the caller has its place among the running generations: then no
   * more can overrun a budget than there are places. Undefined where there is nothing to ask.
   *
   * @throws LlmError The promise rejects as `check` throws.
   */
  checkAll(caller: Caller): Promise<void> | undefined;
  /** Counts a generation that has ended. To be called while it still has its place. */
  spend(callerName: string, spent: Spent): void;
}

export type Spent = Pick<Account, 'costUsd'> & {
  readonly usage: Omit<Account['usage'], 'raw' | 'estimated'>;
};

export interface BudgetLimits {
  /** Tokens that a caller's generations may take in a day. */
  readonly tokensPerCallerPerDayMax: number;
  /** US dollars that they may cost. */
  readonly costPerCallerPerDayMax: number;
}

/** What was used up. */
export interface Used {
  readonly tokens: number;
  readonly costUsd: number;
}

/** Numbers that all instances share. */
export interface SharedSpending {
  /**
   * Writes what a caller has used up here on a day, which is the number of the day since 1970, and returns what it has used up on the
   * other instances. May be repeated. Rejects where the numbers are out of reach.
   */
  exchangeUsed(caller: string, day: number, here: Used): Promise<Used>;
  /** Has `listener` called when the numbers can be reached again, and what was written may be lost. */
  onBack(listener: () => void): void;
}

interface Spending {
  here: Used;
  /** The most that other instances have said. */
  elsewhere: Used;
}

const nothing: Used = { tokens: 0, costUsd: 0 };
const dayMs = 24 * 60 * 60_000;
/** Callers that are counted. With more, the caller is forgotten that nothing was asked or counted of for the longest time. */
const callersMax = 100_000;

/** Counts in the memory of this process, and over all instances where they share their numbers. A day is one of UTC. */
export class DayBudgets implements Budgets {
  readonly #limits: BudgetLimits;
  readonly #shared: SharedSpending | undefined;
  /** What was used on `#day`, by caller. */
  readonly #used = new Map<string, Spending>();
  #day = 0;

  constructor(limits: BudgetLimits, shared?: SharedSpending) {
    this.#limits = limits;
    this.#shared = shared;
    shared?.onBack(() => void this.#writeAgain());
  }

  check(caller: Caller): void {
    const max = this.#maxOf(caller);
    const now = Date.now();
    const { here, elsewhere } = this.#usedOn(now).get(caller.name) ?? { here: nothing, elsewhere: nothing };
    const { tokens, costUsd } = sum(here, elsewhere);
    if (tokens >= max.tokens) throw usedUp(`${max.tokens} tokens`, now);
    if (costUsd >= max.costUsd) throw usedUp(`${max.costUsd} US dollars`, now);
  }

  checkAll(caller: Caller): Promise<void> | undefined {
    const { tokens, costUsd } = this.#maxOf(caller);
    if (!this.#shared || Math.min(tokens, costUsd) === Infinity) return undefined;
    return this.#exchange(this.#shared, caller.name).then(() => this.check(caller));
  }

  spend(callerName: string, { usage, costUsd }: Spent): void {
    const spending = this.#spendingOf(callerName);
    const { inputTokens, outputTokens, cacheReadInputTokens, cacheCreationInputTokens } = usage;
    const tokens = inputTokens + outputTokens + cacheReadInputTokens + cacheCreationInputTokens;
    spending.here = sum(spending.here, { tokens, costUsd: costUsd ?? 0 });
    if (this.#shared) void this.#exchange(this.#shared, callerName);
  }

  /** Never rejects: what was known before counts on where the shared numbers are out of reach. */
  async #exchange(shared: SharedSpending, callerName: string): Promise<void> {
    const spending = this.#spendingOf(callerName);
    try {
      const { tokens, costUsd } = await shared.exchangeUsed(callerName, this.#day, spending.here);
      // The numbers of a day only grow, so smaller ones come from a store that has forgotten some.
      spending.elsewhere = {
        tokens: Math.max(tokens, spending.elsewhere.tokens),
        costUsd: Math.max(costUsd, spending.elsewhere.costUsd),
      };
    } catch {
      // It is written with the next number, or when the shared ones are back.
    }
  }

  /** One caller after the other, since there can be a hundred thousand. */
  async #writeAgain(): Promise<void> {
    const callers = [...this.#usedOn(Date.now())].filter(([, { here }]) => here !== nothing);
    for (const [name] of callers) if (this.#used.has(name)) await this.#exchange(this.#shared!, name);
  }

  #maxOf({ limits: own }: Caller): Used {
    return {
      tokens: own?.tokensPerCallerPerDayMax ?? this.#limits.tokensPerCallerPerDayMax,
      costUsd: own?.costPerCallerPerDayMax ?? this.#limits.costPerCallerPerDayMax,
    };
  }

  /** What a caller has used today, as the last one in the order of `#used`. */
  #spendingOf(callerName: string): Spending {
    const used = this.#usedOn(Date.now());
    const spending = used.get(callerName) ?? { here: nothing, elsewhere: nothing };
    used.delete(callerName);
    used.set(callerName, spending);
    if (used.size > callersMax) used.delete(used.keys().next().value!);
    return spending;
  }

  #usedOn(now: number): Map<string, Spending> {
    const day = Math.floor(now / dayMs);
    if (day !== this.#day) this.#used.clear();
    this.#day = day;
    return this.#used;
  }
}

function sum(one: Used, other: Used): Used {
  return { tokens: one.tokens + other.tokens, costUsd: one.costUsd + other.costUsd };
}

function usedUp(budget: string, now: number): LlmError {
  return new LlmError('rate_limited', `The budget of ${budget} a day is used up`, {
    retryAfterMs: dayMs - (now % dayMs),
  });
}
