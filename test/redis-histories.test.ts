/**
 * What the log on Redis promises holds in random histories, in which Redis and the instances are killed, cut off and paused. A
 * history that fails is named by its seed: `HISTORY_SEED=7 npx vitest run test/redis-histories.test.ts` runs that alone.
 * `HISTORY_RUNS=3334 HISTORIES_AT_ONCE=8` runs so many for each of the three kinds of loss. Histories run in real time, since
 * Redis's expiries do, so a seed gives the same steps and not the same moments.
 */
import { expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { persistences, runHistory } from './support/redis-histories.ts';
import { seedsOf } from './support/seeded.ts';
import { requires } from './support/skip.ts';

finishesCleanly();

const runs = Number(process.env['HISTORY_RUNS'] ?? 4);
const atOnce = Number(process.env['HISTORIES_AT_ONCE'] ?? 1);
const seeds = seedsOf(runs, process.env['HISTORY_SEED']);

requires('redis-server')('where a kill of Redis', () => {
  it.each(persistences)(
    'leaves %s, every viewer sees each event once and all see one end',
    { timeout: 600_000 + (runs * 60_000) / atOnce },
    async (persistence) => {
      const left = [...seeds];
      const totals: Record<string, number> = {};
      const worker = async () => {
        for (let seed = left.pop(); seed !== undefined; seed = left.pop()) {
          const { violations, counts } = await runHistory(seed, persistence);
          expect(violations).toEqual([]);
          for (const [what, times] of Object.entries(counts)) totals[what] = (totals[what] ?? 0) + times;
        }
      };
      await Promise.all(Array.from({ length: atOnce }, worker));
      if (runs > 100) console.log(`${runs} histories, ${persistence} left: ${JSON.stringify(totals)}`);
    },
  );
});
