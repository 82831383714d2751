/**
 * The prices of tokens. Knows nothing of requests. The cost of a model whose price isn't known is null, not 0. Fees
 * that aren't per token, such as those for web searches, are not part of a cost.
 */
import type { TokenCounts } from './usage.ts';

/** US dollars per million tokens. `cacheWrite` is the price of keeping tokens in the cache for five minutes. */
export interface Price {
  readonly input: number;
  readonly output: number;
  readonly cacheWrite: number;
  readonly cacheRead: number;
}

interface ListPrice extends Price {
  /** Where the prompt is longer than `promptTokens`, all tokens of the message cost `factor` times as much. */
  readonly long?: { readonly promptTokens: number; readonly factor: number };
}

/**
 * From Anthropic's price list of 2026-11-23. Only exact ids match, since a similar id can be a model with another
 * price.
 */
const listPrices: ReadonlyMap<string, ListPrice> = new Map<string, ListPrice>([
  ['claude-opus-5-5', { input: 4, output: 20, cacheWrite: 5, cacheRead: 0.2 }],
  ['claude-sonnet-5-5', { input: 2, output: 10, cacheWrite: 2.5, cacheRead: 0.1 }],
  [
    'claude-haiku-5-5',
    { input: 0.1, output: 0.5, cacheWrite: 0.125, cacheRead: 0.01, long: { promptTokens: 100_000, factor: 5 } },
  ],
  ['claude-sonnet-4-6', { input: 3, output: 15, cacheWrite: 3.75, cacheRead: 0.3 }],
  ['claude-haiku-4-5', { input: 1, output: 5, cacheWrite: 1.25, cacheRead: 0.1 }],
  ['claude-haiku-4-5-20251001', { input: 1, output: 5, cacheWrite: 1.25, cacheRead: 0.1 }],
]);

/** For every model, keeping tokens in the cache for an hour costs twice the price of input. */
const cacheWriteHourFactor = 2;

export interface PricedModel {
  readonly model: string;
  /** Replaces the price of the list for this model. */
  readonly price?: Price | undefined;
}

/** The cost of an attempt in US dollars; null where the price of any of its tokens is unknown. */
export function costUsd({ model, price }: PricedModel, billed: readonly TokenCounts[]): number | null {
  let total = 0;
  for (const counts of billed) {
    const own = counts.model === undefined || counts.model === model;
    const rates: ListPrice | undefined = (own ? price : undefined) ?? listPrices.get(counts.model ?? model);
    if (!rates) return null;
    total += costOf(rates, counts);
  }
  return total;
}

function costOf(rates: ListPrice, counts: TokenCounts): number {
  const promptTokens = counts.input + counts.cacheRead + counts.cacheWrite;
  const factor = rates.long && promptTokens > rates.long.promptTokens ? rates.long.factor : 1;
  const perMillion =
    counts.input * rates.input +
    counts.output * rates.output +
    counts.cacheRead * rates.cacheRead +
    (counts.cacheWrite - counts.cacheWriteHour) * rates.cacheWrite +
    counts.cacheWriteHour * rates.input * cacheWriteHourFactor;
  return (perMillion * factor) / 1_000_000;
}
