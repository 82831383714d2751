/**
 * What is measured, and how each target is started: our service by its doors, the baselines, and peers if asked for.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { benchConfig, type DoorName } from './load/doors.ts';
import { cores, launch, script, type Running } from './processes.ts';
import type { ProbeCommands } from './servers/probe.ts';

export interface Target {
  readonly name: string;
  readonly title: string;
  readonly door: DoorName;
  /** Whether this is our service, and not a server that it is compared with. */
  readonly ours?: true;
  /** The npm packages that must be installed before it can run. */
  readonly peer?: true;
  /** Absent: clients connect to upstream directly. */
  readonly start?: (context: StartContext) => Promise<Server>;
}

export interface Server extends Running<ProbeCommands> {
  /** What belongs to it besides its own process. */
  readonly parts?: {
    /** Processes whose CPU time is measured too, by name. */
    readonly pids: Readonly<Record<string, number>>;
    /** Another instance that serves the same generations. */
    readonly elsewhereUrl?: string;
    /** Bytes of the data in its Redis. */
    readonly usedBytes?: () => Promise<number>;
  };
}

export interface StartContext {
  readonly upstreamUrl: string;
  /** The path of the service's command line. */
  readonly serviceCli: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly nodeArgs?: readonly string[];
}

/** The target that all others are compared with. */
export const yardstick = 'raw';

export const listening = /listens on (http:\S+)/;
const probeArgs = ['--expose-gc', '--import', script('./servers/probe.js')];

export const baseline =
  (file: string) =>
  ({ upstreamUrl, env, nodeArgs = [] }: StartContext): Promise<Server> =>
    launch({
      script: script(file),
      nodeArgs: [...probeArgs, ...nodeArgs],
      env: { ANTHROPIC_BASE_URL: upstreamUrl, ...env },
      core: cores?.server,
      ready: listening,
    });

/** Started as a user starts it: with every default, and one config. */
export const service = ({ upstreamUrl, serviceCli, env, nodeArgs = [] }: StartContext): Promise<Server> =>
  launch({
    script: resolve(serviceCli),
    // An earlier build may refuse the config file of this one, so each reads its own.
    cwd: resolve(serviceCli, '../..'),
    args: ['serve'],
    nodeArgs: [...probeArgs, ...nodeArgs],
    env: {
      PORT: '0',
      ANTHROPIC_BASE_URL: upstreamUrl,
      ANTHROPIC_API_KEY: 'sk-bench',
      LLM_CONFIGS: benchConfigs({}),
      ...env,
    },
    core: cores?.server,
    ready: listening,
  });

/** The value of LLM_CONFIGS that defines the config which the load client requests. */
export function benchConfigs(more: Readonly<Record<string, unknown>>): string {
  const config = { model: 'claude-sonnet-5-5', max_tokens: 100_000, system_prompt: 'You are measured.' };
  return JSON.stringify({ [benchConfig]: { ...config, ...more } });
}

export const targets: readonly Target[] = [
  { name: 'direct', title: 'no server between', door: 'messages' },
  { name: yardstick, title: 'raw byte proxy', door: 'messages', start: baseline('./servers/raw-proxy.js') },
  { name: 'sse', title: 'llm-service, tRPC over SSE', door: 'sse', ours: true, start: service },
  { name: 'ws', title: 'llm-service, tRPC over WebSocket', door: 'webSocket', ours: true, start: service },
  { name: 'rest', title: 'llm-service, REST', door: 'rest', ours: true, start: service },
  { name: 'relay', title: 'SDK + res.write', door: 'relay', start: baseline('./servers/sdk-relay.js') },
  {
    name: 'naive-ws',
    title: 'naive tRPC, WebSocket',
    door: 'naiveWebSocket',
    start: baseline('./servers/naive-trpc.js'),
  },
  { name: 'naive-sse', title: 'naive tRPC, SSE', door: 'naiveSse', start: baseline('./servers/naive-trpc.js') },
  { name: 'ai-sdk', title: 'Vercel AI SDK', door: 'aiSdk', peer: true, start: startAiSdk },
  { name: 'portkey', title: 'Portkey gateway', door: 'portkey', peer: true, start: startPortkey },
];

/** The same door of another build of the service: it compares a change with the build before it, in the same rounds. */
export function earlierBuild(target: Target, serviceCli: string): Target {
  return {
    ...target,
    name: `${target.name}-before`,
    title: `${target.title}, before`,
    start: (context) => service({ ...context, serviceCli }),
  };
}

/** The yardstick of fan-out: only the socket writes. */
export const rawFanOut: Target = {
  name: yardstick,
  title: 'raw socket writes',
  door: 'messages',
  start: baseline('./servers/raw-fan-out.js'),
};

let peersFolder: string | undefined;

/** Installs the peers once, into a folder of their own that is deleted when the benchmark ends. */
function installPeers(): string {
  if (peersFolder !== undefined) return peersFolder;
  const folder = mkdtempSync(join(tmpdir(), 'llm-service-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true }));
  const packages = ['ai', '@ai-sdk/anthropic', '@portkey-ai/gateway'];
  execFileSync('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel=error', ...packages], {
    stdio: 'inherit',
  });
  return (peersFolder = folder);
}

function startAiSdk(context: StartContext): Promise<Server> {
  return baseline('./servers/ai-sdk.js')({ ...context, env: { ...context.env, BENCH_PEERS: installPeers() } });
}

async function startPortkey({ upstreamUrl, nodeArgs = [] }: StartContext): Promise<Server> {
  const port = 18_787;
  const server = await launch<ProbeCommands>({
    script: join(installPeers(), 'node_modules/@portkey-ai/gateway/build/start-server.js'),
    args: [`--port=${port}`, '--headless'],
    nodeArgs: [...probeArgs, '--import', script('./servers/portkey-preload.js'), ...nodeArgs],
    core: cores?.server,
    ready: /(http:\/\/localhost:\d+|Ready)/,
  });
  return { ...server, url: `http://127.0.0.1:${port}/#${encodeURIComponent(upstreamUrl)}` };
}
