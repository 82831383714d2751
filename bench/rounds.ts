/**
 * Runs a workload. Each round runs every target once, so that other activity on the machine affects all of them alike;
 * ratios are taken only within a round. A target that fails is reported and skipped from then on; the others continue.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { yardstick, type Server, type StartContext, type Target } from './targets.ts';
import { foreignBusyPercent, loadCoreBusyPercent, type Bench, type Figures, type Workload } from './workloads.ts';

export interface TargetResult {
  readonly target: string;
  readonly title: string;
  readonly ours: boolean;
  /** One entry per round. */
  readonly rounds: readonly Figures[];
  readonly medians: Figures;
  /** The ratio to the yardstick, for figures that have one: the median of the ratios in each round. */
  readonly ratios: Figures;
  /** Whether upstream and the readers, and not the target, set the speed in most rounds. */
  readonly loadWasBottleneck: boolean;
  /** Whether something outside the benchmark used the machine in most rounds. */
  readonly disturbed: boolean;
  readonly failure?: string;
}

export interface WorkloadResult {
  readonly workload: string;
  readonly title: string;
  readonly roundsWanted: number;
  readonly results: readonly TargetResult[];
}

export interface RoundsOptions {
  readonly bench: Bench;
  readonly targets: readonly Target[];
  readonly rounds: number;
  readonly start: StartContext;
  /** Multiplies how much each workload does; 1 is the full size. */
  readonly scale: number;
  readonly progress: (text: string) => void;
}

interface Entry {
  readonly target: Target;
  readonly rounds: Figures[];
  server?: Server | undefined;
  failure?: string;
}

/** The pause between two runs, in which sockets close. */
const pauseMs = 150;

export async function runWorkload(workload: Workload, options: RoundsOptions): Promise<WorkloadResult> {
  const { targets, progress, rounds } = options;
  const entries = targets.map((target): Entry => ({
    target: (target.name === yardstick && workload.yardstick) || target,
    rounds: [],
  }));
  try {
    for (let round = 0; round < rounds; round += 1) {
      progress(`${workload.name}: round ${round + 1} of ${rounds}`);
      for (const entry of entries) {
        if (entry.failure === undefined) await runRound(workload, entry, options);
      }
    }
  } finally {
    for (const { server } of entries) await end(server);
  }
  return {
    workload: workload.name,
    title: workload.title,
    roundsWanted: rounds,
    results: entries.map((entry) => resultOf(workload, entry, entries)),
  };
}

async function runRound(workload: Workload, entry: Entry, options: RoundsOptions): Promise<void> {
  const { bench, scale, start, progress } = options;
  const { target } = entry;
  try {
    if (entry.server) {
      send('SIGCONT', entry.server);
      // The server does the work that it put off while it was stopped, such as a garbage collection. That must not
      // count.
      await workload.run(bench, target, entry.server, scale / 4);
    } else if (target.start) {
      entry.server = await target.start({ ...start, env: { ...start.env, ...(target.ours ? workload.env : {}) } });
      await workload.warmUp(bench, target, entry.server, scale);
    }
    entry.rounds.push(await workload.run(bench, target, entry.server, scale));
  } catch (error) {
    entry.failure = (error as Error).message;
    progress(`${workload.name}, ${target.name} failed: ${entry.failure}`);
  }
  if (workload.fresh || entry.failure !== undefined) {
    await end(entry.server);
    entry.server = undefined;
  }
  await delay(pauseMs);
  // Stops the server, so that its garbage collection doesn't run on the one core while another target is measured. It
  // made every second run slower.
  send('SIGSTOP', entry.server);
}

async function end(server: Server | undefined): Promise<void> {
  send('SIGCONT', server);
  await server?.[Symbol.asyncDispose]();
}

function send(signal: 'SIGSTOP' | 'SIGCONT', server: Server | undefined): void {
  try {
    if (server) process.kill(server.pid, signal);
  } catch {
    // The server has ended. The next call to it fails and says so.
  }
}

function resultOf({ figures }: Workload, { target, rounds, failure }: Entry, entries: readonly Entry[]): TargetResult {
  const base = entries.find((entry) => entry.target.name === yardstick);
  const keys = Object.keys(rounds[0] ?? {});
  const related = figures.filter(
    ({ key, ratio }) => ratio && keys.includes(key) && base?.rounds[0]?.[key] !== undefined,
  );
  const ratiosOf = (key: string) =>
    rounds.flatMap((round, index) => {
      const other = base!.rounds[index]?.[key];
      return other === undefined ? [] : [round[key]! / other];
    });
  const medians = Object.fromEntries(keys.map((key) => [key, median(rounds.map((round) => round[key]!))]));
  return {
    target: target.name,
    title: target.title,
    ours: target.ours ?? false,
    rounds,
    medians,
    ratios: Object.fromEntries(related.map(({ key }) => [key, median(ratiosOf(key))])),
    loadWasBottleneck: (medians['loadCorePercent'] ?? 0) > loadCoreBusyPercent,
    disturbed: (medians['foreignPercent'] ?? 0) > foreignBusyPercent,
    ...(failure === undefined ? {} : { failure }),
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
