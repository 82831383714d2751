/**
 * The service as a process runs it: configs from their file, the simulator where it stands in for upstream, the core, and a
 * listener in front of it. Reads no environment of its own: the settings are an argument.
 */
import { getHeapStatistics } from 'node:v8';
import type { TracerProvider } from '@opentelemetry/api';
import type { Registry } from 'prom-client';
import { openCredentials, type LiveCredentials } from './access/live-credentials.ts';
import { promptReader } from './configs/config-file.ts';
import { openConfigs, type LiveConfigs } from './configs/config-watch.ts';
import { parseConfigs } from './configs/configs.ts';
import { assembleCore, type Core, type CoreParts } from './core.ts';
import { within } from './flow/within.ts';
import type { OnGenerationEnd } from './generations/generation-end.ts';
import { createInputSchemas } from './protocol.ts';
import { startMetricsListener, type MetricsListener } from './server/metrics.ts';
import { startServer, type Server } from './server/server.ts';
import { doubtsOf, type Settings } from './settings/settings.ts';
import { tracePlace } from './settings/trace-variables.ts';
import { startSimulator, type Simulator } from './simulator.ts';
import type { LlmLogger } from './telemetry/log-lines.ts';
import { metricsIn, ownMetrics, type Exposition, type Metrics } from './telemetry/metrics.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import { openTraceExport, type TraceExport } from './telemetry/trace-export.ts';
import { Traces } from './telemetry/traces.ts';
import type { RetryTiming } from './upstream/retry.ts';

/** What `startService` takes. Only `settings` is required. */
export interface ServiceOptions {
  /** What `readSettings` returns. */
  readonly settings: Settings;
  /** The environment in which the configs' variables are looked up, such as `process.env`. Unless given, no variable is set. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Configs in place of those in the file of `LLM_CONFIG`: what `defineConfigs` returns, or a map as in a file. */
  readonly configs?: unknown;
  /** The folder that `LLM_CONFIG` is relative to, and the prompt files of `configs`. Unless given: the working directory. */
  readonly cwd?: string;
  /**
   * Whether the config file, and the files that it names, are read again when they change. Default: false. Files of keys always
   * are, so that a key can be revoked.
   */
  readonly watch?: boolean;
  /** Receives what the service would log, of every level. Unless given: lines go to stdout, from the settings' `logLevel` on. */
  readonly logger?: LlmLogger;
  /** Called for each generation that has ended, with its text and events, for an app that keeps them. */
  readonly onGenerationEnd?: OnGenerationEnd;
  /**
   * A registry of prom-client, where the service counts, and which it then shows as its metrics. Unless given: one of its own, with
   * the metrics of the process, if the settings have metrics served.
   */
  readonly metrics?: Registry | undefined;
  /**
   * A tracer provider of OpenTelemetry, which gets the service's spans in place of the collector that the settings name. Whoever
   * brings it flushes it and shuts it down.
   */
  readonly tracerProvider?: TracerProvider | undefined;
}

/** A service that listens. */
export interface Service extends AsyncDisposable {
  /** The address that it listens on: `http://127.0.0.1:3000`. */
  readonly url: string;
  /** The address of its metrics: `http://127.0.0.1:3000/metrics`. Undefined where none are served. */
  readonly metricsUrl: string | undefined;
  /** Reads the configs again, and the files of keys, and logs the outcome, also where nothing has changed. Never rejects. */
  reload(): Promise<void>;
  /**
   * Accepts no more connections, and has clients take others for their next requests, for where another process listens on the same
   * address. Everything is served as ever meanwhile. Settles once no connection is left, or after `LLM_DRAIN_MS`. Never rejects.
   */
  retire(): Promise<void>;
  /**
   * Drains the service, then closes it: new generations are refused, running ones may finish within `LLM_DRAIN_MS`, those that
   * don't end as `cancelled: shutdown`, and viewers receive their terminal events.
   */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a service. The caller disposes it.
 *
 * @throws ConfigError if the configs are not valid; SettingsError if a file of keys isn't; the listener's own error if it can't have
 *   the address.
 */
export function startService({ logger, ...options }: ServiceOptions): Promise<Service> {
  const { logLevel, logContent } = options.settings;
  return startWithParts(logger ? { ...options, telemetry: new Telemetry({ logLevel, logContent, logger }) } : options);
}

/** How long the start waits for the stream logs. */
const reachLogsMs = 3_000;

// ----------------------------------------------------------------------------------------------- within this package

/** What the command line and tests set beside. */
export interface CoreOptions extends Omit<ServiceOptions, 'logger'> {
  /** Unless given: made from the settings. */
  readonly telemetry?: Telemetry;
  /** The waits between the attempts of a generation. */
  readonly retryTiming?: RetryTiming;
  /** Makes what scrapes read, of the metrics of this process. Unless given: these alone. */
  readonly exposition?: ((metrics: Metrics) => Exposition) | undefined;
  /** The clockwork of the log on Redis. */
  readonly redisTiming?: CoreParts['redisTiming'];
}

/** All of the service but its listener, with the simulator where it stands in for upstream. */
export interface ServiceCore extends Core {
  /** The configs of the file; undefined where the options hold the configs. */
  readonly liveConfigs: LiveConfigs | undefined;
  /** What says who may ask. */
  readonly credentials: LiveCredentials;
  /** Runs where neither a key nor a base URL is set. */
  readonly simulator: Simulator | undefined;
}

/** A service with its parts, which tests look into. */
export interface ServiceWithParts extends Service {
  readonly core: ServiceCore;
  readonly server: Server;
}

/** What `startService` does, with the parts as its result. */
export async function startWithParts(options: CoreOptions): Promise<ServiceWithParts> {
  const { settings } = options;
  const place = metricsPlace(settings);
  const metrics = options.metrics ? metricsIn(options.metrics) : place && ownMetrics();
  const core = await createCore(options, metrics);
  const { telemetry } = core;
  telemetry.settingsDoubted(doubtsOf(settings, getHeapStatistics().heap_size_limit));
  let traceExport: TraceExport | undefined;
  try {
    traceExport = await startTracing(options, telemetry);
    await Promise.all([core.prepare(), reachLogs(core)]);
    const { server, metricsListener } = await listen(
      core,
      settings,
      metrics && (options.exposition?.(metrics) ?? metrics),
    );
    const metricsUrl = place && `${(metricsListener ?? server).url}/metrics`;
    const simulated = core.simulator !== undefined;
    telemetry.listening(server.url, { simulated, configs: core.configs().names, metricsUrl });
    return {
      url: server.url,
      metricsUrl,
      core,
      server,
      async reload() {
        await core.credentials.reload();
        if ((await core.liveConfigs?.reload()) !== 'unchanged') return;
        telemetry.configsUnchanged(settings.configFile, { fixed: settings.configs !== undefined });
      },
      retire: () => within(settings.limits.drainMs, server.retire()),
      async [Symbol.asyncDispose]() {
        await core.generations.drain(settings.limits.drainMs);
        await server[Symbol.asyncDispose]();
        await core[Symbol.asyncDispose]();
        await metricsListener?.[Symbol.asyncDispose]();
        await traceExport?.[Symbol.asyncDispose]();
        telemetry.stopped();
        await telemetry.flush();
      },
    };
  } catch (error) {
    await core[Symbol.asyncDispose]();
    await traceExport?.[Symbol.asyncDispose]();
    throw error;
  }
}

/** Undefined where nothing is traced, or where the spans go to a provider that was brought. */
async function startTracing(
  { settings, tracerProvider }: CoreOptions,
  telemetry: Telemetry,
): Promise<TraceExport | undefined> {
  const content = settings.logContent;
  if (tracerProvider) {
    telemetry.traceBy(new Traces(tracerProvider, { content }));
    return undefined;
  }
  const place = tracePlace(settings);
  if (!place) return undefined;
  const opened = await openTraceExport({ ...place, lines: telemetry });
  telemetry.traceBy(new Traces(opened.provider, { content, followCalls: opened.followCalls }));
  return opened;
}

/**
 * Connects the stream logs before the service listens, so that one which can't use its Redis doesn't start. If no Redis answers in
 * time, the service listens all the same: it is not ready, refuses what needs a log, and goes on trying.
 */
async function reachLogs({ logs, telemetry }: ServiceCore): Promise<void> {
  const connected = logs.connect().then(() => true);
  if (await within(reachLogsMs, connected)) return;
  telemetry.logsUnreachable();
  connected.catch((error: unknown) => telemetry.internalError('stream logs', error));
}

/**
 * Whether metrics are served at the main listener, on a listener of their own, or not at all. Whoever reaches the main listener
 * from another machine could read them there without a key.
 */
function metricsPlace({ loopback, metricsPort }: Settings): 'main' | 'own' | undefined {
  if (metricsPort !== undefined) return 'own';
  return loopback ? 'main' : undefined;
}

interface Listeners {
  readonly server: Server;
  /** Undefined where metrics have no listener of their own. */
  readonly metricsListener: MetricsListener | undefined;
}

async function listen(core: ServiceCore, settings: Settings, metrics: Exposition | undefined): Promise<Listeners> {
  const { access, telemetry } = core;
  const { host, port, metricsHost, metricsPort = 0, limits, trustedProxies, openAiDoor } = settings;
  const place = metricsPlace(settings);
  const metricsListener =
    place === 'own'
      ? await startMetricsListener({ host: metricsHost, port: metricsPort, metrics: metrics!, access, telemetry })
      : undefined;
  try {
    const server = await startServer({
      host,
      port,
      router: core.router,
      generations: core.generations,
      configs: core.configs,
      access,
      trustedProxies,
      held: core.held,
      telemetry,
      schemas: createInputSchemas(limits),
      limits,
      openAiDoor,
      page: settings.page,
      metrics: place === 'main' ? metrics : undefined,
    });
    return { server, metricsListener };
  } catch (error) {
    await metricsListener?.[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Opens the configs and builds all of the service but its listener. The caller disposes it.
 *
 * @throws ConfigError if the configs are not valid, SettingsError if a file of keys isn't.
 */
export async function createCore(options: CoreOptions, metrics?: Metrics): Promise<ServiceCore> {
  const { settings, env = {}, cwd = '.' } = options;
  const telemetry = options.telemetry ?? new Telemetry(settings);
  if (settings.unused) telemetry.variablesUnused(settings.unused);
  const liveConfigs =
    options.configs === undefined
      ? await openConfigs({ file: settings.configFile, overrides: settings.configs, cwd, env, telemetry })
      : undefined;
  const snapshot = liveConfigs?.snapshot() ?? parseConfigs(options.configs, { env, readPrompt: promptReader(cwd) });
  telemetry.configsDoubted(settings.configFile, snapshot.warnings);
  const configs = () => liveConfigs?.snapshot() ?? snapshot;
  const credentials = await openCredentials({ settings, cwd, telemetry, configNames: () => configs().names });
  const simulator = settings.simulate ? await startSimulator() : undefined;
  const core = assembleCore({
    settings,
    env,
    configs,
    telemetry,
    metrics,
    credentials,
    simulatorUrl: simulator && (() => simulator.url),
    onGenerationEnd: options.onGenerationEnd,
    retryTiming: options.retryTiming,
    redisTiming: options.redisTiming,
  });
  if (options.watch) liveConfigs?.watch();
  return {
    configs: core.configs,
    generations: core.generations,
    router: core.router,
    access: core.access,
    held: core.held,
    logs: core.logs,
    telemetry: core.telemetry,
    prepare: () => core.prepare(),
    liveConfigs,
    credentials,
    simulator,
    async [Symbol.asyncDispose]() {
      await liveConfigs?.[Symbol.asyncDispose]();
      await credentials[Symbol.asyncDispose]();
      await core[Symbol.asyncDispose]();
      await simulator?.[Symbol.asyncDispose]();
    },
  };
}
