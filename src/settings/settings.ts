/**
 * The settings of a process, read once from its environment. One table per kind of variable says name, default and
 * meaning, drives the reading and prints the reference. Reads nothing but what it is given, and no message or reference
 * tells a secret's value.
 */
import { BlockList, isIP } from 'node:net';
import { proxyExpected } from '../upstream/address/proxies.ts';
import { flawOfApiKey, parseApiKey, type ApiKey } from '../access/api-keys.ts';
import { FaultsError, quote, suggestion, type Fault } from './faults.ts';
import { limits, type Limit, type Limits } from './limits.ts';
import { isRedisUrl, redisUrlExpected } from './redis-url.ts';
import { sizingFault } from './sizing.ts';
import { findSdkVariables, upstreamVariables, type UpstreamSettings } from './upstream-variables.ts';

export const configFileDefault = 'llm.config.ts';

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface Settings extends UpstreamSettings {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  /** Relative to the working directory. */
  readonly configFile: string;
  /** JSON text, not looked into yet. */
  readonly configs: string | undefined;
  readonly redisUrl: string | undefined;
  /** Empty: everyone may ask. */
  readonly apiKeys: readonly ApiKey[];
  /** As browsers send them. */
  readonly allowedOrigins: readonly string[];
  /** Lower case, without port. */
  readonly allowedHosts: readonly string[];
  readonly auth: 'none' | undefined;
  readonly logLevel: LogLevel;
  readonly logContent: boolean;
  readonly limits: Limits;
  /** Whether `host` can be reached from this machine only. */
  readonly loopback: boolean;
  /** Whether the simulator stands in for upstream: there is neither a key nor a base URL. */
  readonly simulate: boolean;
  /** Variables that are set and make no difference, though somebody may count on them; absent if there are none. */
  readonly unused?: readonly Fault[];
}

/** Settings that a process can't start with. */
export class SettingsError extends FaultsError {
  override readonly name = 'SettingsError';
}

// ------------------------------------------------------------------------------------------------------- variables

export interface Variable<Value> {
  readonly name: string;
  /** Whether the name may be written in lower case too, which goes first, as for curl. */
  readonly lowerCaseToo?: true;
  readonly default: Value;
  readonly expected: string;
  readonly meaning: string;
  /** Set where a value, or what was meant as one, must not be told. */
  readonly secret?: true;
  /** The value of a text that is neither blank nor padded; undefined if there is none. */
  readonly parse: (text: string) => Value | undefined;
  /** As `parse`, for one entry of a list. */
  readonly parseEntry?: (text: string) => unknown;
  /** What is wrong with a text that has no value, in place of what was expected; must not quote a secret. */
  readonly problem?: (text: string) => string;
  /** What is wrong with an entry of a secret list that `parseEntry` doesn't take, without a word of it. */
  readonly flawOf?: (text: string) => string;
}

type Written = Omit<Settings, 'limits' | 'loopback' | 'simulate' | 'unused'>;

const variables: { readonly [Key in keyof Written]: Variable<Written[Key]> } = {
  host: {
    name: 'HOST',
    default: '127.0.0.1',
    expected: 'a host name or an IP address',
    meaning: 'Where to listen. Beyond loopback only with `LLM_API_KEYS` or `LLM_AUTH=none`',
    parse: (text) => (/^[A-Za-z0-9_.:%-]+$/.test(text) ? text : undefined),
  },
  port: {
    name: 'PORT',
    default: 3000,
    expected: 'a whole number from 0 to 65535',
    meaning: 'Where to listen; 0 takes any free port',
    parse: (text) => parseWholeNumber(text, 0, 65_535),
  },
  ...upstreamVariables,
  configFile: {
    name: 'LLM_CONFIG',
    default: configFileDefault,
    expected: 'the path of a file',
    meaning: 'The config file: `.ts`, `.js`, `.json` or `.yaml`',
    parse: (text) => text,
  },
  configs: {
    name: 'LLM_CONFIGS',
    default: undefined,
    expected: 'JSON',
    meaning: 'A map from config name to config, as JSON; its configs replace those of the file that have the same name',
    secret: true,
    parse: (text) => text,
  },
  redisUrl: {
    name: 'REDIS_URL',
    default: undefined,
    expected: redisUrlExpected,
    meaning:
      'Where stream logs are kept that several instances share: `redis://…`, `rediss://…`, several with commas for a cluster; `?prefix=name` goes before all keys. Unset: in the memory of this process',
    secret: true,
    parse: (text) => (isRedisUrl(text) ? text : undefined),
  },
  apiKeys: {
    name: 'LLM_API_KEYS',
    default: [],
    expected: 'name:sha256 pairs, comma-separated, each with the 64 hex digits of a key’s SHA-256',
    meaning: 'Who may ask: `name:sha256`, comma-separated. `llm-service key NAME` makes a key and its entry',
    secret: true,
    ...list(parseApiKey),
    flawOf: flawOfApiKey,
  },
  allowedOrigins: {
    name: 'LLM_ALLOWED_ORIGINS',
    default: [],
    expected: 'origins such as https://app.example.com, comma-separated',
    meaning: 'Origins of other sites whose pages may ask, comma-separated',
    ...list(parseOrigin),
  },
  allowedHosts: {
    name: 'LLM_ALLOWED_HOSTS',
    default: [],
    expected: 'host names without port, comma-separated',
    meaning:
      'Names that the service answers to, comma-separated, beside localhost; beyond loopback beside IP addresses, too. Unless set, a service on loopback answers to no other name, and one beyond it to any',
    ...list(parseHost),
  },
  auth: {
    name: 'LLM_AUTH',
    default: undefined,
    expected: '"none", or nothing',
    meaning: '`none`: whoever reaches a `HOST` beyond loopback may ask. Set `LLM_ALLOWED_HOSTS` with it',
    parse: (text) => (text === 'none' ? text : undefined),
  },
  logLevel: {
    name: 'LOG_LEVEL',
    default: 'info',
    expected: `one of ${logLevels.join(', ')}`,
    meaning: `One of ${logLevels.map((level) => `\`${level}\``).join(', ')}`,
    parse: (text) => logLevels.find((level) => level === text),
  },
  logContent: {
    name: 'LLM_LOG_CONTENT',
    default: false,
    expected: '"1" or "0"',
    meaning: '`1`: logs hold messages and answers',
    parse: (text) => (text === '1' ? true : text === '0' ? false : undefined),
  },
};

// --------------------------------------------------------------------------------------------------------- parsing

function parseWholeNumber(text: string, min: number, max: number): number | undefined {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : undefined;
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

function isUrl(text: string, protocols: readonly string[]): boolean {
  return URL.canParse(text) && protocols.includes(new URL(text).protocol);
}

function list<Entry>(parseEntry: (text: string) => Entry | undefined) {
  function parse(text: string): readonly Entry[] | undefined {
    const entries = entriesOf(text).map((entry) => parseEntry(entry));
    return entries.every((entry) => entry !== undefined) ? entries : undefined;
  }
  return { parse, parseEntry };
}

function entriesOf(text: string): string[] {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

/** Not only of web pages: an app's or extension's own scheme makes an origin too. No path, and `*` is none. */
function parseOrigin(text: string): string | undefined {
  const origin = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*]+(?=\/?$)/i.exec(text)?.[0].toLowerCase();
  if (origin === undefined || !URL.canParse(origin)) return undefined;
  return isUrl(origin, ['http:', 'https:']) ? new URL(origin).origin : origin;
}

function parseHost(text: string): string | undefined {
  const host = text.toLowerCase();
  return URL.canParse(`http://${host}`) && new URL(`http://${host}`).hostname === host ? host : undefined;
}

const loopbackAddresses = new BlockList();
loopbackAddresses.addSubnet('127.0.0.0', 8);
loopbackAddresses.addAddress('::1', 'ipv6');

/** Whether a name or an address is this machine's own: localhost, anything in 127.0.0.0/8, `::1` (also in brackets). */
export function isLoopback(name: string): boolean {
  const host = name.replace(/^\[(.*)\]$/, '$1');
  if (host.toLowerCase() === 'localhost') return true;
  const version = isIP(host);
  return version !== 0 && loopbackAddresses.check(host, version === 4 ? 'ipv4' : 'ipv6');
}

// --------------------------------------------------------------------------------------------------------- reading

/** How long a spent id is remembered with Redis, unless LLM_TOMBSTONE_MS says otherwise. */
const redisTombstoneMs = 60 * 60_000;
/** The longest delay that a Node timer takes; a longer one would fire at once. */
const delayMsMax = 2 ** 31 - 1;

const limitVariables = Object.entries<Limit>(limits).map(([key, limit]) => [key, limitVariable(limit)] as const);

function limitVariable({ name, default: value, min, meaning }: Limit): Variable<number> {
  const max = name.endsWith('_MS') ? delayMsMax : Number.MAX_SAFE_INTEGER;
  return {
    name,
    default: value,
    expected: `a whole number ${max === delayMsMax ? `from ${min} to ${max}` : `of at least ${min}`}`,
    meaning,
    parse: (text) => parseWholeNumber(text, min, max),
  };
}

/**
 * Reads all settings. A variable that is empty or blank counts as unset, as compose files write `${NAME:-}`. One that
 * starts with `LLM_` and isn't ours is a fault, since a limit with a typo would be no limit.
 *
 * @throws SettingsError that tells every fault there is.
 */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const faults: Fault[] = [];
  const read = <Value>([key, variable]: readonly [string, Variable<Value>]) => [key, readOne(variable, env, faults)];
  const settings = {
    ...(Object.fromEntries(Object.entries<Variable<unknown>>(variables).map(read)) as Written),
    limits: Object.fromEntries(limitVariables.map(read)) as Limits,
  };
  if (settings.redisUrl !== undefined && !env[limits.tombstoneMs.name]?.trim()) {
    // Redis keeps each spent id as a key of its own, so a day of them would take more memory than the logs.
    settings.limits = { ...settings.limits, tombstoneMs: redisTombstoneMs };
  }
  const loopback = isLoopback(settings.host);
  const keyed = settings.anthropicApiKey !== undefined || settings.anthropicAuthToken !== undefined;
  const simulate = !keyed && settings.anthropicBaseUrl === undefined;
  const { refused, unused } = findSdkVariables(env, keyed);

  faults.push(...contradictions({ ...settings, loopback }, faults), ...refused, ...unknownNames(env));
  if (faults.length > 0) throw new SettingsError('these environment variables are not valid:', faults);
  return { ...settings, loopback, simulate, ...(unused.length > 0 ? { unused } : {}) };
}

function readOne<Value>(
  variable: Variable<Value>,
  env: Readonly<Record<string, string | undefined>>,
  faults: Fault[],
): Value {
  const names = variable.lowerCaseToo ? [variable.name.toLowerCase(), variable.name] : [variable.name];
  const path = names.find((name) => env[name]?.trim());
  if (path === undefined) return variable.default;
  const text = env[path]!.trim();
  const value = variable.parse(text);
  if (value !== undefined) return value;
  const message = variable.problem?.(text) ?? `expected ${variable.expected}, found ${foundInstead(variable, text)}`;
  faults.push({ path, message });
  return variable.default;
}

function foundInstead({ secret, parseEntry, flawOf = () => 'another form' }: Variable<unknown>, text: string): string {
  if (!parseEntry) return secret ? 'text, not shown here' : quote(text);
  const entries = entriesOf(text);
  const index = entries.findIndex((entry) => parseEntry(entry) === undefined);
  const entry = entries[index]!;
  return secret ? `${flawOf(entry)} in entry ${index + 1} of ${entries.length}` : quote(entry);
}

/** What is wrong between variables that are right one by one. */
function contradictions(settings: Omit<Settings, 'simulate'>, faults: readonly Fault[]): Fault[] {
  const { host, loopback, apiKeys, auth, limits: bounds } = settings;
  const faulty = new Set(faults.map(({ path }) => path));
  const found: Fault[] = [];
  function check([path, ...others]: readonly [string, ...string[]], sound: boolean, message: string) {
    if (!sound && ![path, ...others].some((name) => faulty.has(name))) found.push({ path, message });
  }
  check(
    ['ALL_PROXY'],
    settings.allProxy !== '' || (settings.httpProxy !== undefined && settings.httpsProxy !== undefined),
    `expected ${proxyExpected}, found text, not shown here`,
  );
  const digests = new Set(apiKeys.map(({ sha256 }) => sha256));
  check(['LLM_API_KEYS'], digests.size === apiKeys.length, 'expected each key once, found one twice');
  check(
    ['LLM_AUTH', 'LLM_API_KEYS'],
    auth === undefined || apiKeys.length === 0,
    'expected nothing, since LLM_API_KEYS is set, found "none"',
  );
  check(
    ['HOST', 'LLM_API_KEYS', 'LLM_AUTH'],
    loopback || apiKeys.length > 0 || auth === 'none',
    `${quote(host)} lets other machines in; set LLM_API_KEYS, or LLM_AUTH=none if everyone may ask`,
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

/** What is valid, and may not hold what its author counts on, in a process with a heap of so many bytes. */
export function doubtsOf(settings: Settings, heapBytes: number): Fault[] {
  const { loopback, auth, allowedHosts } = settings;
  const tooLarge = sizingFault(settings.limits, heapBytes);
  const anyName =
    'everyone may ask under any name, so a web page that has its own name resolve to this address may, too; name those of this service';
  return [
    ...(tooLarge ? [tooLarge] : []),
    ...(!loopback && auth === 'none' && allowedHosts.length === 0
      ? [{ path: 'LLM_ALLOWED_HOSTS', message: anyName }]
      : []),
  ];
}

const knownNames = [...Object.values<Variable<unknown>>(variables), ...Object.values(limits)].map(({ name }) => name);

function unknownNames(env: Readonly<Record<string, string | undefined>>): Fault[] {
  return Object.entries(env).flatMap(([name, value = '']) => {
    if (!name.startsWith('LLM_') || value.trim() === '' || knownNames.includes(name) || isServiceLink(name, value))
      return [];
    return [{ path: name, message: `unknown variable${suggestion(name, knownNames)}` }];
  });
}

/** What Kubernetes and Docker links put into the environment for a service that is itself called `llm` or `llm-…`. */
function isServiceLink(name: string, value: string): boolean {
  return (
    /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/.test(name) ||
    (name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value))
  );
}

// ------------------------------------------------------------------------------------------------------- reference

/** All variables as two Markdown tables, for the README. */
export function settingsReference(): string {
  const settingRows = Object.values<Variable<unknown>>(variables).map((variable) => [
    code(variable.name),
    typeof variable.default === 'string' || typeof variable.default === 'number' ? code(variable.default) : '',
    variable.meaning,
  ]);
  const limitRows = Object.values<Limit>(limits).map((limit) => [
    code(limit.name),
    `${code(limit.default)}${inWords(limit)}`,
    code(limit.min),
    limit.meaning,
  ]);
  const settingTable = markdownTable(['Variable', 'Default', 'Meaning'], settingRows);
  return `${settingTable}\n${markdownTable(['Limit', 'Default', 'Least', 'Meaning'], limitRows)}`;
}

function code(value: string | number): string {
  return `\`${value}\``;
}

const roundUnits = [
  { end: '_BYTES_MAX', one: 2 ** 20, word: 'MiB' },
  { end: '_BYTES_MAX', one: 2 ** 10, word: 'KiB' },
  { end: '_MS', one: 3_600_000, word: 'h' },
  { end: '_MS', one: 60_000, word: 'min' },
  { end: '_MS', one: 1_000, word: 's' },
];

function inWords({ name, default: value }: Limit): string {
  const unit = roundUnits.find(({ end, one }) => name.endsWith(end) && value % one === 0);
  return unit === undefined ? '' : ` (${value / unit.one} ${unit.word})`;
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  return [head, head.map(() => '---'), ...rows].map((row) => line(row)).join('');
}
