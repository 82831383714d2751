/**
 * Seeded random numbers: the same seed and sequence give the same numbers on every machine. The n-th request uses
 * sequence n, so its reply doesn't depend on the order in which concurrent replies are sent.
 */

/** Returns the next number, an integer from 0 to 2^32 - 1. */
export type Random = () => number;

/** Creates a mulberry32 generator for one of many independent sequences of a seed. */
export function createRandom(seed: number, sequence: number): Random {
  let state = Math.imul(seed, 0x9e3779b1) ^ Math.imul(sequence + 1, 0x85ebca6b);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

const base58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

/** An id in the form of the API's, such as `msg_01` and 22 letters and digits. */
export function randomId(prefix: string, random: Random): string {
  let id = `${prefix}_01`;
  for (let length = 0; length < 22; length++) id += base58[random() % base58.length]!;
  return id;
}
