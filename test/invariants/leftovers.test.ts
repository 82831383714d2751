import { expect, it } from 'vitest';
import { startAndAbort, startAndAbortDoors } from '../soak/start-and-abort.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';

finishesCleanly();

it.each(startAndAbortDoors)(
  'over %s, generations that are started and left leave no memory, no socket and no timer',
  async (door) => {
    const { bytesMore, before, after } = await startAndAbort(door, 200);
    expect(bytesMore).toBeLessThan(2 * 1024 * 1024);
    expect(after).toMatchObject({
      logsBytes: 0,
      running: 0,
      viewers: 0,
      sockets: before.sockets,
      timers: before.timers,
    });
  },
);
