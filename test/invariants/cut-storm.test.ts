import { expect, it } from 'vitest';
import { cutStorm } from '../soak/cut-storm.ts';
import { lastingDoors } from '../support/every-door.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { serviceForEachTest } from '../support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

it.each(lastingDoors)(
  'over $name, cuts in mid-bytes of what is live: one request each, every text whole, one terminal event',
  async (door) => {
    const { url, upstream } = test.current;
    const generations = 10;
    const result = await cutStorm({ url, upstream, door, generations, cutsPerGeneration: 3, concurrency: 5 });
    expect(result).toMatchObject({ upstreamRequests: generations, whole: generations });
    expect(result.cuts).toBeGreaterThanOrEqual(3 * generations);
  },
);
