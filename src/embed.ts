/**
 * The service without a listener, as a router for somebody else's tRPC app or for callers in the same process. Knows the parts
 * only through core.ts, and of the app around it only what `authenticate` returns.
 */
import type { TracerProvider } from '@opentelemetry/api';
import type { Registry } from 'prom-client';
import { baseUrlExpected, isBaseUrl } from './upstream/address/base-url.ts';
import { headerNameProblem, headerValueExpected, isHeaderValue, lowerCaseNames } from './upstream/address/headers.ts';
import type { Caller } from './caller.ts';
import { promptReader } from './configs/config-file.ts';
import { ConfigError, parseConfigs, type Configs } from './configs/configs.ts';
import { assembleCore } from './core.ts';
import { LlmError } from './errors.ts';
import { quote, type Problem } from './settings/problems.ts';
import type { OnGenerationEnd } from './generations/generation-end.ts';
import { limitRule, limits as limitTable, type Limit, type Limits } from './settings/limits.ts';
import type { AuthRequest } from './doors/trpc/context.ts';
import type { LlmRouter } from './doors/trpc/router.ts';
import { readSettings } from './settings/settings.ts';
import { startSimulator, type Simulator } from './simulator.ts';
import type { LlmLogger } from './telemetry/log-lines.ts';
import { metricsIn } from './telemetry/metrics.ts';
import { Telemetry, type TelemetryOptions } from './telemetry/telemetry.ts';
import { Traces } from './telemetry/traces.ts';
import { proxyVariablesIn } from './settings/upstream-variables.ts';

/** What an app may give `createLlmRouter`. Each option may be left out. */
export interface LlmRouterOptions {
  /** Sent to Anthropic or to `baseUrl`. Without a key and a `baseUrl` the built-in simulator answers, and `start` says so. */
  readonly apiKey?: string | undefined;
  /** The header that carries the key. Default: `authorization`, with the key as a bearer token. */
  readonly apiKeyHeader?: 'authorization' | 'x-api-key' | undefined;
  /** Another server that speaks the Messages API, without the API's path. */
  readonly baseUrl?: string | undefined;
  /** Sent to Anthropic or to `baseUrl` with each request, never to a config's own `base_url`. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * Finds out who asks, from the request and the context of the app. Where it returns nobody (undefined or null) or throws, the
   * request is refused as `unauthorized`; an LlmError that it throws is passed on unchanged. Without this function everyone is
   * `anonymous` and so owns every generation, since the app's own middlewares do not run before these procedures.
   */
  readonly authenticate?: (request: AuthRequest) => Authenticated | Promise<Authenticated>;
  /** Called for each generation that has ended, with its text and events, for an app that keeps them. */
  readonly onGenerationEnd?: OnGenerationEnd;
  /** Replaces single limits, such as `generationsMax`, which README lists as `LLM_GENERATIONS_MAX`. The others have README's defaults. */
  readonly limits?: Partial<Limits>;
  /** The environment in which the configs' variables and those of proxies (`HTTPS_PROXY`, …) are looked up. Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /**
   * Where stream logs are kept that several instances of the app share, as `REDIS_URL`; in the memory of this process unless
   * given. The router connects when it is used first.
   */
  readonly redisUrl?: string | undefined;
  /** The folder that the paths of prompt files are relative to; without it no config may have one. */
  readonly promptFolder?: string;
  /** The app's own logger: pino's, or any other with `info`, `warn` and `error`. Without it nothing is logged. */
  readonly logger?: LlmLogger | undefined;
  /**
   * For an app without a logger: lines of JSON are written to `destination`, from `logLevel` on (default: `info`). With
   * `logContent` the log holds messages and answers, that of `logger` too.
   */
  readonly telemetry?: Partial<Omit<TelemetryOptions, 'logger'>> | undefined;
  /** The app's registry of prom-client, where the router counts what README lists under "Metrics". Without it nothing is counted. */
  readonly metrics?: Registry | undefined;
  /**
   * The app's tracer provider of OpenTelemetry, which gets the spans that README lists under "Traces". The app flushes it and shuts it
   * down. Without it nothing is traced.
   */
  readonly tracerProvider?: TracerProvider | undefined;
}

/** What an app's `authenticate` returns: the caller, or null or undefined where nobody is known. */
export type Authenticated = Caller | null | undefined;

/**
 * Makes the router that serves the given configs. Mount its procedures under `llm`, where clients look for them:
 *
 *     const llm = createLlmRouter(configs, { apiKey, authenticate: ({ context }) => userOf(context) });
 *     export const appRouter = t.router({ ...ours, llm: llm.llm });
 *
 * or call them in the process by `llm.createCaller({})`. They work under every formatter and transformer. Pass the adapter's
 * `{ req, res, info }` on in your context: the procedures read headers there, and how fast a WebSocket's client reads.
 *
 * Disposing the router drains it: new generations are refused, and running ones may finish within the limit `drainMs`.
 *
 * @throws ConfigError with every problem in the configs, or in `baseUrl` and `headers`; SettingsError for a proxy in `env` that
 *   can't be used; RangeError for a limit that doesn't exist or has no such value.
 */
export function createLlmRouter<C extends Configs<Record<string, string>>>(
  configs: C,
  options: LlmRouterOptions = {},
): LlmRouter<C> & AsyncDisposable {
  const { apiKey: anthropicApiKey, baseUrl: anthropicBaseUrl, authenticate, onGenerationEnd } = options;
  const { headers = {}, apiKeyHeader: upstreamKeyHeader } = options;
  const problems = addressProblems(anthropicBaseUrl, headers);
  if (problems.length > 0) throw new ConfigError('the options of createLlmRouter are not valid:', problems);
  const anthropicCustomHeaders = lowerCaseNames(headers);
  // An option, since an app decides itself which environment its parts may read.
  const { env = process.env } = options;
  const redis = options.redisUrl === undefined ? {} : { REDIS_URL: options.redisUrl };
  const settings = readSettings({ ...proxyVariablesIn(env), ...redis });
  const limits = { ...settings.limits, ...sound(options.limits ?? {}) };
  const telemetry = telemetryOf(options);
  if (options.tracerProvider) {
    telemetry.traceBy(new Traces(options.tracerProvider, { content: telemetry.logsContent }));
  }
  const { promptFolder } = options;
  const snapshot = parseConfigs(configs, {
    env,
    ...(promptFolder === undefined ? {} : { readPrompt: promptReader(promptFolder) }),
  });
  const simulator =
    anthropicApiKey === undefined && anthropicBaseUrl === undefined ? new SimulatorOnDemand() : undefined;
  const core = assembleCore<C>({
    settings: {
      ...settings,
      anthropicApiKey,
      anthropicBaseUrl,
      anthropicCustomHeaders,
      upstreamKeyHeader,
      limits,
    },
    env,
    configs: () => snapshot,
    telemetry,
    metrics: options.metrics && metricsIn(options.metrics),
    simulatorUrl: simulator && (() => simulator.url()),
    authenticate: authenticate && ((request) => callerOf(authenticate, request, telemetry)),
    onGenerationEnd,
    embedded: true,
  });
  return Object.assign(core.router, {
    async [Symbol.asyncDispose]() {
      await core.generations.drain(limits.drainMs);
      await core[Symbol.asyncDispose]();
      await simulator?.[Symbol.asyncDispose]();
    },
  });
}

function addressProblems(baseUrl: string | undefined, headers: Readonly<Record<string, string>>): Problem[] {
  const ofHeaders = Object.entries(headers).flatMap(([name, value]): Problem[] => {
    const problem = headerNameProblem(name) ?? (isHeaderValue(value) ? undefined : headerValueExpected);
    return problem === undefined ? [] : [{ path: `headers[${quote(name)}]`, message: `expected ${problem}` }];
  });
  if (baseUrl === undefined || isBaseUrl(baseUrl)) return ofHeaders;
  return [{ path: 'baseUrl', message: `expected ${baseUrlExpected}, found text, not shown here` }, ...ofHeaders];
}

/** Writes nothing to stdout, which belongs to the app: without a logger and a destination nothing is logged. */
function telemetryOf({ logger, telemetry = {} }: LlmRouterOptions): Telemetry {
  const written = { logLevel: 'info', logContent: false, ...telemetry };
  if (logger) return new Telemetry({ ...written, logger });
  return new Telemetry(telemetry.destination ? written : { ...written, logLevel: 'silent', destination: nowhere });
}

const nowhere = { write: () => {} };

/** The simulator, which the first generation starts, so that making a router opens no socket. */
class SimulatorOnDemand implements AsyncDisposable {
  #started: Promise<Simulator> | undefined;
  #url: Promise<string> | undefined;

  /** The same promise for all callers. It rejects where the simulator can't be started. */
  url(): Promise<string> {
    this.#started ??= startSimulator();
    this.#url ??= this.#started.then(({ url }) => url);
    this.#url.catch(() => {});
    return this.#url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const simulator = await this.#started?.catch(() => undefined);
    await simulator?.[Symbol.asyncDispose]();
  }
}

/** The caller that the app's function returns. Whatever else that function does is a refusal. */
async function callerOf(
  authenticate: NonNullable<LlmRouterOptions['authenticate']>,
  request: AuthRequest,
  telemetry: Telemetry,
): Promise<Caller> {
  let caller: Authenticated;
  try {
    caller = await authenticate(request);
  } catch (error) {
    if (error instanceof LlmError) throw error;
    telemetry.authenticationFailed(error);
    throw new LlmError('unauthorized', 'Not authorized', { cause: error });
  }
  if (typeof caller?.name === 'string' && caller.name !== '') return caller;
  throw new LlmError('unauthorized', 'Not authorized');
}

/** The same limits. @throws RangeError */
function sound(given: Partial<Limits>): Partial<Limits> {
  for (const [key, value] of Object.entries(given)) {
    const limit = Object.entries<Limit>(limitTable).find(([name]) => name === key)?.[1];
    if (!limit) throw new RangeError(`limits.${key}: there is no such limit`);
    const { error } = limitRule(limit).safeParse(value);
    if (error) throw new RangeError(`limits.${key}: expected ${error.issues[0]!.message}, found ${value}`);
  }
  return given;
}
