/**
 * Wires all of the service but its listener: the one place that knows which parts there are, and which log they write to.
 * Starts nothing and reads nothing; who builds it has the configs, and disposes it.
 */
import { secretIn } from './upstream/address/headers.ts';
import { Access } from './access/access.ts';
import type { Caller } from './caller.ts';
import type { Config, ConfigSnapshot } from './configs/configs.ts';
import type { OnGenerationEnd } from './generations/generation-end.ts';
import { Generations } from './generations/generations.ts';
import { HeldBytes } from './access/held-bytes.ts';
import { LLMService, type UpstreamAddress } from './upstream/llm-service.ts';
import { createInputSchemas } from './protocol.ts';
import { createRouter, type AuthRequest, type LlmRouter } from './doors/trpc/router.ts';
import type { Settings } from './settings/settings.ts';
import { MemoryStreamLogs } from './stream-log/memory.ts';
import { RedisStreamLogs, type RedisLogsOptions } from './stream-log/redis/redis-logs.ts';
import type { Telemetry } from './telemetry/telemetry.ts';
import type { RetryTiming } from './upstream/retry.ts';

export interface CoreParts {
  readonly settings: Omit<Settings, 'configFile' | 'configs'>;
  /** Where the variables are looked up that a config names, for its key and its headers. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly configs: () => ConfigSnapshot;
  readonly telemetry: Telemetry;
  readonly retryTiming?: RetryTiming | undefined;
  /** The clockwork of the log on Redis; for tests, which can't wait. */
  readonly redisTiming?: RedisLogsOptions['timing'];
  /** Where the simulator is that stands in for upstream, if it does. Asked for each time. */
  readonly simulatorUrl: (() => string | Promise<string>) | undefined;
  /** Who asks over tRPC; by the keys of the settings unless given. */
  readonly authenticate?: ((request: AuthRequest) => Caller | Promise<Caller>) | undefined;
  readonly onGenerationEnd?: OnGenerationEnd | undefined;
  /** Whether the router is to be mounted in somebody else's app. */
  readonly embedded?: boolean;
}

/** All of the service but its listener. */
export interface Core<C = never> extends AsyncDisposable {
  readonly configs: () => ConfigSnapshot;
  readonly generations: Generations;
  readonly router: LlmRouter<C>;
  readonly access: Access;
  readonly held: HeldBytes;
  readonly logs: MemoryStreamLogs | RedisStreamLogs;
  readonly telemetry: Telemetry;
  /** Does ahead what the first requests would wait for. Never rejects. */
  prepare(): Promise<void>;
}

const anthropicBaseUrlDefault = 'https://api.anthropic.com';

/** @param C The type of the configs, as `defineConfigs` gives it. */
export function assembleCore<C = never>(parts: CoreParts): Core<C> {
  const { settings, configs, telemetry, retryTiming } = parts;
  const { limits } = settings;
  const llm = new LLMService({
    resolveUpstream: (config) => resolveUpstream(config, parts),
    telemetry,
    retryTiming,
  });
  const logs = createLogs(parts);
  const held = new HeldBytes(limits);
  const access = new Access({
    keys: settings.apiKeys,
    allowedOrigins: settings.allowedOrigins,
    allowedHosts: settings.allowedHosts,
    loopback: settings.loopback,
    limits,
    held,
  });
  const { onGenerationEnd } = parts;
  const generations = new Generations({
    logs,
    llm,
    configs,
    admission: access,
    telemetry,
    held,
    logBytesMax: limits.logBytesMax,
    barMs: limits.barMs,
    onGenerationEnd,
  });
  const router = createRouter<C>({
    generations,
    configs,
    authenticate: parts.authenticate ?? ((request) => access.authenticate(request)),
    schemas: createInputSchemas(limits),
    telemetry,
    flow: limits,
    embedded: parts.embedded ?? false,
  });
  return {
    configs,
    generations,
    router,
    access,
    held,
    logs,
    telemetry,
    async prepare() {
      const now = configs();
      await llm.prepare(now.names.map((name) => now.get(name)!));
    },
    async [Symbol.asyncDispose]() {
      await generations[Symbol.asyncDispose]();
      await llm[Symbol.asyncDispose]();
      await logs[Symbol.asyncDispose]();
    },
  };
}

/** In Redis if a URL says where that is, else in this process. */
function createLogs({ settings: { redisUrl, limits }, redisTiming }: CoreParts): MemoryStreamLogs | RedisStreamLogs {
  if (redisUrl === undefined) return new MemoryStreamLogs(limits);
  const { redisFlushMs: flushMs, redisOutageMs: outageMs } = limits;
  return new RedisStreamLogs({ url: redisUrl, flushMs, outageMs, limits, timing: redisTiming });
}

/**
 * Where a config's requests go, and what goes with them. `ANTHROPIC_API_KEY` and `ANTHROPIC_CUSTOM_HEADERS` go to Anthropic or
 * `ANTHROPIC_BASE_URL` only: a config that names a server of its own gets the key and the headers that it names, or none. The
 * built-in simulator is asked directly, and with nothing of it.
 */
function resolveUpstream(config: Config, { settings, env, simulatorUrl }: CoreParts): UpstreamAddress {
  const { baseUrl, apiKeyEnv, messagesPath, headers } = config;
  const ownKey = apiKeyEnv === undefined ? undefined : secretIn(env, apiKeyEnv);
  if (simulatorUrl && baseUrl === undefined && ownKey === undefined) {
    return { baseUrl: simulatorUrl(), simulated: true };
  }
  const { anthropicApiKey, anthropicAuthToken, anthropicBaseUrl, anthropicCustomHeaders, upstreamKeyHeader } = settings;
  const ofDeployment = baseUrl === undefined;
  return {
    baseUrl: baseUrl ?? anthropicBaseUrl ?? anthropicBaseUrlDefault,
    messagesPath,
    apiKey: ownKey ?? (ofDeployment ? (anthropicApiKey ?? anthropicAuthToken) : undefined),
    apiKeyHeader: config.apiKeyHeader ?? (ofDeployment ? upstreamKeyHeader : undefined),
    headers: { ...(ofDeployment ? anthropicCustomHeaders : undefined), ...headers?.resolve(env) },
    proxies: settings,
    simulated: false,
  };
}
