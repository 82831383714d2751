/**
 * The account of one generation: what all its attempts used and cost, and how long it took. Knows nothing of how
 * attempts are made. What one attempt left unknown stays unknown in the sum.
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

  /** `startedAtMs` on the clock of `performance.now()`. */
  constructor(startedAtMs: number) {
    this.#startedAtMs = startedAtMs;
  }

  /** The first output came then, if any did; later calls change nothing. */
  output(atMs: number | undefined): void {
    this.#firstTokenAtMs ??= atMs;
  }

  /** Adds an attempt that upstream billed, or may have billed. */
  add(model: PricedModel, { usage, billed }: AttemptUsage): void {
    const sum = this.#usage;
    this.#usage = {
      inputTokens: sum.inputTokens + usage.inputTokens,
      outputTokens: sum.outputTokens + usage.outputTokens,
      cacheReadInputTokens: sum.cacheReadInputTokens + usage.cacheReadInputTokens,
      cacheCreationInputTokens: sum.cacheCreationInputTokens + usage.cacheCreationInputTokens,
      estimated: sum.estimated || usage.estimated,
      raw: usage.raw ?? sum.raw,
    };
    const cost = costUsd(model, billed);
    this.#costUsd = cost === null || this.#costUsd === null ? null : this.#costUsd + cost;
  }

  /** As it stands now, for the config that answered last. */
  account(config: { readonly name: string; readonly model: string }): Account {
    return {
      usage: this.#usage,
      // Tokens cost millionths of cents; what lies beyond is the noise of binary fractions.
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

/** To a tenth of a millisecond. */
function sinceMs(startMs: number, endMs: number): number {
  return Math.round((endMs - startMs) * 10) / 10;
}
