/**
 * The cost of tokens. Knows nothing of requests. The cost of a model whose price isn't known is null, not 0. Fees that
 * aren't per token, such as those for web searches, are not part of a cost.
 */
import { listPrices, type ListPrice, type Price } from './list-prices.ts';
import type { AttemptUsage, TokenCounts } from './usage.ts';

/** For every model, keeping tokens in the cache for an hour costs twice the price of input. */
const cacheWriteHourFactor = 2;

export interface PricedModel {
  readonly model: string;
  /** Replaces the price of the list for this model. */
  readonly price?: Price | undefined;
}

/**
 * The cost of an attempt in US dollars; null where the price of any of its tokens is unknown. The list has no price for
 * tokens that upstream served faster, or in a region of choice.
 */
export function costUsd(
  { model, price }: PricedModel,
  { billed, specialPrice }: Pick<AttemptUsage, 'billed' | 'specialPrice'>,
): number | null {
  let total = 0;
  for (const counts of billed) {
    const own = counts.model === undefined || counts.model === model;
    const rates: ListPrice | undefined =
      (own ? price : undefined) ?? (specialPrice ? undefined : listPrices.get(counts.model ?? model));
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
