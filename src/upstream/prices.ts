/**
 * What tokens cost. Knows nothing of requests. A model whose price isn't known has none, which is not the same as 0.
 * Fees that aren't per token, such as those for web searches, are not in it.
 */
import type { TokenCounts } from './usage.ts';

/** US dollars per million tokens. `cacheWrite` is for five minutes. */
export interface Price {
  readonly input: number;
  readonly output: number;
  readonly cacheWrite: number;
  readonly cacheRead: number;
}

interface ListPrice extends Price {
  /** Prompts longer than `promptTokens` cost `factor` times as much, all of it. */
  readonly long?: { readonly promptTokens: number; readonly factor: number };
}

/** As of 2026-11-23, from Anthropic's price list. Exact ids only: a near miss can be a model with another price. */
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

/** What is kept in the cache for an hour costs twice the price of input, whatever the model. */
const cacheWriteHourFactor = 2;

export interface PricedModel {
  readonly model: string;
  /** Outranks the list. */
  readonly price?: Price | undefined;
}

/** US dollars for what an attempt used; null if the price of any of it is unknown. */
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
