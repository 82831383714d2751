/** What tokens cost where a config has no `price`. Imports nothing, so that configs can be warned of a model without one. */

/** US dollars per million tokens. `cacheWrite` is the price of keeping tokens in the cache for five minutes. */
export interface Price {
  readonly input: number;
  readonly output: number;
  readonly cacheWrite: number;
  readonly cacheRead: number;
}

export interface ListPrice extends Price {
  /** Where the prompt is longer than `promptTokens`, all tokens of the message cost `factor` times as much. */
  readonly long?: { readonly promptTokens: number; readonly factor: number };
}

/**
 * From Anthropic's price list of 2026-11-23. Only exact ids match, since a similar id can be a model with another
 * price.
 */
export const listPrices: ReadonlyMap<string, ListPrice> = new Map<string, ListPrice>([
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
