import { afterAll, beforeAll, expect, it } from 'vitest';
import { startStoppedReaderBench, stoppedReaderDoors, type StoppedReaderBench } from '../soak/stopped-reader.ts';
import { defaultLimits } from '../support/limits.ts';

let bench: StoppedReaderBench;
beforeAll(async () => void (bench = await startStoppedReaderBench()));
afterAll(() => bench[Symbol.asyncDispose]());

const MiB = 1024 * 1024;
const loads = [
  ['blocks that can’t merge', { blocks: 7_000, bytesPerBlock: 1_000 }],
  ['tokens', { tokens: 250_000 }],
] as const;

it.each(stoppedReaderDoors.flatMap((door) => loads.map(([what, load]) => [door, what, load] as const)))(
  'over %s, a viewer that stops reading %s costs no memory beyond the log, and gets all when it reads on',
  async (door, _what, load) => {
    const result = await bench.measure(door, load);
    expect(result.bytesBeyondLog).toBeLessThan(MiB);
    expect(result.complete).toBe(true);
    if (door === 'in-process') return;
    // The door waits: the socket holds at least something, and at most the limit and one batch. Everything else is in
    // the log.
    const { socketBufferBytesMax, viewerBatchBytesMax } = defaultLimits;
    expect(result.unsentBytes).toBeGreaterThan(0);
    expect(result.unsentBytes).toBeLessThan(socketBufferBytesMax + 1.5 * viewerBatchBytesMax);
  },
);
