/**
 * `npm run soak [NAME…]`: checks the invariants with numbers too large for every test run. Prints a line for each
 * figure, with its bound, and exits with 1 if one exceeds its bound. Takes about twenty minutes on two cores, and `redis` some
 * hours more, in which the machine mostly waits.
 */
import { spawnSync } from 'node:child_process';
import { startSimulator } from '../../src/simulator.ts';
import { doors } from '../support/doors.ts';
import { lastingDoors } from '../support/every-door.ts';
import { startServiceProcess } from '../support/service-process.ts';
import { attackSoak, fuzzSoak, planFrom } from './attack.ts';
import { cancelLatency, percentile } from './cancel-latency.ts';
import { cutStorm } from './cut-storm.ts';
import { startAndAbort, startAndAbortDoors } from './start-and-abort.ts';
import { startStoppedReaderBench, stoppedReaderDoors } from './stopped-reader.ts';

const MiB = 1024 * 1024;
let failures = 0;

const soaks: Readonly<Record<string, () => Promise<void>>> = {
  async cuts() {
    await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
    await using service = await startServiceProcess({ upstreamUrl: upstream.url });
    const stock = lastingDoors.filter(({ name }) => !name.includes('own client'));
    const generations = Math.ceil(10_000 / 4 / stock.length);
    let cuts = 0;
    for (const door of stock) {
      const storm = { url: service.url, upstream, door, generations, cutsPerGeneration: 4, concurrency: 16 };
      const result = await cutStorm(storm);
      cuts += result.cuts;
      report(
        `cuts, ${door.name}: upstream requests of ${generations} generations`,
        result.upstreamRequests,
        generations,
      );
      report(`cuts, ${door.name}: answers whole, with one terminal event`, result.whole, generations, 'at least');
    }
    report('cuts in mid-bytes of live generations', cuts, 10_000, 'at least');
  },

  async readers() {
    await using bench = await startStoppedReaderBench();
    for (const door of stoppedReaderDoors) {
      for (const load of [{ blocks: 20_000, bytesPerBlock: 1_000 }, { tokens: 500_000 }]) {
        const { bytesBeyondLog, logBytes, unsentBytes, complete } = await bench.measure(door, load);
        const what = `stopped reader, ${door}, ${'tokens' in load ? '500,000 tokens' : '20 MB of blocks'}`;
        report(`${what}: bytes beyond the ${logBytes} of the log`, bytesBeyondLog, MiB);
        report(`${what}: bytes that wait in sockets`, unsentBytes, MiB / 4);
        report(`${what}: complete in the end`, Number(complete), 1, 'at least');
      }
    }
  },

  async latency() {
    for (const door of doors) {
      const { bareAbort, cancel, leave } = await cancelLatency(door, 500);
      const p99 = percentile(bareAbort, 99);
      report(
        `cancel, ${door.name}: p99 in ms, beside ${p99.toFixed(1)} of a bare abort`,
        percentile(cancel, 99),
        p99 + 10,
      );
      report(`last viewer left, ${door.name}: p99 in ms after the grace`, percentile(leave, 99), 50);
    }
  },

  attack: () => attackSoak(planFrom(process.env), report),

  fuzz: () => fuzzSoak(planFrom(process.env), report),

  async redis() {
    const rows = vitest({ FAULT_RUNS: '200' }, 'test/redis-faults.test.ts', 'test/redis-cluster.test.ts');
    report('200 times each fault of Redis and of instances: exit code', rows, 0);
    const kills = vitest({ KILLS: '100', KILL_TIMING: 'real' }, 'test/redis-kills.test.ts');
    report('100 kills of a process under 50 generations: exit code', kills, 0);
    const histories = vitest({ HISTORY_RUNS: '3334', HISTORIES_AT_ONCE: '8' }, 'test/redis-histories.test.ts');
    report('10,000 random histories on Redis: exit code', histories, 0);
  },

  async leftovers() {
    for (const door of startAndAbortDoors) {
      const { bytesMore, before, after } = await startAndAbort(door, 20_000);
      report(`20,000 starts and aborts, ${door}: bytes more`, bytesMore, 2 * MiB);
      report(`20,000 starts and aborts, ${door}: bytes in logs`, after.logsBytes, 0);
      report(`20,000 starts and aborts, ${door}: sockets more`, after.sockets - before.sockets, 0);
      report(`20,000 starts and aborts, ${door}: timers more`, after.timers - before.timers, 0);
    }
  },

  async model() {
    report('5,000 random histories: exit code', vitest({ MODEL_RUNS: '5000' }, 'test/invariants/model.test.ts'), 0);
  },

  async suite() {
    const files = ['test/invariants', 'test/cancel.test.ts', 'test/resume.test.ts', 'test/doors.test.ts'];
    let failed = 0;
    for (let run = 1; run <= 50; run += 1) failed += vitest({}, ...files) === 0 ? 0 : 1;
    report('failures in 50 runs of the concurrency tests', failed, 0);
  },
};

const asked = process.argv.slice(2);
for (const [name, soak] of Object.entries(soaks)) if (asked.length === 0 || asked.includes(name)) await soak();
process.exitCode = failures === 0 ? 0 : 1;

function report(what: string, figure: number, bound: number, sense: 'at most' | 'at least' = 'at most'): void {
  const kept = sense === 'at most' ? figure <= bound : figure >= bound;
  if (!kept) failures += 1;
  const shown = Number.isInteger(figure) ? figure : figure.toFixed(1);
  console.log(`${kept ? 'ok  ' : 'FAIL'} ${what}: ${shown} (${sense} ${Number(bound.toFixed(1))})`);
}

function vitest(env: Readonly<Record<string, string>>, ...files: string[]): number {
  const args = ['vitest', 'run', '--reporter=dot', ...files];
  const { status } = spawnSync('npx', args, { stdio: 'inherit', env: { ...process.env, ...env } });
  return status ?? 1;
}
