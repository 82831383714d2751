/** The workloads of `npm run bench -- --redis`. */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { cores } from '../processes.ts';
import type { Server, Target } from '../targets.ts';
import { cpuMsOf } from '../wire/clock.ts';
import {
  delayFigures,
  loadCore,
  machineFigures,
  pacePercent,
  round,
  untilSteady,
  type Bench,
  type Figure,
  type Figures,
  type Run,
  type Workload,
} from '../workloads.ts';
import { elsewhere, memory, owner, workers, xadd } from './targets.ts';

interface Live {
  readonly streams: number;
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

const figures: readonly Figure[] = [
  { key: 'cpuUsPerToken', label: 'owner µs/token', digits: 1, ratio: true },
  { key: 'redisUsPerToken', label: 'Redis µs/token', digits: 1, ratio: true },
  { key: 'elsewhereUsPerToken', label: 'elsewhere µs/token', digits: 1 },
  { key: 'delayP50Ms', label: 'delay p50 ms', digits: 1 },
  { key: 'delayP99Ms', label: 'p99 ms', digits: 1 },
  { key: 'elsewhereP50Ms', label: 'elsewhere p50 ms', digits: 1 },
  { key: 'elsewhereP99Ms', label: 'p99 ms', digits: 1 },
  { key: 'pacePercent', label: 'of the pace %', digits: 0 },
  loadCore,
];
const idleFigures: readonly Figure[] = [
  { key: 'idleOwnerPercent', label: 'owner, nothing but idle: % of a core', digits: 1 },
  { key: 'idleRedisPercent', label: 'Redis, the same', digits: 1 },
  { key: 'redisBytesPerIdle', label: 'Redis bytes/idle', digits: 0 },
];

/** Generations that are silent for the whole of a measurement. */
const idleCount = 10_000;
/** They are opened so many at once, since their viewers leave at once. */
const idleAtOnce = 250;
const idleWatchMs = 10_000;
/** From the moment when all streams are open to the first token: time for viewers elsewhere to attach. */
const attachMs = ({ streams }: Live) => 1_000 + 2 * streams;

export const redisWorkloads: readonly Workload[] = [
  paced({ streams: 100, tokens: 500, tokensPerSecond: 50 }),
  paced({ streams: 500, tokens: 300, tokensPerSecond: 50 }),
  // As many tokens a second as 400 streams at the others' pace: upstream and readers share a core.
  paced({ streams: 2_000, tokens: 100, tokensPerSecond: 10 }),
  withIdle({ streams: 100, tokens: 500, tokensPerSecond: 50 }),
  workersWorkload(),
];

function paced(live: Live): Workload {
  return {
    name: `redis-${live.streams}`,
    title: `${live.streams} generations × ${live.tokens} tokens, at ${live.tokensPerSecond} tokens/s`,
    figures,
    own: [xadd, memory, owner, elsewhere],
    relativeTo: 'XADD',
    targets: [],
    rounds: 3,
    // Instances that are stopped between their rounds would be taken for dead by the others.
    fresh: true,
    warmUp: warmUpOf(live),
    run: (bench, target, server, scale) => run(bench, target, server!, scaled(live, scale)),
  };
}

function withIdle(live: Live): Workload {
  let idle: Figures = {};
  return {
    ...paced(live),
    name: 'redis-idle-10000',
    title: `the same 100 generations beside 10,000 that say nothing`,
    figures: [...figures, ...idleFigures],
    own: [memory, owner],
    async warmUp(bench, target, server, scale) {
      await warmUpOf(live)(bench, target, server, scale);
      idle = await openIdle(bench, target, server!, round(idleCount * scale));
      return idle;
    },
    run: async (bench, target, server, scale) => ({
      ...(await run(bench, target, server!, scaled(live, scale))),
      ...idle,
    }),
  };
}

/** Runs until V8 has compiled the code. */
function warmUpOf(live: Live): Run {
  const short = { streams: Math.min(live.streams, 100), tokens: 250, tokensPerSecond: 50 };
  return (bench, target, server, scale) => run(bench, target, server!, scaled(short, scale));
}

function scaled(live: Live, scale: number): Live {
  return { ...live, tokens: round(live.tokens * scale) };
}

/** Reads all generations on the owner, and elsewhere too, where there is another instance. */
async function run({ upstream, client }: Bench, { door }: Target, server: Server, live: Live): Promise<Figures> {
  const { streams, tokens, tokensPerSecond } = live;
  const { pids = {}, elsewhereUrl } = server.parts ?? {};
  const openBefore = await upstream.remote.open(null);
  await upstream.remote.setUp({ tokens, tokensPerSecond, gather: streams, delayMs: attachMs(live) });
  const readers = { door, streams, tokens, ids: Array.from({ length: streams }, () => randomUUID()) };
  const reading = client.remote.read({
    ...readers,
    url: server.url,
    pids: { upstream: upstream.pid, server: server.pid, ...pids },
  });
  const started = async () => {
    while ((await upstream.remote.open(null)) < openBefore + streams) await delay(20);
  };
  await Promise.race([started(), reading]);
  const there =
    elsewhereUrl === undefined ? undefined : client.remote.read({ ...readers, url: elsewhereUrl, pids: {} });
  const [result, others] = await Promise.all([reading, there]);
  const sent = await upstream.remote.sent({ times: true });
  const perToken = (name: string) => {
    const ms = result.cpuMs[name];
    return ms === undefined ? undefined : (ms * 1_000) / (streams * tokens);
  };
  const optional: Record<string, number | undefined> = {
    redisUsPerToken: perToken('redis'),
    elsewhereUsPerToken: perToken('elsewhere'),
    ...(others && renamed(delayFigures(others, sent))),
  };
  return {
    cpuUsPerToken: perToken('server')!,
    ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as Figures),
    ...delayFigures(result, sent),
    pacePercent: pacePercent(result, tokensPerSecond),
    ...machineFigures(result),
  };
}

function renamed({ delayP50Ms = 0, delayP99Ms = 0 }: Figures): Figures {
  return { elsewhereP50Ms: delayP50Ms, elsewhereP99Ms: delayP99Ms };
}

/** Starts generations that say one token and then nothing, and measures what they cost then. */
async function openIdle(
  { upstream, client }: Bench,
  { door }: Target,
  server: Server,
  count: number,
): Promise<Figures> {
  const { pids = {}, usedBytes } = server.parts ?? {};
  const bytesBefore = await usedBytes?.();
  await upstream.remote.setUp({ tokens: 1, hold: true });
  for (let opened = 0; opened < count; opened += idleAtOnce) {
    const streams = Math.min(idleAtOnce, count - opened);
    await client.remote.leave({ url: server.url, door, streams, tokens: 1 });
  }
  await untilSteady(() => upstream.remote.open(null));
  const bytesAfter = await usedBytes?.();
  const redis = pids['redis'];
  const before = { server: cpuMsOf(server.pid), redis: redis === undefined ? 0 : cpuMsOf(redis) };
  await delay(idleWatchMs);
  const percent = (pid: number, beforeMs: number) => (100 * (cpuMsOf(pid) - beforeMs)) / idleWatchMs;
  return {
    idleOwnerPercent: percent(server.pid, before.server),
    ...(redis === undefined ? {} : { idleRedisPercent: percent(redis, before.redis) }),
    ...(bytesBefore === undefined || bytesAfter === undefined
      ? {}
      : { redisBytesPerIdle: (bytesAfter - bytesBefore) / count }),
  };
}

// --------------------------------------------------------------------------------------------------------- workers

/** The last one: from its warm-up on, upstream and the readers may use every core, as the workers do. */
function workersWorkload(): Workload {
  const saturate: Run = async ({ upstream, client }, { door }, server, scale) => {
    const [streams, tokens] = [100, round(1_000 * scale)];
    const { pids = {} } = server!.parts ?? {};
    await upstream.remote.setUp({ gather: streams, tokens });
    const all = { upstream: upstream.pid, server: server!.pid, ...pids };
    const result = await client.remote.read({ url: server!.url, door, streams, tokens, pids: all });
    const { cpuMs, elapsedMs } = result;
    const ours = Object.entries(cpuMs).filter(([name]) => name === 'server' || name.startsWith('worker'));
    const count = streams * tokens;
    return {
      tokensPerSecond: count / (elapsedMs / 1_000),
      cpuUsPerToken: (ours.reduce((sum, [, ms]) => sum + ms, 0) * 1_000) / count,
      redisUsPerToken: (cpuMs['redis']! * 1_000) / count,
      loadUsPerToken: ((cpuMs['upstream']! + cpuMs['client']!) * 1_000) / count,
      machinePercent: (100 * cpuMs['machine']!) / elapsedMs / availableParallelism(),
    };
  };
  return {
    name: 'workers',
    title: '100 streams × 1,000 tokens, as fast as they are taken; all processes on all cores',
    figures: [
      { key: 'tokensPerSecond', label: 'tokens/s', digits: 0, ratio: true },
      { key: 'cpuUsPerToken', label: 'workers µs/token', digits: 1, ratio: true },
      { key: 'redisUsPerToken', label: 'Redis µs/token', digits: 1 },
      { key: 'loadUsPerToken', label: 'upstream and readers µs/token', digits: 1 },
      { key: 'machinePercent', label: 'of all cores %', digits: 0 },
    ],
    own: [1, 2, 4].map(workers),
    relativeTo: '1 worker',
    targets: [],
    rounds: 3,
    fresh: true,
    async warmUp(bench, target, server, scale) {
      spread([bench.upstream.pid, bench.client.pid]);
      return saturate(bench, target, server, scale);
    },
    run: saturate,
  };
}

/** Lets processes that were pinned use every core. */
function spread(pids: readonly number[]): void {
  if (!cores) return;
  for (const pid of pids) spawnSync('taskset', ['-acp', `0-${availableParallelism() - 1}`, String(pid)]);
}
