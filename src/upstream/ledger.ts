/**
 * The account of one generation: the usage and cost of all its attempts, and its timing. Knows nothing of how attempts
 * are made. Where the cost of one attempt is unknown, the sum is unknown too.
 */
import type { Account, Usage } from '../protocol.ts';
import { costUsd, type PricedModel } from './prices.ts';
import type { AttemptUsage } from './usage.ts';

export class Ledger {
  readonly #startedAtMs: number;
  #firstTokenAtMs: number | undefined;
  #usage: Usage = {
    inputTokens: 0,
    outputTokens: 0,
    cacheReadInputTokens: 0,
    cacheCreationInputTokens: 0,
    estimated: false,
    raw: null,
  };
  #costUsd: number | null = 0;

  /** @param startedAtMs When the generation began, on the clock of `performance.now()`. */
  constructor(startedAtMs: number) {
    this.#startedAtMs = startedAtMs;
  }

  /** The cost so far in US dollars; null where a price is unknown. */
  get costUsd(): number | null {
    return this.#costUsd;
  }

  /** Notes when an attempt's first output arrived; undefined where it had none. Only the first time counts. */
  output(atMs: number | undefined): void {
    this.#firstTokenAtMs ??= atMs;
  }

  /** Adds an attempt that upstream billed, or may have billed. */
  add(model: PricedModel, attempt: AttemptUsage): void {
    const { usage } = attempt;
    const sum = this.#usage;
    const { serviceTier = sum.serviceTier, speed = sum.speed } = usage;
    this.#usage = {
      inputTokens: sum.inputTokens + usage.inputTokens,
      outputTokens: sum.outputTokens + usage.outputTokens,
      cacheReadInputTokens: sum.cacheReadInputTokens + usage.cacheReadInputTokens,
      cacheCreationInputTokens: sum.cacheCreationInputTokens + usage.cacheCreationInputTokens,
      estimated: sum.estimated || usage.estimated,
      raw: usage.raw ?? sum.raw,
      ...(serviceTier === undefined ? {} : { serviceTier }),
      ...(speed === undefined ? {} : { speed }),
    };
    const cost = costUsd(model, attempt);
    this.#costUsd = cost === null || this.#costUsd === null ? null : this.#costUsd + cost;
  }

  /** The account as it is now. The config is that of the latest attempt. */
  account(config: { readonly name: string; readonly model: string }): Account {
    return {
      usage: this.#usage,
      // A token costs at least a millionth of a cent; further digits are rounding errors of binary fractions.
      costUsd: this.#costUsd === null ? null : Number(this.#costUsd.toFixed(12)),
      timing: {
        firstTokenMs: this.#firstTokenAtMs === undefined ? null : sinceMs(this.#startedAtMs, this.#firstTokenAtMs),
        totalMs: sinceMs(this.#startedAtMs, performance.now()),
      },
      config: config.name,
      model: config.model,
    };
  }
}

/** Rounded to a tenth of a millisecond. */
function sinceMs(startMs: number, endMs: number): number {
  return Math.round((endMs - startMs) * 10) / 10;
}
