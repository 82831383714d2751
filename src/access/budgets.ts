/**
 * What each caller has used up today, and whether it may start more. Knows nothing of generations.
 *
 * A generation counts when it ends, with what it has cost in truth. So a caller can use more than its budget: what its generations
 * take that run when the budget is used up. There are at most `LLM_GENERATIONS_PER_CALLER_MAX` of these, and each has the
 * `max_tokens` of its config. To count before, the service would have to guess, and would refuse callers that have enough left.
 */
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { Account } from '../protocol.ts';

/** The budgets of a service. An implementation that several instances share may take its time to answer. */
export interface Budgets {
  /**
   * Settles when the caller may start a generation; undefined where it may now.
   *
   * @throws LlmError `rate_limited`, or rejects with it, where a budget is used up, with the time until the day ends.
   */
  check(caller: Caller): Promise<void> | undefined;
  /** Counts a generation that has ended. */
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

interface Used {
  tokens: number;
  costUsd: number;
}

const nothing: Readonly<Used> = { tokens: 0, costUsd: 0 };
const dayMs = 24 * 60 * 60_000;
/** Callers that are counted. With more, the caller is forgotten whose last generation ended first. */
const callersMax = 100_000;

/** Counts in the memory of this process. A day is one of UTC. */
export class MemoryBudgets implements Budgets {
  readonly #limits: BudgetLimits;
  /** What was used on `#day`, by caller. */
  readonly #used = new Map<string, Used>();
  #day = 0;

  constructor(limits: BudgetLimits) {
    this.#limits = limits;
  }

  check({ name, limits: own }: Caller): undefined {
    const tokensMax = own?.tokensPerCallerPerDayMax ?? this.#limits.tokensPerCallerPerDayMax;
    const costMax = own?.costPerCallerPerDayMax ?? this.#limits.costPerCallerPerDayMax;
    const now = Date.now();
    const { tokens, costUsd } = this.#usedOn(now).get(name) ?? nothing;
    if (tokens >= tokensMax) throw usedUp(`${tokensMax} tokens`, now);
    if (costUsd >= costMax) throw usedUp(`${costMax} US dollars`, now);
  }

  spend(callerName: string, { usage, costUsd }: Spent): void {
    const used = this.#usedOn(Date.now());
    const before = used.get(callerName) ?? nothing;
    const { inputTokens, outputTokens, cacheReadInputTokens, cacheCreationInputTokens } = usage;
    used.delete(callerName);
    used.set(callerName, {
      tokens: before.tokens + inputTokens + outputTokens + cacheReadInputTokens + cacheCreationInputTokens,
      costUsd: before.costUsd + (costUsd ?? 0),
    });
    if (used.size > callersMax) used.delete(used.keys().next().value!);
  }

  #usedOn(now: number): Map<string, Used> {
    const day = Math.floor(now / dayMs);
    if (day !== this.#day) this.#used.clear();
    this.#day = day;
    return this.#used;
  }
}

function usedUp(budget: string, now: number): LlmError {
  return new LlmError('rate_limited', `The budget of ${budget} a day is used up`, {
    retryAfterMs: dayMs - (now % dayMs),
  });
}
