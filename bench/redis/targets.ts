/**
 * What `npm run bench -- --redis` compares: the service with its log in memory, with its log on Redis, with viewers on another
 * instance, and as several workers; beside a relay that makes one XADD a token.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { launch } from '../processes.ts';
import {
  baseline,
  benchConfigs,
  listening,
  service,
  yardstick,
  type Server,
  type StartContext,
  type Target,
} from '../targets.ts';
import type { ProbeCommands } from '../servers/probe.ts';
import { startRedis } from './redis-server.ts';

/** Generations run on without viewers, however long they are silent, and no limit refuses one. */
const env = {
  LLM_CONFIGS: benchConfigs({
    on_disconnect: 'continue',
    timeouts: { first_byte_ms: 3_600_000, idle_ms: 3_600_000, total_ms: 3_600_000 },
  }),
  LLM_GENERATIONS_MAX: '20000',
  LLM_GENERATIONS_PER_CALLER_MAX: '20000',
  LLM_VIEWERS_MAX: '20000',
  LLM_VIEWERS_PER_CALLER_MAX: '20000',
  LLM_STARTS_PER_MINUTE_MAX: '1000000',
};

export const xadd: Target = {
  name: yardstick,
  title: 'one XADD a token',
  door: 'messages',
  start: withRedis(baseline('./servers/xadd-relay.js')),
};

export const memory: Target = {
  name: 'memory',
  title: 'log in memory',
  door: 'sse',
  ours: true,
  start: roomy(service),
};

export const owner: Target = {
  name: 'owner',
  title: 'log on Redis, viewers on the owner',
  door: 'sse',
  ours: true,
  start: withRedis(roomy(service)),
};

export const elsewhere: Target = {
  name: 'elsewhere',
  title: 'log on Redis, viewers on the owner and elsewhere',
  door: 'sse',
  ours: true,
  start: withRedis(roomy(startTwo)),
};

/** Not pinned, so that the system deals them to the cores. */
export function workers(count: number): Target {
  const start = async ({ upstreamUrl, serviceCli, env: more }: StartContext): Promise<Server> => {
    const server = await launch<ProbeCommands>({
      script: resolve(serviceCli),
      args: ['serve', '--workers', String(count)],
      env: { PORT: '0', ANTHROPIC_BASE_URL: upstreamUrl, ANTHROPIC_API_KEY: 'sk-bench', ...more },
      ready: listening,
    });
    const pids = childrenOf(server.pid).map((pid, at) => [`worker ${at + 1}`, pid]);
    return { ...server, parts: { pids: Object.fromEntries(pids) as Record<string, number> } };
  };
  return {
    name: count === 1 ? yardstick : `workers-${count}`,
    title: `${count} ${count === 1 ? 'worker' : 'workers'}`,
    door: 'sse',
    ours: true,
    start: withRedis(roomy(start)),
  };
}

type Start = (context: StartContext) => Promise<Server>;

function roomy(start: Start): Start {
  return (context) => start({ ...context, env: { ...context.env, ...env } });
}

/** Starts a Redis for the server, whose CPU time is measured too. */
function withRedis(start: Start): Start {
  return async (context) => {
    const redis = await startRedis();
    try {
      const server = await start({ ...context, env: { ...context.env, REDIS_URL: redis.url } });
      const { parts } = server;
      return {
        ...server,
        parts: { ...parts, pids: { ...parts?.pids, redis: redis.pid }, usedBytes: () => redis.usedBytes() },
        async [Symbol.asyncDispose]() {
          await server[Symbol.asyncDispose]();
          await redis[Symbol.asyncDispose]();
        },
      };
    } catch (error) {
      await redis[Symbol.asyncDispose]();
      throw error;
    }
  };
}

/** Two instances on one core: what counts is the CPU time of each. */
async function startTwo(context: StartContext): Promise<Server> {
  const [here, there] = await Promise.all([service(context), service(context)]);
  return {
    ...here,
    parts: { pids: { elsewhere: there.pid }, elsewhereUrl: there.url },
    async [Symbol.asyncDispose]() {
      await here[Symbol.asyncDispose]();
      await there[Symbol.asyncDispose]();
    },
  };
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
  return text.split(' ').filter(Boolean).map(Number);
}
