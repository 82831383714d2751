/**
 * Builds the service and wires it: the one place that knows which parts there are and which log they write to. Reads no
 * environment of its own; who starts it passes settings, and disposes it.
 */
import { Access } from './access.ts';
import { loadConfigs } from './config-file.ts';
import { parseConfigs, type Config, type ConfigSnapshot } from './configs.ts';
import { Generations } from './generations.ts';
import { LLMService, type UpstreamAddress } from './llm-service.ts';
import { createInputSchemas } from './protocol.ts';
import { createRouter, type LlmRouter } from './router.ts';
import { startServer, type Server } from './server.ts';
import type { Settings } from './settings.ts';
import { startSimulator, type Simulator } from './simulator.ts';
import { MemoryStreamLogs } from './stream-log/memory.ts';
import { Telemetry } from './telemetry.ts';

export interface ServiceOptions {
  readonly settings: Settings;
  /** Where a config's `api_key_env` is looked up. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Configs in place of those in the file of `LLM_CONFIG`: a `defineConfigs` result, or a map as in a file. */
  readonly configs?: unknown;
  /** The folder that `LLM_CONFIG` is relative to. */
  readonly cwd?: string;
  /** Made from the settings unless given. */
  readonly telemetry?: Telemetry;
}

/** All of the service but its listener. */
export interface Core extends AsyncDisposable {
  readonly configs: () => ConfigSnapshot;
  readonly generations: Generations;
  readonly router: LlmRouter<never>;
  readonly access: Access;
  readonly logs: MemoryStreamLogs;
  readonly telemetry: Telemetry;
  /** Stands in for upstream where neither key nor base URL is set. */
  readonly simulator: Simulator | undefined;
}

export interface Service extends AsyncDisposable {
  /** Where it listens. */
  readonly url: string;
  readonly core: Core;
  readonly server: Server;
}

const anthropicBaseUrl = 'https://api.anthropic.com';

/**
 * Listens. Disposing it drains: new generations are refused, running ones may finish within `LLM_DRAIN_MS`, the rest
 * end as `cancelled: shutdown`, and viewers get their terminal events.
 *
 * @throws ConfigError if the configs are not valid; the listener's own error if the address can't be had.
 */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { settings } = options;
  const core = await createCore(options);
  try {
    const server = await startServer({
      ...settings,
      ...settings.limits,
      ...core,
      schemas: createInputSchemas(settings.limits),
    });
    core.telemetry.listening(server.url, { simulated: core.simulator !== undefined, configs: core.configs().names });
    return {
      url: server.url,
      core,
      server,
      async [Symbol.asyncDispose]() {
        await core.generations.drain(settings.limits.drainMs);
        await server[Symbol.asyncDispose]();
        await core[Symbol.asyncDispose]();
        core.telemetry.stopped();
      },
    };
  } catch (error) {
    await core[Symbol.asyncDispose]();
    throw error;
  }
}

/** @throws ConfigError if the configs are not valid. */
export async function createCore(options: ServiceOptions): Promise<Core> {
  const { settings, env = {}, cwd = '.' } = options;
  const { limits } = settings;
  const telemetry = options.telemetry ?? new Telemetry(settings);
  const snapshot =
    options.configs === undefined
      ? await loadConfigs({ file: settings.configFile, overrides: settings.configs, cwd, env })
      : parseConfigs(options.configs, { env });
  const configs = () => snapshot;
  const simulator = settings.simulate ? await startSimulator() : undefined;
  const llm = new LLMService({
    resolveUpstream: (config) => resolveUpstream(config, settings, env, simulator),
    telemetry,
  });
  const logs = new MemoryStreamLogs(limits);
  const access = new Access({
    keys: settings.apiKeys,
    allowedOrigins: settings.allowedOrigins,
    allowedHosts: settings.allowedHosts,
    loopback: settings.loopback,
    limits,
  });
  const generations = new Generations({ logs, llm, configs, admission: access, telemetry, barMs: limits.barMs });
  const router = createRouter<never>({
    generations,
    configs,
    authenticate: (request) => access.authenticate(request),
    schemas: createInputSchemas(limits),
    telemetry,
    flow: limits,
    subscriptionsPerSocketMax: limits.subscriptionsPerSocketMax,
  });
  return {
    configs,
    generations,
    router,
    access,
    logs,
    telemetry,
    simulator,
    async [Symbol.asyncDispose]() {
      await generations[Symbol.asyncDispose]();
      await llm[Symbol.asyncDispose]();
      await simulator?.[Symbol.asyncDispose]();
      await logs[Symbol.asyncDispose]();
    },
  };
}

/**
 * Where a config's requests go and with what key. `ANTHROPIC_API_KEY` goes to Anthropic or `ANTHROPIC_BASE_URL` only: a
 * config that names a server of its own gets the key that it names, or none.
 */
function resolveUpstream(
  { baseUrl, apiKeyEnv }: Config,
  settings: Settings,
  env: Readonly<Record<string, string | undefined>>,
  simulator: Simulator | undefined,
): UpstreamAddress {
  const ownKey = apiKeyEnv === undefined ? undefined : env[apiKeyEnv];
  const apiKey = ownKey ?? (baseUrl === undefined ? settings.anthropicApiKey : undefined);
  const simulated = simulator !== undefined && baseUrl === undefined && ownKey === undefined;
  return {
    baseUrl: baseUrl ?? (simulated ? simulator.url : (settings.anthropicBaseUrl ?? anthropicBaseUrl)),
    ...(apiKey === undefined ? {} : { apiKey }),
    simulated,
  };
}
