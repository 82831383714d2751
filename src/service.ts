/**
 * The service as a process runs it: configs from their file, the simulator where it stands in, the core, a listener in
 * front of it. Reads no environment of its own; who starts it passes settings, and disposes it.
 */
import { getHeapStatistics } from 'node:v8';
import { promptReader } from './configs/config-file.ts';
import { openConfigs, type LiveConfigs } from './configs/config-watch.ts';
import { parseConfigs } from './configs/configs.ts';
import { assembleCore, type Core, type CoreParts } from './core.ts';
import type { OnGenerationEnd } from './generations/generation-end.ts';
import { createInputSchemas } from './protocol.ts';
import { startServer, type Server } from './server/server.ts';
import { doubtsOf, type Settings } from './settings/settings.ts';
import { startSimulator, type Simulator } from './simulator.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import type { RetryTiming } from './upstream/retry.ts';

export interface ServiceOptions {
  readonly settings: Settings;
  /** Where the variables are looked up that a config names: `process.env`, say. Unless given, no variable is set. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Configs in place of those in the file of `LLM_CONFIG`: a `defineConfigs` result, or a map as in a file. */
  readonly configs?: unknown;
  /** The folder that `LLM_CONFIG` is relative to, and the prompt files of `configs`; the working directory unless given. */
  readonly cwd?: string;
  /** Whether the config file, and what it names, is read again when it changes. */
  readonly watch?: boolean;
  /** Made from the settings unless given. */
  readonly telemetry?: Telemetry;
  /** The waits between attempts; for tests, which can't wait. */
  readonly retryTiming?: RetryTiming;
  /** The clockwork of the log on Redis; for tests, which can't wait. */
  readonly redisTiming?: CoreParts['redisTiming'];
  /** Told of each generation that has ended, to keep what was said. */
  readonly onGenerationEnd?: OnGenerationEnd;
}

/** All of the service but its listener, with the simulator where it stands in for upstream. */
export interface ServiceCore extends Core {
  /** The configs of the file; undefined where they were given. */
  readonly liveConfigs: LiveConfigs | undefined;
  /** Stands in for upstream where neither key nor base URL is set. */
  readonly simulator: Simulator | undefined;
}

export interface Service extends AsyncDisposable {
  /** Where it listens. */
  readonly url: string;
  readonly core: ServiceCore;
  readonly server: Server;
  /** Reads the configs again and logs the outcome, also where nothing has changed. Never rejects. */
  reload(): Promise<void>;
}

/**
 * Listens. Disposing it drains: new generations are refused, running ones may finish within `LLM_DRAIN_MS`, the rest
 * end as `cancelled: shutdown`, and viewers get their terminal events.
 *
 * @throws ConfigError if the configs are not valid; the listener's own error if the address can't be had.
 */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { settings } = options;
  const core = await createCore(options);
  core.telemetry.settingsDoubted(doubtsOf(settings, getHeapStatistics().heap_size_limit));
  try {
    await Promise.all([core.prepare(), core.logs.connect()]);
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
      async reload() {
        const { liveConfigs, telemetry } = core;
        if ((await liveConfigs?.reload()) !== 'unchanged') return;
        telemetry.configsUnchanged(settings.configFile, { fixed: settings.configs !== undefined });
      },
      async [Symbol.asyncDispose]() {
        await core.generations.drain(settings.limits.drainMs);
        await server[Symbol.asyncDispose]();
        await core[Symbol.asyncDispose]();
        core.telemetry.stopped();
        await core.telemetry.flush();
      },
    };
  } catch (error) {
    await core[Symbol.asyncDispose]();
    throw error;
  }
}

/** @throws ConfigError if the configs are not valid. */
export async function createCore(options: ServiceOptions): Promise<ServiceCore> {
  const { settings, env = {}, cwd = '.' } = options;
  const telemetry = options.telemetry ?? new Telemetry(settings);
  if (settings.unused) telemetry.variablesUnused(settings.unused);
  const liveConfigs =
    options.configs === undefined
      ? await openConfigs({ file: settings.configFile, overrides: settings.configs, cwd, env, telemetry })
      : undefined;
  const snapshot = liveConfigs?.snapshot() ?? parseConfigs(options.configs, { env, readPrompt: promptReader(cwd) });
  telemetry.configsDoubted(settings.configFile, snapshot.warnings);
  const simulator = settings.simulate ? await startSimulator() : undefined;
  const core = assembleCore({
    settings,
    env,
    configs: () => liveConfigs?.snapshot() ?? snapshot,
    telemetry,
    simulatorUrl: simulator && (() => simulator.url),
    onGenerationEnd: options.onGenerationEnd,
    retryTiming: options.retryTiming,
    redisTiming: options.redisTiming,
  });
  if (options.watch) liveConfigs?.watch();
  return {
    ...core,
    liveConfigs,
    simulator,
    async [Symbol.asyncDispose]() {
      await liveConfigs?.[Symbol.asyncDispose]();
      await core[Symbol.asyncDispose]();
      await simulator?.[Symbol.asyncDispose]();
    },
  };
}
