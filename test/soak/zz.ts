import { startStoppedReaderBench, stoppedReaderDoors } from './stopped-reader.ts';
await using bench = await startStoppedReaderBench();
for (const door of stoppedReaderDoors) {
  for (const load of [{ blocks: 20_000, bytesPerBlock: 1_000 }, { tokens: 500_000 }])
    console.log(door, JSON.stringify(load), JSON.stringify(await bench.measure(door, load)));
}
