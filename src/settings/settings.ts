/**
 * The settings of a process, read once from the variables of its environment. What the variables are stands in
 * service-variables.ts, upstream-variables.ts, trace-variables.ts and limits.ts. Reads nothing but the environment that it is given, and no
 * message shows the value of a secret.
 */
import { proxyExpected } from '../upstream/address/proxies.ts';
import { limitVariables, limits, type Limits } from './limits.ts';
import { isLoopback } from './loopback.ts';
import { ProblemsError, quote, suggestion, type Problem } from './problems.ts';
import { findSdkVariables } from './sdk-variables.ts';
import { serviceVariables, type ServiceVariables } from './service-variables.ts';
import { sizingProblem } from './sizing.ts';
import { traceDoubts, traceVariables, type TraceVariables } from './trace-variables.ts';
import { upstreamVariables, type UpstreamVariables } from './upstream-variables.ts';
import { readVariable, type Environment, type Variable } from './variable.ts';

/** The settings of a service, as `readSettings` returns them. */
export interface Settings extends ServiceVariables, UpstreamVariables, TraceVariables {
  /** Bounds on what clients may cost. */
  readonly limits: Limits;
  /** Whether only this machine can reach `host`. */
  readonly loopback: boolean;
  /** Whether the simulator stands in for upstream, since there is neither a key nor a base URL. */
  readonly simulate: boolean;
  /** Variables that are set and change nothing, though somebody may count on them; absent if there are none. */
  readonly unused?: readonly Problem[];
}

/** The settings are not valid, and the process can't start with them. */
export class SettingsError extends ProblemsError {
  override readonly name = 'SettingsError';
}

/** How long a spent id is remembered with Redis, unless LLM_TOMBSTONE_MS says otherwise. */
const redisTombstoneMs = 60 * 60_000;

const variables = { ...serviceVariables, ...upstreamVariables, ...traceVariables };

/**
 * Reads all settings. A variable that begins with `LLM_` and is not known is a problem, since a limit with a misspelt name
 * would otherwise limit nothing.
 *
 * @throws SettingsError with every problem that was found.
 */
export function readSettings(environment: Environment): Settings {
  const env = withoutServiceLinks(environment);
  const problems: Problem[] = [];
  const read = <Value>([key, variable]: readonly [string, Variable<Value>]) => [
    key,
    readVariable(variable, env, problems),
  ];
  const settings = {
    ...(Object.fromEntries(Object.entries<Variable>(variables).map(read)) as ServiceVariables &
      UpstreamVariables &
      TraceVariables),
    limits: Object.fromEntries(Object.entries(limitVariables).map(read)) as Limits,
  };
  if (settings.redisUrl !== undefined && !env[limits.tombstoneMs.name]?.trim()) {
    // Redis keeps each spent id as a key of its own, so a day of them would take more memory than the logs.
    settings.limits = { ...settings.limits, tombstoneMs: redisTombstoneMs };
  }
  const loopback = isLoopback(settings.host);
  const keyed = settings.anthropicApiKey !== undefined || settings.anthropicAuthToken !== undefined;
  const simulate = !keyed && settings.anthropicBaseUrl === undefined;
  const { refused, unused } = findSdkVariables(env, keyed);

  problems.push(...contradictions({ ...settings, loopback }, problems), ...refused, ...unknownNames(env));
  if (problems.length > 0) throw new SettingsError('these environment variables are not valid:', problems);
  return { ...settings, loopback, simulate, ...(unused.length > 0 ? { unused } : {}) };
}

/** Problems between variables that are right by themselves. A check is left out where one of its variables is wrong already. */
function contradictions(settings: Omit<Settings, 'simulate'>, problems: readonly Problem[]): Problem[] {
  const { host, loopback, apiKeys, auth, limits: bounds } = settings;
  const wrong = new Set(problems.map(({ path }) => path));
  const found: Problem[] = [];
  function check([path, ...others]: readonly [string, ...string[]], holds: boolean, message: string) {
    if (!holds && ![path, ...others].some((name) => wrong.has(name))) found.push({ path, message });
  }
  check(
    ['ALL_PROXY'],
    settings.allProxy !== '' || (settings.httpProxy !== undefined && settings.httpsProxy !== undefined),
    `expected ${proxyExpected}, found text, not shown here`,
  );
  const digests = new Set(apiKeys.map(({ sha256 }) => sha256));
  check(['LLM_API_KEYS'], digests.size === apiKeys.length, 'expected each key once, found one twice');
  const sources = sourcesOfCallers(settings);
  const [source] = sources;
  const keySet = sources.find((name) => name.startsWith('LLM_JWKS_'));
  check(
    ['LLM_API_KEYS_FILE', 'LLM_API_KEYS'],
    !sources.includes('LLM_API_KEYS') || !sources.includes('LLM_API_KEYS_FILE'),
    'expected nothing, since LLM_API_KEYS is set, found a file',
  );
  check(
    ['LLM_JWKS_FILE', 'LLM_JWKS_URL'],
    !sources.includes('LLM_JWKS_URL') || !sources.includes('LLM_JWKS_FILE'),
    'expected nothing, since LLM_JWKS_URL is set, found a file',
  );
  for (const [name, value, claim] of [
    ['LLM_JWT_ISSUER', settings.jwtIssuer, 'iss'],
    ['LLM_JWT_AUDIENCE', settings.jwtAudience, 'aud'],
  ] as const) {
    const places = [name, 'LLM_JWKS_URL', 'LLM_JWKS_FILE'] as const;
    check(
      places,
      keySet === undefined || value !== undefined,
      `expected the ${quote(claim)} of the tokens, since ${keySet} is set, found nothing`,
    );
    check(
      places,
      keySet !== undefined || value === undefined,
      'expected LLM_JWKS_URL or LLM_JWKS_FILE beside it, found neither, so that no token is taken',
    );
  }
  check(
    ['LLM_AUTH', ...sourceNames],
    auth === undefined || source === undefined,
    `expected nothing, since ${source} is set, found "none"`,
  );
  check(
    ['HOST', 'LLM_AUTH', ...sourceNames],
    loopback || source !== undefined || auth === 'none',
    `${quote(host)} lets other machines in; set LLM_API_KEYS, or LLM_AUTH=none if everyone may ask`,
  );
  const { port, metricsPort, metricsHost } = settings;
  check(
    ['LLM_METRICS_PORT', 'PORT'],
    metricsPort === undefined || metricsPort === 0 || metricsPort !== port,
    `expected another port than PORT, found ${metricsPort}`,
  );
  check(
    ['LLM_METRICS_HOST', 'LLM_METRICS_PORT'],
    metricsPort !== undefined || metricsHost === serviceVariables.metricsHost.default,
    `expected nothing, since LLM_METRICS_PORT is not set, found ${quote(metricsHost)}`,
  );
  for (const key of ['logsBytesMax', 'logsBytesPerCallerMax'] as const) {
    check(
      [limits[key].name, 'LLM_LOG_BYTES_MAX'],
      bounds[key] >= bounds.logBytesMax,
      `expected at least LLM_LOG_BYTES_MAX, which is ${bounds.logBytesMax}, found ${bounds[key]}`,
    );
  }
  return found;
}

const sourceNames = ['LLM_API_KEYS', 'LLM_API_KEYS_FILE', 'LLM_JWKS_URL', 'LLM_JWKS_FILE'] as const;

/** The variables that are set of those that say who may ask. */
function sourcesOfCallers({ apiKeys, apiKeysFile, jwksUrl, jwksFile }: ServiceVariables): string[] {
  const set = [apiKeys.length > 0, apiKeysFile !== undefined, jwksUrl !== undefined, jwksFile !== undefined];
  return sourceNames.filter((_name, at) => set[at]);
}

/** Warnings about settings that are valid and may not protect as their author expects, in a process with a heap of this many bytes. */
export function doubtsOf(settings: Settings, heapBytes: number): Problem[] {
  const { loopback, auth, allowedHosts, jwksUrl } = settings;
  const overHttp = jwksUrl !== undefined && /^http:/i.test(jwksUrl) && !isLoopback(new URL(jwksUrl).hostname);
  const anyIssuer =
    'the keys of the issuer come over http, so whoever can change what is sent on the way can make tokens; use https';
  const tooLarge = sizingProblem(settings.limits, heapBytes);
  const anyName =
    'everyone may ask under any host name, so a web page whose own name resolves to this address may ask too; list the names of this service';
  return [
    ...(tooLarge ? [tooLarge] : []),
    ...(overHttp ? [{ path: 'LLM_JWKS_URL', message: anyIssuer }] : []),
    ...traceDoubts(settings),
    ...(!loopback && auth === 'none' && allowedHosts.length === 0
      ? [{ path: 'LLM_ALLOWED_HOSTS', message: anyName }]
      : []),
  ];
}

const knownNames = [...Object.values<Variable>(variables), ...Object.values<Variable>(limitVariables)].map(
  ({ name }) => name,
);

function unknownNames(env: Environment): Problem[] {
  return Object.entries(env).flatMap(([name, value = '']) => {
    if (!name.startsWith('LLM_') || value.trim() === '' || knownNames.includes(name)) return [];
    return [{ path: name, message: `unknown variable${suggestion(name, knownNames)}` }];
  });
}

/** A service that is called `llm-metrics` sets LLM_METRICS_PORT, for one. */
function withoutServiceLinks(env: Environment): Environment {
  return Object.fromEntries(Object.entries(env).filter(([name, value = '']) => !isServiceLink(name, value)));
}

/** Whether Kubernetes or a Docker link set the variable, for a service that is itself called `llm` or `llm-…`. */
function isServiceLink(name: string, value: string): boolean {
  return (
    /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/.test(name) ||
    (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value))
  );
}
