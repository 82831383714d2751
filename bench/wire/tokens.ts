/**
 * The answer of every stream: tokens of 3 to 6 characters, the same in every run. 5 % of them contain characters that
 * JSON must escape or that are beyond ASCII. Upstream sends them and the load client counts them, so that no stream can
 * end short unnoticed.
 */

/** The tokens repeat after this many, so an answer of any length needs no more memory. */
const period = 1_000;
const specials = [
  '"so"',
  '\n\n- ',
  'a\\b ',
  'caf\u00e9',
  '\u65e5\u672c\u8a9e',
  ' \u{1f600} \u00e9',
  '\ttab',
  '\u201chm\u201d',
];
const specialEvery = 20;

/** Token `index` is `tokens[index % tokens.length]`. */
export const tokens: readonly string[] = makeTokens();

/** How many UTF-16 code units precede each token, within one period. */
const lengthsBefore = [0];
for (const token of tokens) lengthsBefore.push(lengthsBefore.at(-1)! + token.length);

/** UTF-16 code units of the first `count` tokens. */
export function charactersOf(count: number): number {
  return Math.floor(count / period) * lengthsBefore[period]! + lengthsBefore[count % period]!;
}

function makeTokens(): string[] {
  let state = 1;
  // Lehmer's generator: small, and with the same results everywhere.
  const random = (below: number) => (state = (state * 48_271) % 0x7fffffff) % below;
  return Array.from({ length: period }, (_, index) => {
    if (index % specialEvery === specialEvery - 1) return specials[random(specials.length)]!;
    const letters = Array.from({ length: 2 + random(4) }, () => String.fromCharCode(97 + random(26)));
    return ` ${letters.join('')}`;
  });
}
