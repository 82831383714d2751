import { cancelLatency, percentile } from './cancel-latency.ts';
import { startAndAbort, startAndAbortDoors } from './start-and-abort.ts';
import { cutStorm } from './cut-storm.ts';
import { lastingDoors } from '../support/every-door.ts';
import { startTestService } from '../support/service.ts';
{
await using s = await startTestService();
for (const door of lastingDoors) { const t = performance.now(); console.log(door.name, await cutStorm({ url: s.url, upstream: s.upstream, door, generations: 20, cutsPerGeneration: 4, concurrency: 8 }), performance.now() - t); }
}
const { doors } = await import('../support/doors.ts');
for (const d of doors) { const l = await cancelLatency(d, 30); console.log(d.name, Object.fromEntries(Object.entries(l).map(([k, v]) => [k, [percentile(v as number[], 50), percentile(v as number[], 99)]]))); }
for (const d of startAndAbortDoors) { const t = performance.now(); console.log(d, await startAndAbort(d, 1000), performance.now() - t); }
