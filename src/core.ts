/**
 * Wires all of the service but its listener: the one place that knows which parts there are, and which log they write to.
 * Starts nothing and reads nothing; who builds it has the configs, and disposes it.
 */
import { Access } from './access.ts';
import type { Caller } from './caller.ts';
import type { Config, ConfigSnapshot } from './configs.ts';
import type { OnGenerationEnd } from './generation-end.ts';
import { Generations } from './generations.ts';
import { HeldBytes } from './held-bytes.ts';
import { LLMService, type UpstreamAddress } from './llm-service.ts';
import { createInputSchemas } from './protocol.ts';
import { createRouter, type AuthRequest, type LlmRouter } from './router.ts';
import type { Settings } from './settings.ts';
import { MemoryStreamLogs } from './stream-log/memory.ts';
import type { Telemetry } from './telemetry.ts';
import type { RetryTiming } from './upstream/retry.ts';

export interface CoreParts {
  readonly settings: Omit<Settings, 'configFile' | 'configs'>;
  /** Where a config's `api_key_env` is looked up. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly configs: () => ConfigSnapshot;
  readonly telemetry: Telemetry;
  readonly retryTiming?: RetryTiming | undefined;
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
  readonly logs: MemoryStreamLogs;
  readonly telemetry: Telemetry;
  /** Does ahead what the first requests would wait for. Never rejects. */
  prepare(): Promise<void>;
}

const anthropicBaseUrl = 'https://api.anthropic.com';

/** @param C The type of the configs, as `defineConfigs` gives it. */
export function assembleCore<C = never>(parts: CoreParts): Core<C> {
  const { settings, configs, telemetry, retryTiming } = parts;
  const { limits } = settings;
  const llm = new LLMService({
    resolveUpstream: (config) => resolveUpstream(config, parts),
    telemetry,
    retryTiming,
  });
  const logs = new MemoryStreamLogs(limits);
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

/**
 * Where a config's requests go and with what key. `ANTHROPIC_API_KEY` goes to Anthropic or `ANTHROPIC_BASE_URL` only: a
 * config that names a server of its own gets the key that it names, or none.
 */
function resolveUpstream({ baseUrl, apiKeyEnv }: Config, { settings, env, simulatorUrl }: CoreParts): UpstreamAddress {
  const ownKey = apiKeyEnv === undefined ? undefined : env[apiKeyEnv];
  const apiKey = ownKey ?? (baseUrl === undefined ? settings.anthropicApiKey : undefined);
  const simulated = simulatorUrl !== undefined && baseUrl === undefined && ownKey === undefined;
  return {
    baseUrl: baseUrl ?? (simulated ? simulatorUrl() : (settings.anthropicBaseUrl ?? anthropicBaseUrl)),
    ...(apiKey === undefined ? {} : { apiKey }),
    simulated,
  };
}
