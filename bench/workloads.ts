/**
 * The workloads: what the readers do, what upstream sends, and the figures that result. One run is one round of one
 * target; rounds.ts computes medians and ratios.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ClientCommands, CpuTimes, ReadResult } from './load/client.ts';
import type { SentStream, UpstreamCommands } from './load/upstream.ts';
import { cores, type Running } from './processes.ts';
import { benchConfigs, rawFanOut, yardstick, type Server, type Target } from './targets.ts';

export interface Bench {
  readonly upstream: Running<UpstreamCommands>;
  readonly client: Running<ClientCommands>;
}

export interface Figure {
  readonly key: string;
  readonly label: string;
  readonly digits: number;
  /** Also shown as a ratio to the yardstick in the same round. */
  readonly ratio?: true;
}

export type Figures = Readonly<Record<string, number>>;

/** Runs one round of one target. `scale` multiplies how much is done. */
export type Run = (bench: Bench, target: Target, server: Server | undefined, scale: number) => Promise<Figures>;

export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly figures: readonly Figure[];
  /** Names of the targets in the default run. */
  readonly targets: readonly string[];
  /** Names of the targets with `--all`. */
  readonly all?: readonly string[];
  readonly rounds: number;
  /** Runs only with `--all`, or if it is asked for by name. */
  readonly extra?: true;
  /** Starts each target anew for each round, so that the memory is that of this workload alone. */
  readonly fresh?: true;
  /** Environment of our service, if the workload needs other settings than the defaults. */
  readonly env?: Readonly<Record<string, string>>;
  /** Takes the place of the yardstick among the targets. */
  readonly yardstick?: Target;
  /** Targets of its own, in place of all others. */
  readonly own?: readonly Target[];
  /** What its ratios are to; the raw proxy unless given. */
  readonly relativeTo?: string;
  /** Runs before the first round, until V8 has compiled the server's code. */
  readonly warmUp: Run;
  readonly run: Run;
}

export const cpu: Figure = { key: 'cpuUsPerToken', label: 'CPU µs/token', digits: 1, ratio: true };
const cpuPerRequest: Figure = { key: 'cpuUsPerRequest', label: 'CPU µs/request', digits: 0, ratio: true };
const framesPerToken: Figure = { key: 'framesPerToken', label: 'frames/token', digits: 2 };
const delays: readonly Figure[] = [
  { key: 'delayP50Ms', label: 'delay p50 ms', digits: 1 },
  { key: 'delayP99Ms', label: 'p99 ms', digits: 1 },
];
const memoryPerStream: readonly Figure[] = [
  { key: 'rssKiB', label: 'RSS KiB/stream', digits: 0 },
  { key: 'heldKiB', label: 'heap and buffers KiB/stream', digits: 0 },
];
export const loadCore: Figure = { key: 'loadCorePercent', label: 'load’s core %', digits: 0 };
/** Above this, upstream and the readers hold the target back, so its figures are those of a lighter load. */
export const loadCoreBusyPercent = 90;
/** Above this, another process disturbed the measurement. */
export const foreignBusyPercent = 15;

const main = [yardstick, 'sse', 'ws', 'rest'];
const naive = ['naive-ws', 'naive-sse'];
const peers = ['ai-sdk', 'portkey'];
const everyone = [...main, 'relay', ...naive, ...peers];

/** A short saturated run. */
const warmUp: Run = (bench, target, server, scale) =>
  stream(bench, target, server, { streams: 50, tokens: round(400 * scale) });

export const workloads: readonly Workload[] = [
  {
    name: 'saturated',
    title: '50 streams × 2,000 tokens, as fast as they are taken',
    figures: [cpu, framesPerToken, ...delays, { key: 'tokensPerSecond', label: 'tokens/s', digits: 0 }, loadCore],
    targets: ['direct', ...everyone],
    rounds: 5,
    warmUp: twice(saturate),
    run: saturate,
  },
  { ...paced(50, 125, ['direct', yardstick, 'sse', 'ws']), extra: true },
  // Two hundred answers begin and end at once. The run is long enough that these moments fall outside p99.
  paced(200, 300, ['direct', ...everyone]),
  paced(512, 125, ['direct', yardstick, 'sse', 'ws']),
  {
    name: 'one-token',
    title: 'one token, 200 times in sequence on one connection',
    figures: [
      cpuPerRequest,
      { key: 'firstTokenP50Ms', label: 'first token p50 ms', digits: 2 },
      { key: 'firstTokenP99Ms', label: 'p99 ms', digits: 2 },
    ],
    targets: ['direct', ...everyone],
    // Many rounds, because 200 requests are few: one garbage collection doubles their cost.
    rounds: 15,
    // Enough requests for V8 to compile the code that they run. Otherwise the compiler would be measured.
    warmUp: (bench, target, server, scale) => sequence(bench, target, server, 20 * scale),
    run: sequence,
  },
  {
    name: 'first-requests',
    title: 'the first 100 requests of a process, one token each, in sequence on one connection',
    figures: [
      cpuPerRequest,
      { key: 'veryFirstMs', label: 'first token of the very first ms', digits: 0 },
      { key: 'firstTokenP50Ms', label: 'p50 ms', digits: 2 },
    ],
    targets: [...main, 'relay'],
    all: everyone,
    rounds: 5,
    fresh: true,
    // No requests. This waits only until the process has finished its start.
    warmUp: async () => {
      await delay(500);
      return {};
    },
    run: (bench, target, server, scale) => sequence(bench, target, server, scale / 2),
  },
  {
    name: 'memory-200',
    title: '200 streams at 50 tokens/s, after 250 tokens of each',
    figures: memoryPerStream,
    targets: main,
    all: everyone,
    rounds: 3,
    fresh: true,
    warmUp,
    run: (bench, target, server, scale) =>
      memory(bench, target, server!, { streams: 200, tokens: round(250 * scale), tokensPerSecond: 50 }),
  },
  {
    name: 'idle-1000',
    title: '1,000 streams that say nothing after their first token',
    figures: memoryPerStream,
    targets: main,
    all: everyone,
    rounds: 3,
    fresh: true,
    warmUp,
    run: (bench, target, server, scale) => memory(bench, target, server!, { streams: round(1_000 * scale), tokens: 1 }),
  },
  {
    name: 'stopped-reader',
    title: 'a reader that stops while upstream sends 500,000 tokens',
    figures: [
      { key: 'heldMiB', label: 'held beyond a reader that goes on, MiB', digits: 1 },
      { key: 'rssMiB', label: 'RSS beyond it, MiB', digits: 1 },
      { key: 'takenPercent', label: 'taken from upstream %', digits: 0 },
    ],
    targets: main,
    all: everyone,
    rounds: 3,
    fresh: true,
    // The whole answer must fit into the log.
    env: { LLM_LOG_BYTES_MAX: String(64 * 2 ** 20) },
    warmUp,
    run: (bench, target, server, scale) => stoppedReader(bench, target, server!, round(500_000 * scale)),
  },
  {
    name: 'leaving',
    title: '20 viewers that leave after 25 of 500 tokens, at 50 tokens/s',
    figures: [{ key: 'burnt', label: 'tokens burnt upstream, each', digits: 0 }],
    targets: main,
    all: everyone,
    rounds: 3,
    // By default the service continues for 15 s, for viewers that come back.
    env: { LLM_CONFIGS: benchConfigs({ on_disconnect: { cancel_after_ms: 1 } }) },
    warmUp,
    run: leaving,
  },
  {
    name: 'fan-out',
    title: 'one generation at 100 tokens/s to 100 viewers, beside 100 raw socket writes',
    figures: [
      { key: 'cpuUsPerToken', label: 'CPU µs/token and viewer', digits: 2, ratio: true },
      framesPerToken,
      ...delays,
    ],
    targets: main,
    rounds: 5,
    yardstick: rawFanOut,
    warmUp: twice(fanOut),
    run: fanOut,
  },
];

function saturate(bench: Bench, target: Target, server: Server | undefined, scale: number): Promise<Figures> {
  return stream(bench, target, server, { streams: 50, tokens: round(2_000 * scale) });
}

function twice(run: Run): Run {
  return async (...of) => {
    await run(...of);
    return run(...of);
  };
}

/**
 * From the moment when all streams are open to the first token, as a model thinks. In this time the server finishes the
 * work of opening them.
 */
const settleMs = 500;

function paced(streams: number, tokens: number, targets: readonly string[]): Workload {
  const runOf =
    (count: number): Run =>
    (bench, target, server, scale) =>
      stream(bench, target, server, { streams, tokens: round(count * scale), tokensPerSecond: 50, delayMs: settleMs });
  return {
    name: `paced-${streams}`,
    title: `${streams} streams × ${tokens} tokens, at 50 tokens/s`,
    figures: [cpu, framesPerToken, ...delays, { key: 'pacePercent', label: 'of the pace %', digits: 0 }, loadCore],
    targets,
    all: everyone,
    rounds: 5,
    async warmUp(...of) {
      await warmUp(...of);
      return twice(runOf(125))(...of);
    },
    run: runOf(tokens),
  };
}

// --------------------------------------------------------------------------------------------------------- streams

interface Streaming {
  readonly streams: number;
  readonly tokens: number;
  readonly tokensPerSecond?: number;
  readonly delayMs?: number;
  readonly together?: boolean;
}

/** Reads streams from beginning to end. */
export async function stream(
  { upstream, client }: Bench,
  { door }: Target,
  server: Server | undefined,
  { together = false, streams, ...answer }: Streaming,
): Promise<Figures> {
  await upstream.remote.setUp({ gather: together ? 1 : streams, ...answer });
  const url = server?.url ?? upstream.url;
  const readers = { url, door, streams, tokens: answer.tokens, together };
  const result = await client.remote.read({ ...readers, pids: pidsOf(upstream, server) });
  const sent = await upstream.remote.sent({ times: true });
  const count = streams * answer.tokens;
  return {
    ...(server ? { cpuUsPerToken: (result.cpuMs['server']! * 1_000) / count } : {}),
    framesPerToken: result.frames / count,
    ...delayFigures(result, sent),
    tokensPerSecond: count / (result.elapsedMs / 1_000),
    ...(answer.tokensPerSecond === undefined ? {} : { pacePercent: pacePercent(result, answer.tokensPerSecond) }),
    ...machineFigures(result),
  };
}

function fanOut(bench: Bench, target: Target, server: Server | undefined, scale: number): Promise<Figures> {
  return stream(bench, target, server, {
    streams: 100,
    tokens: round(300 * scale),
    tokensPerSecond: 100,
    // All viewers must be there when the generation begins.
    delayMs: 1_000,
    together: true,
  });
}

/** From upstream's write of a token to the read that completed it, over all tokens of all streams. */
export function delayFigures({ streams }: ReadResult, sent: ReadonlyMap<number, SentStream>): Figures {
  const all = streams.flatMap(({ number, arrivedAtMs }) => {
    const { sentAtMs } = sent.get(number)!;
    return Array.from(arrivedAtMs, (atMs, index) => atMs - sentAtMs[index]!);
  });
  const sorted = Float64Array.from(all).toSorted();
  return { delayP50Ms: quantile(sorted, 0.5), delayP99Ms: quantile(sorted, 0.99) };
}

/** How fast the streams arrived, from their first token to their last, as a percentage of upstream's pace. */
export function pacePercent({ streams }: ReadResult, tokensPerSecond: number): number {
  const shares = streams.map(({ arrivedAtMs }) => {
    const idealMs = ((arrivedAtMs.length - 1) * 1_000) / tokensPerSecond;
    return Math.min(1, idealMs / (arrivedAtMs.at(-1)! - arrivedAtMs[0]!));
  });
  return (100 * shares.reduce((sum, share) => sum + share, 0)) / shares.length;
}

async function sequence({ upstream, client }: Bench, { door }: Target, server: Server | undefined, scale: number) {
  const streams = round(200 * scale);
  await upstream.remote.setUp({ tokens: 1 });
  const readers = { url: server?.url ?? upstream.url, door, streams, tokens: 1 };
  const result = await client.remote.sequence({ ...readers, pids: pidsOf(upstream, server) });
  const sorted = result.firstTokenMs.toSorted();
  return {
    veryFirstMs: result.firstTokenMs[0]!,
    ...(server ? { cpuUsPerRequest: (result.cpuMs['server']! * 1_000) / streams } : {}),
    firstTokenP50Ms: quantile(sorted, 0.5),
    firstTokenP99Ms: quantile(sorted, 0.99),
    ...machineFigures(result),
  };
}

function pidsOf(upstream: Bench['upstream'], server: Server | undefined): Record<string, number> {
  return { upstream: upstream.pid, ...(server ? { server: server.pid } : {}) };
}

/** How busy the busiest load core was, and how much of a core went to processes outside the benchmark. */
export function machineFigures({
  elapsedMs,
  cpuMs,
}: {
  readonly elapsedMs: number;
  readonly cpuMs: CpuTimes;
}): Figures {
  const { machine = 0, upstream = 0, client = 0 } = cpuMs;
  const ours = Object.entries(cpuMs).reduce((sum, [name, ms]) => (name === 'machine' ? sum : sum + ms), 0);
  const shared = cores === undefined || cores.upstream === cores.client;
  return {
    loadCorePercent: (100 * (shared ? upstream + client : Math.max(upstream, client))) / elapsedMs,
    foreignPercent: (100 * Math.max(0, machine - ours)) / elapsedMs,
  };
}

// ---------------------------------------------------------------------------------------------------------- memory

/** What open streams hold: the growth over what the server held after a few streams had ended. */
async function memory(
  bench: Bench,
  { door }: Target,
  server: Server,
  { streams, ...answer }: Streaming,
): Promise<Figures> {
  const { upstream, client } = bench;
  const readers = { url: server.url, door, tokens: answer.tokens };
  const before = await server.remote.memory(null);
  await upstream.remote.setUp({ ...answer, hold: true });
  await client.remote.hold({ ...readers, streams });
  const after = await server.remote.memory(null);
  await release(bench);
  return {
    rssKiB: (after.rss - before.rss) / 1_024 / streams,
    heldKiB: (after.held - before.held) / 1_024 / streams,
  };
}

/**
 * What the server holds for a reader that stops, minus what it holds for one that reads on. The log, if there is one,
 * is in both.
 */
async function stoppedReader(bench: Bench, { door }: Target, server: Server, tokens: number): Promise<Figures> {
  const { upstream, client } = bench;
  const readers = { url: server.url, door, streams: 1 };
  const growths = [];
  // Reads twice, because the first answer of that size makes the heap grow whatever the reader does.
  for (const reader of ['reads', 'reads', 'stops'] as const) {
    const before = await server.remote.memory(null);
    await upstream.remote.setUp({ tokens });
    if (reader === 'reads') await client.remote.read({ ...readers, tokens, pids: {} });
    else await client.remote.stall({ ...readers, tokens: 1 });
    await untilSteady(() => sentBy(upstream));
    const after = await server.remote.memory(null);
    growths.push({ rss: after.rss - before.rss, held: after.held - before.held });
  }
  const taken = await sentBy(upstream);
  await release(bench);
  const [, reads, stops] = growths;
  return {
    heldMiB: (stops!.held - reads!.held) / 2 ** 20,
    rssMiB: (stops!.rss - reads!.rss) / 2 ** 20,
    takenPercent: (100 * taken) / tokens,
  };
}

async function leaving({ upstream, client }: Bench, { door }: Target, server: Server | undefined, scale: number) {
  const streams = 20;
  const seen = 25;
  await upstream.remote.setUp({ tokens: Math.max(seen, round(500 * scale)), tokensPerSecond: 50 });
  await client.remote.leave({ url: server?.url ?? upstream.url, door, streams, tokens: seen });
  await untilSteady(() => sentBy(upstream));
  return { burnt: (await sentBy(upstream)) / streams - seen };
}

/** Closes what is open, and waits until upstream has noticed all of it. */
async function release({ upstream, client }: Bench): Promise<void> {
  await client.remote.release(null);
  await untilSteady(() => upstream.remote.open(null));
}

const steadyMs = 600;

/** Waits until a number no longer changes. */
export async function untilSteady(read: () => Promise<number>): Promise<void> {
  let last = NaN;
  for (let now = await read(); now !== last; now = await read()) {
    last = now;
    await delay(steadyMs);
  }
}

async function sentBy(upstream: Bench['upstream']): Promise<number> {
  const streams = await upstream.remote.sent({ times: false });
  return [...streams.values()].reduce((sum, { sent }) => sum + sent, 0);
}

/** Takes values in ascending order; by the nearest rank. */
function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

export function round(count: number): number {
  return Math.max(1, Math.round(count));
}
