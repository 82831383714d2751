/**
 * The service without a listener, as a router for somebody else's tRPC app, or for callers in the same process. Knows the
 * parts only through core.ts, and nothing of the app that it is mounted in but what `authenticate` makes of it.
 */
import { baseUrlExpected, isBaseUrl } from './upstream/address/base-url.ts';
import { headerNameProblem, headerValueExpected, isHeaderValue, lowerCaseNames } from './upstream/address/headers.ts';
import type { Caller } from './caller.ts';
import { promptReader } from './configs/config-file.ts';
import { ConfigError, parseConfigs, type Configs } from './configs/configs.ts';
import { assembleCore } from './core.ts';
import { LlmError } from './errors.ts';
import { quote, type Fault } from './settings/faults.ts';
import type { OnGenerationEnd } from './generations/generation-end.ts';
import { limits as limitTable, type Limits } from './settings/limits.ts';
import type { AuthRequest, LlmRouter } from './doors/trpc/router.ts';
import { readSettings } from './settings/settings.ts';
import { startSimulator, type Simulator } from './simulator.ts';
import type { LlmLogger } from './telemetry/log-lines.ts';
import { Telemetry, type TelemetryOptions } from './telemetry/telemetry.ts';
import { proxyVariablesIn } from './settings/upstream-variables.ts';

export interface LlmRouterOptions {
  /** Goes to Anthropic or to `baseUrl`. With neither of them the built-in simulator answers, and says so in `start`. */
  readonly apiKey?: string | undefined;
  /** The header that carries the key: `authorization`, as a bearer token, unless given. */
  readonly apiKeyHeader?: 'authorization' | 'x-api-key' | undefined;
  /** Another server that speaks the Messages API, without the API's path. */
  readonly baseUrl?: string | undefined;
  /** Sent to Anthropic or to `baseUrl` with each request, never to a config's own `base_url`. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * Who asks, from the request and the context of the app. Nobody (undefined), or whatever is thrown, is refused as
   * `unauthorized`; a thrown LlmError is passed on as it is. Without this, everyone is `anonymous` and so the owner of
   * every generation: the app's own middlewares do not run before these procedures.
   */
  readonly authenticate?: (request: AuthRequest) => Authenticated | Promise<Authenticated>;
  /** Told of each generation that has ended, to keep what was said. */
  readonly onGenerationEnd?: OnGenerationEnd;
  /** Replaces single bounds, such as `generationsMax`, which README lists as `LLM_GENERATIONS_MAX`; others keep its defaults. */
  readonly limits?: Partial<Limits>;
  /** Where the variables are looked up that a config names, and those that name proxies (`HTTPS_PROXY`, …); `process.env` unless given. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /**
   * Where stream logs are kept that several instances of the app share, as `REDIS_URL`; in the memory of this process unless
   * given. The router connects when it is used first.
   */
  readonly redisUrl?: string | undefined;
  /** The folder that the paths of prompt files are relative to; without it no config may have one. */
  readonly promptFolder?: string;
  /** The app's own logger: pino's, or any with its `info`, `warn` and `error`. Without it nothing is logged. */
  readonly logger?: LlmLogger | undefined;
  /**
   * For an app without a logger: `destination` is where lines of JSON are written, from `logLevel` on (`info` unless given).
   * `logContent` lets messages and answers into the log, also into that of `logger`.
   */
  readonly telemetry?: Partial<Omit<TelemetryOptions, 'logger'>> | undefined;
}

type Authenticated = Caller | null | undefined;

/**
 * Makes the router that serves the given configs. Mount its procedures under `llm`, where clients look for them:
 *
 *     const llm = createLlmRouter(configs, { apiKey, authenticate: ({ context }) => userOf(context) });
 *     export const appRouter = t.router({ ...ours, llm: llm.llm });
 *
 * or call them without any transport by `llm.createCaller({})`. They work under every formatter and transformer. Pass the
 * adapter's `{ req, res, info }` on in your context: headers are read there, and a WebSocket's pace.
 *
 * Disposing it drains, as a service does: new generations are refused, running ones may finish within `drainMs`.
 *
 * @throws ConfigError that tells every fault in the configs, or in `baseUrl` and `headers`; SettingsError for a proxy in `env`
 *   that can't be used; RangeError for a limit that is none.
 */
export function createLlmRouter<C extends Configs<Record<string, string>>>(
  configs: C,
  options: LlmRouterOptions = {},
): LlmRouter<C> & AsyncDisposable {
  const { apiKey: anthropicApiKey, baseUrl: anthropicBaseUrl, authenticate, onGenerationEnd } = options;
  const { headers = {}, apiKeyHeader: upstreamKeyHeader } = options;
  const faults = addressFaults(anthropicBaseUrl, headers);
  if (faults.length > 0) throw new ConfigError('the options of createLlmRouter are not valid:', faults);
  const anthropicCustomHeaders = lowerCaseNames(headers);
  // The app's own environment, which is nobody's but the app's to read: hence an option.
  const { env = process.env } = options;
  const settings = readSettings(proxyVariablesIn(env));
  const limits = { ...settings.limits, ...sound(options.limits ?? {}) };
  const telemetry = telemetryOf(options);
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
      redisUrl: options.redisUrl,
      limits,
    },
    env,
    configs: () => snapshot,
    telemetry,
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

function addressFaults(baseUrl: string | undefined, headers: Readonly<Record<string, string>>): Fault[] {
  const ofHeaders = Object.entries(headers).flatMap(([name, value]): Fault[] => {
    const problem = headerNameProblem(name) ?? (isHeaderValue(value) ? undefined : headerValueExpected);
    return problem === undefined ? [] : [{ path: `headers[${quote(name)}]`, message: `expected ${problem}` }];
  });
  if (baseUrl === undefined || isBaseUrl(baseUrl)) return ofHeaders;
  return [{ path: 'baseUrl', message: `expected ${baseUrlExpected}, found text, not shown here` }, ...ofHeaders];
}

/** Standard output is the app's: whatever is logged goes where the app says. */
function telemetryOf({ logger, telemetry = {} }: LlmRouterOptions): Telemetry {
  const written = { logLevel: 'info', logContent: false, ...telemetry };
  if (logger) return new Telemetry({ ...written, logger: harmless(logger) });
  return new Telemetry(telemetry.destination ? written : { ...written, logLevel: 'silent', destination: nowhere });
}

const nowhere = { write: () => {} };

/** A logger that throws ends no generation. */
function harmless(logger: LlmLogger): LlmLogger {
  const calling = (level: keyof LlmLogger) => (facts: object, message: string) => {
    try {
      logger[level](facts, message);
    } catch {
      // There is nowhere else to say it.
    }
  };
  return { info: calling('info'), warn: calling('warn'), error: calling('error') };
}

/** Started by the first generation, so that making a router opens nothing. */
class SimulatorOnDemand implements AsyncDisposable {
  #started: Promise<Simulator> | undefined;
  #url: Promise<string> | undefined;

  /** One promise for all, and whoever needs the URL hears of a failure. */
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

/** Fails closed: whatever the host's function does but naming a caller is a refusal. */
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

function sound(given: Partial<Limits>): Partial<Limits> {
  for (const [key, value] of Object.entries(given)) {
    const limit = Object.entries(limitTable).find(([name]) => name === key)?.[1];
    if (!limit) throw new RangeError(`limits.${key}: there is no such limit`);
    if (!Number.isSafeInteger(value) || value < limit.min) {
      throw new RangeError(`limits.${key}: expected a whole number of at least ${limit.min}, found ${value}`);
    }
  }
  return given;
}
