/**
 * What the log on Redis promises holds in random histories, in which Redis and the instances are killed, cut off and paused. A
 * history that fails is named by its seed: `HISTORY_SEED=7 npx vitest run test/redis-histories.test.ts` runs that alone.
 * Histories run in real time, since Redis's expiries do, so a seed gives the same steps and not the same moments.
 */
import { expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { persistences, runHistory } from './support/redis-histories.ts';
import { requires } from './support/skip.ts';

finishesCleanly();

const runs = Number(process.env['HISTORY_RUNS'] ?? 4);
const seeds =
  process.env['HISTORY_SEED'] === undefined
    ? Array.from({ length: runs }, () => crypto.getRandomValues(new Uint32Array(1))[0]! % 1_000_000)
    : [Number(process.env['HISTORY_SEED'])];

requires('redis-server')('where a kill of Redis', () => {
  it.each(persistences)(
    'leaves %s, every viewer sees each event once and all see one end',
    { timeout: 600_000 },
    async (persistence) => {
      for (const seed of seeds) {
        const { violations } = await runHistory(seed, persistence);
        expect(violations).toEqual([]);
      }
    },
  );
});
