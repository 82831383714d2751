/**
 * `npm run bench`: runs the workloads over our service and the servers that it is compared with, prints a table for
 * each, and writes results.json and chart.svg. docs/performance.md describes how it measures.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, platform, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chartOf } from './chart.ts';
import type { ClientCommands } from './load/client.ts';
import type { UpstreamCommands } from './load/upstream.ts';
import { cores, launch, script } from './processes.ts';
import { redisWorkloads } from './redis/workloads.ts';
import { tableOf, type Report } from './report.ts';
import { runWorkload, type WorkloadResult } from './rounds.ts';
import { telemetryWorkloads } from './telemetry.ts';
import { earlierBuild, targets, yardstick, type Target } from './targets.ts';
import { workloads, type Workload } from './workloads.ts';

const usage = `npm run bench -- [options]
  --all                 every workload, with every target; by default what fits 20 minutes
  --quick               a tenth of the work, one round, few targets: shows that it runs, its figures mean little
  --redis               the log on Redis instead: ${redisWorkloads.map(({ name }) => name).join(', ')}
                        needs redis-server; --only and --targets choose among these
  --telemetry           the service with metrics and traces, beside the service without
  --peers               also the Vercel AI SDK and the Portkey gateway, installed for it from the registry
  --only <workloads>    ${workloads.map(({ name }) => name).join(', ')}
  --targets <targets>   ${targets.map(({ name }) => name).join(', ')}
  --rounds <n>          in place of each workload's own number
  --scale <x>           multiplies how much each workload does
  --service <path>      the service's command line, dist/cli.js unless given
  --before <path>       the command line of an earlier build, measured beside this one in each round
  --out <folder>        where results.json and chart.svg go, bench/dist unless given
`;

const quickTargets = new Set(['direct', yardstick, 'sse', 'ws']);
/** `--quick` skips this workload, because paced-200 shows the same. */
const quickSkips = 'paced-512';
const options = parseOptions();
if (platform() !== 'linux') fail('the benchmark reads CPU times from /proc: it needs Linux');

const chosen = workloadsOf(options).filter(({ name, extra }) => {
  if (options.only) return options.only.includes(name);
  return options.all || !(extra || (options.quick && name === quickSkips));
});
await using upstream = await launch<UpstreamCommands>({
  script: script('./load/upstream.js'),
  core: cores?.upstream,
  ready: /listens on (http:\S+)/,
});
await using client = await launch<ClientCommands>({ script: script('./load/client.js'), core: cores?.client });

const results: WorkloadResult[] = [];
for (const workload of chosen) {
  const result = await runWorkload(workload, {
    bench: { upstream, client },
    targets: workload.own ? targetsOf(workload) : targetsOf(workload).flatMap(withEarlierBuild),
    rounds: options.rounds ?? workload.rounds,
    scale: options.scale,
    start: { upstreamUrl: upstream.url, serviceCli: options.service },
    progress: (text) => process.stderr.write(`${text}\n`),
  });
  results.push(result);
  process.stdout.write(`${tableOf(workload, result)}\n`);
  // Written after each workload, so that an aborted run keeps what it has measured.
  write(results);
}
if (results.some(({ results: each }) => each.some(({ failure }) => failure !== undefined))) process.exitCode = 1;

function targetsOf(workload: Workload) {
  if (workload.own) return workload.own.filter(({ name }) => options.targets?.includes(name) ?? true);
  const all = workload.all ?? workload.targets;
  return targets.filter(({ name, peer }) => {
    if (options.targets)
      return name === yardstick || ([...all, ...workload.targets].includes(name) && options.targets.includes(name));
    if (options.quick) return workload.targets.includes(name) && quickTargets.has(name);
    return (options.all ? all : workload.targets).includes(name) && (!peer || options.peers);
  });
}

function withEarlierBuild(target: Target): readonly Target[] {
  return target.ours && options.before !== undefined ? [target, earlierBuild(target, options.before)] : [target];
}

function write(measured: readonly WorkloadResult[]): void {
  const report: Report = {
    date: new Date().toISOString(),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      kernel: release(),
      node: process.versions.node,
      pinned: cores !== undefined,
    },
    scale: options.scale,
    workloads: measured,
  };
  mkdirSync(options.out, { recursive: true });
  writeFileSync(join(options.out, 'results.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  const chart = chartOf(report);
  if (chart !== '') writeFileSync(join(options.out, 'chart.svg'), chart);
}

function parseOptions() {
  try {
    const { values } = parseArgs({
      options: {
        all: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        redis: { type: 'boolean', default: false },
        telemetry: { type: 'boolean', default: false },
        peers: { type: 'boolean', default: false },
        only: { type: 'string' },
        targets: { type: 'string' },
        rounds: { type: 'string' },
        scale: { type: 'string' },
        service: { type: 'string', default: 'dist/cli.js' },
        before: { type: 'string' },
        out: { type: 'string', default: 'bench/dist' },
      },
    });
    const { quick, rounds, scale } = values;
    return {
      ...values,
      only: listOf(values.only, workloadsOf(values)),
      targets: listOf(values.targets, targetsIn(workloadsOf(values))),
      rounds: rounds === undefined ? (quick ? 1 : undefined) : positive('rounds', rounds),
      scale: scale === undefined ? (quick ? 0.1 : 1) : positive('scale', scale),
    };
  } catch (error) {
    return fail(`${(error as Error).message}\n\n${usage}`);
  }
}

/** With `--redis` and `--telemetry` there are others. */
function workloadsOf({ redis, telemetry }: { readonly redis: boolean; readonly telemetry: boolean }) {
  if (redis) return redisWorkloads;
  return telemetry ? telemetryWorkloads : workloads;
}

function targetsIn(of: readonly Workload[]): readonly Target[] {
  const own = of.flatMap((workload) => workload.own ?? []);
  return own.length > 0 ? own : targets;
}

function listOf(text: string | undefined, known: readonly { readonly name: string }[]): readonly string[] | undefined {
  const names = text?.split(',');
  const unknown = names?.find((name) => !known.some((each) => each.name === name));
  if (unknown !== undefined) throw new Error(`there is no "${unknown}"`);
  return names;
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name}: expected a number above 0, found "${text}"`);
  return value;
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
