/**
 * Wires all of the service but its listener. No other file knows which parts there are, and which log they write to. Starts
 * nothing and reads nothing: the caller brings the configs, and disposes the core.
 */
import { secretIn } from './upstream/address/headers.ts';
import { Access } from './access/access.ts';
import { DayBudgets } from './access/budgets.ts';
import type { LiveCredentials } from './access/live-credentials.ts';
import type { Caller } from './caller.ts';
import type { Config, ConfigSnapshot } from './configs/configs.ts';
import type { OnGenerationEnd } from './generations/generation-end.ts';
import { Generations } from './generations/generations.ts';
import { HeldBytes } from './access/held-bytes.ts';
import type { UpstreamAddress } from './upstream/address/upstream-address.ts';
import { LLMService } from './upstream/llm-service.ts';
import { createInputSchemas } from './protocol.ts';
import type { AuthRequest } from './doors/trpc/context.ts';
import { createRouter, type LlmRouter } from './doors/trpc/router.ts';
import type { Settings } from './settings/settings.ts';
import { MemoryStreamLogs } from './stream-log/memory.ts';
import { RedisStreamLogs, type RedisLogsOptions } from './stream-log/redis/redis-logs.ts';
import type { Metrics } from './telemetry/metrics.ts';
import type { Telemetry } from './telemetry/telemetry.ts';
import type { RetryTiming } from './upstream/retry.ts';

export interface CoreParts {
  readonly settings: Omit<Settings, 'configFile' | 'configs'>;
  /** The environment in which the variables of a config's key and headers are looked up. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly configs: () => ConfigSnapshot;
  readonly telemetry: Telemetry;
  /** Where telemetry counts. Undefined: nowhere. */
  readonly metrics?: Metrics | undefined;
  readonly retryTiming?: RetryTiming | undefined;
  /** The clockwork of the log on Redis; for tests, which can't wait. */
  readonly redisTiming?: RedisLogsOptions['timing'];
  /** Returns the address of the simulator, where it stands in for upstream. Called for each request to upstream. */
  readonly simulatorUrl: (() => string | Promise<string>) | undefined;
  /** The keys and tokens by which callers are known. Unless given: everyone is `anonymous`. */
  readonly credentials?: Pick<LiveCredentials, 'keys' | 'tokens'> | undefined;
  /** Finds out who asks over tRPC. Unless given: by `credentials`. */
  readonly authenticate?: ((request: AuthRequest) => Caller | Promise<Caller>) | undefined;
  readonly onGenerationEnd?: OnGenerationEnd | undefined;
  /** Whether the router is mounted in somebody else's app. Default: false. */
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
  /** Prepares requests to upstream, for which the first generations would otherwise wait. Never rejects. */
  prepare(): Promise<void>;
}

const anthropicBaseUrlDefault = 'https://api.anthropic.com';

/** @typeParam C The type of the configs, as `defineConfigs` returns it. */
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
  const shared = logs instanceof RedisStreamLogs ? logs.callerCounts : undefined;
  const budgets = hasBudgets(parts) ? new DayBudgets(limits, shared) : undefined;
  const access = new Access({
    keys: parts.credentials?.keys,
    tokens: parts.credentials?.tokens,
    budgets,
    allowedOrigins: settings.allowedOrigins,
    allowedHosts: settings.allowedHosts,
    loopback: settings.loopback,
    limits,
    held,
    shared,
  });
  const { onGenerationEnd } = parts;
  const generations = new Generations({
    logs,
    llm,
    configs,
    admission: access,
    telemetry,
    held,
    budgets,
    logBytesMax: limits.logBytesMax,
    toolResultBytesMax: limits.toolResultBytesMax,
    barMs: limits.barMs,
    onGenerationEnd,
  });
  if (parts.metrics) telemetry.countIn(parts.metrics);
  const measuring = parts.metrics?.measure({
    configNames: () => configs().names,
    generationsRunning: () => generations.running,
    logs: () => logs.count,
    logBytes: () => logs.bytes,
  });
  const router = createRouter<C>({
    generations,
    configs,
    authenticate: parts.authenticate ?? ((request) => callerOf(access, request)),
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
      measuring?.[Symbol.dispose]();
    },
  };
}

/** Without a promise, unless there is a token that was not verified yet. The doors of this service have verified it by now. */
function callerOf(access: Access, request: AuthRequest): Caller | Promise<Caller> {
  return access.verify(request)?.then(() => access.authenticate(request)) ?? access.authenticate(request);
}

/** Whether a caller may have a budget: all callers, or some by their key or by the host's `authenticate`. */
function hasBudgets({ settings: { limits, apiKeysFile }, authenticate }: CoreParts): boolean {
  const { tokensPerCallerPerDayMax: tokens, costPerCallerPerDayMax: cost } = limits;
  return Math.min(tokens, cost) < Infinity || apiKeysFile !== undefined || authenticate !== undefined;
}

/** In Redis if a URL says where that is, else in this process. */
function createLogs({
  settings: { redisUrl, limits },
  telemetry: lines,
  redisTiming,
}: CoreParts): MemoryStreamLogs | RedisStreamLogs {
  if (redisUrl === undefined) return new MemoryStreamLogs(limits);
  const { redisFlushMs: flushMs, redisOutageMs: outageMs } = limits;
  const onDoubt = (message: string) => lines.settingsDoubted([{ path: 'REDIS_URL', message }]);
  return new RedisStreamLogs({ url: redisUrl, flushMs, outageMs, limits, lines, timing: redisTiming, onDoubt });
}

/**
 * Where a config's requests go, and which key, headers and proxies they take. `ANTHROPIC_API_KEY` and `ANTHROPIC_CUSTOM_HEADERS`
 * are sent to Anthropic or `ANTHROPIC_BASE_URL` only. A config with a server of its own sends the key and the headers that it
 * names itself, or none. Requests to the built-in simulator take no key, no headers and no proxy.
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
    secret: (variable) => secretIn(env, variable),
    proxies: {
      httpProxy: settings.httpProxy,
      httpsProxy: settings.httpsProxy,
      allProxy: settings.allProxy,
      noProxy: settings.noProxy,
    },
    simulated: false,
  };
}
