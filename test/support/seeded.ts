/** Random numbers that a seed repeats. */

/** From 0 to below 1: the same ones for the same seed. */
export type Random = () => number;

/** Xorshift. */
export function randomOf(seed: number): Random {
  let state = Math.imul(seed, 2_654_435_761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

/** So many seeds: those that the variable names, or new ones. */
export function seedsOf(count: number, named: string | undefined): readonly number[] {
  if (named !== undefined) return [Number(named)];
  return Array.from({ length: count }, () => crypto.getRandomValues(new Uint32Array(1))[0]! % 1_000_000);
}

/** From `min` to `max`, both included. */
export function between(random: Random, min: number, max: number): number {
  return min + Math.floor(random() * (max - min + 1));
}
