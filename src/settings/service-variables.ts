/**
 * The variables of the environment that say how the service itself runs: where it listens, which configs it serves, who may
 * ask, what it logs. Those of upstream stand in upstream-variables.ts, the bounds in limits.ts.
 */
import { z } from 'zod';
import { flawOfApiKey, parseApiKey, type ApiKey } from '../access/api-keys.ts';
import { isNetwork, networkExpected } from '../access/client-address.ts';
import { isRedisUrl, redisUrlExpected } from './redis-url.ts';
import { text, wholeNumber } from './rules.ts';
import { digits, list, readable, type Variable } from './variable.ts';

export const configFileDefault = 'llm.config.ts';

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
/** A level of log lines, the least important first. `silent` logs nothing. */
export type LogLevel = (typeof logLevels)[number];

/** Settings of the service itself. */
export interface ServiceVariables {
  /** The name or address to listen on: `HOST`. */
  readonly host: string;
  /** The port to listen on: `PORT`. 0 takes any free port. */
  readonly port: number;
  /** The path of the config file, relative to the working directory: `LLM_CONFIG`. */
  readonly configFile: string;
  /** The JSON text of `LLM_CONFIGS`, which is parsed where the configs are loaded. */
  readonly configs: string | undefined;
  /** Where stream logs are kept that several instances share: `REDIS_URL`. Undefined: in the memory of this process. */
  readonly redisUrl: string | undefined;
  /** The keys of callers: `LLM_API_KEYS`. Empty where everyone may ask. */
  readonly apiKeys: readonly ApiKey[];
  /** The path of a file with the keys of callers, relative to the working directory: `LLM_API_KEYS_FILE`. */
  readonly apiKeysFile: string | undefined;
  /** Where the public keys of an issuer of tokens are: `LLM_JWKS_URL`. */
  readonly jwksUrl: string | undefined;
  /** The path of a file with such keys, relative to the working directory: `LLM_JWKS_FILE`. */
  readonly jwksFile: string | undefined;
  /** The `iss` that a token must have: `LLM_JWT_ISSUER`. */
  readonly jwtIssuer: string | undefined;
  /** The `aud` that a token must have: `LLM_JWT_AUDIENCE`. */
  readonly jwtAudience: string | undefined;
  /** The claim of a token that names the caller: `LLM_JWT_CALLER_CLAIM`. */
  readonly jwtCallerClaim: string;
  /** Origins of other sites whose pages may ask, in the spelling of browsers: `LLM_ALLOWED_ORIGINS`. */
  readonly allowedOrigins: readonly string[];
  /** Names under which the service may be asked, in lower case, without port: `LLM_ALLOWED_HOSTS`. */
  readonly allowedHosts: readonly string[];
  /** Addresses and networks of proxies whose `X-Forwarded-For` is believed: `LLM_TRUSTED_PROXIES`. */
  readonly trustedProxies: readonly string[];
  /** `none` where everyone may ask although other machines reach the service: `LLM_AUTH`. */
  readonly auth: 'none' | undefined;
  /** Whether clients of OpenAI's and Anthropic's APIs are served under `/v1`: `LLM_OPENAI_DOOR`. */
  readonly openAiDoor: boolean;
  /** The least level of log lines: `LOG_LEVEL`. */
  readonly logLevel: LogLevel;
  /** Whether the log holds messages and answers: `LLM_LOG_CONTENT`. */
  readonly logContent: boolean;
  /** Whether the service serves its page: `LLM_PAGE`. */
  readonly page: boolean;
  /** The port of the listener that serves metrics alone: `LLM_METRICS_PORT`. 0 takes any free port. */
  readonly metricsPort: number | undefined;
  /** The name or address of that listener: `LLM_METRICS_HOST`. */
  readonly metricsHost: string;
}

/** A name or an address that a listener can be given. */
const hostRule = () => text().regex(/^[A-Za-z0-9_.:%-]+$/, { error: 'a host name or an IP address' });

const apiKey = z.string().transform((entry, { issues }): ApiKey => {
  const key = parseApiKey(entry);
  if (key) return key;
  const message = 'name:sha256 pairs, comma-separated, each with the 64 hex digits of a key’s SHA-256';
  issues.push({ code: 'custom', input: entry, message, params: { found: flawOfApiKey(entry) } });
  return z.NEVER;
});

export const serviceVariables: { readonly [Key in keyof ServiceVariables]: Variable<ServiceVariables[Key]> } = {
  host: {
    name: 'HOST',
    rule: hostRule(),
    default: '127.0.0.1',
    meaning:
      'The name or address to listen on. One that other machines reach needs keys, tokens (`LLM_API_KEYS`, `LLM_API_KEYS_FILE`, `LLM_JWKS_URL`, `LLM_JWKS_FILE`), or `LLM_AUTH=none`',
  },
  port: {
    name: 'PORT',
    rule: digits(wholeNumber(0, 65_535)),
    default: 3000,
    meaning: 'The port to listen on; 0 takes any free port',
  },
  configFile: {
    name: 'LLM_CONFIG',
    rule: text(),
    default: configFileDefault,
    meaning: 'The config file: `.ts`, `.js`, `.json` or `.yaml`',
  },
  configs: {
    name: 'LLM_CONFIGS',
    rule: text(),
    default: undefined,
    meaning: 'A map from config name to config, as JSON. Its configs replace those of the file that have the same name',
    secret: true,
  },
  redisUrl: {
    name: 'REDIS_URL',
    rule: text().refine(isRedisUrl, { error: redisUrlExpected }),
    default: undefined,
    meaning:
      'Where stream logs are kept that several instances share: `redis://…`, `rediss://…` for TLS, several with commas for a cluster; `?prefix=name` goes before all keys. Unset: in the memory of this process',
    secret: true,
  },
  apiKeys: {
    name: 'LLM_API_KEYS',
    rule: list(apiKey),
    default: [],
    meaning: 'The keys of callers as `name:sha256`, comma-separated. `llm-service key NAME` makes a key and its entry',
    secret: true,
  },
  apiKeysFile: {
    name: 'LLM_API_KEYS_FILE',
    rule: text(),
    default: undefined,
    meaning:
      'A JSON file with the keys of callers, in place of `LLM_API_KEYS`: see [Keys](#keys). The service reads it again when it changes',
  },
  jwksUrl: {
    name: 'LLM_JWKS_URL',
    rule: text().refine(isKeySetUrl, { error: 'an https or http URL without a user name and password' }),
    default: undefined,
    meaning:
      'Where an issuer of tokens publishes its keys, as a JSON Web Key Set. Callers may then show its JWTs in place of keys',
    secret: true,
  },
  jwksFile: {
    name: 'LLM_JWKS_FILE',
    rule: text(),
    default: undefined,
    meaning: 'A file with such a set, in place of `LLM_JWKS_URL`. The service reads it again when it changes',
  },
  jwtIssuer: {
    name: 'LLM_JWT_ISSUER',
    rule: text(),
    default: undefined,
    meaning: 'The `iss` that tokens must have. Needed with `LLM_JWKS_URL` and `LLM_JWKS_FILE`',
  },
  jwtAudience: {
    name: 'LLM_JWT_AUDIENCE',
    rule: text(),
    default: undefined,
    meaning: 'The `aud` that tokens must have, so that no token for another service counts here. Needed with them, too',
  },
  jwtCallerClaim: {
    name: 'LLM_JWT_CALLER_CLAIM',
    rule: text(),
    default: 'sub',
    meaning: 'The claim of a token that names the caller',
  },
  allowedOrigins: {
    name: 'LLM_ALLOWED_ORIGINS',
    rule: list(readable('origins such as https://app.example.com, comma-separated', parseOrigin)),
    default: [],
    meaning: 'Origins of other sites whose pages may ask, comma-separated',
  },
  allowedHosts: {
    name: 'LLM_ALLOWED_HOSTS',
    rule: list(readable('host names without port, comma-separated', parseHost)),
    default: [],
    meaning:
      'Names under which the service may be asked, comma-separated; localhost always may be, and IP addresses where `HOST` is beyond loopback. Unless set, a service on loopback accepts no other name, and a service beyond loopback accepts every name',
  },
  trustedProxies: {
    name: 'LLM_TRUSTED_PROXIES',
    rule: list(text().refine(isNetwork, { error: networkExpected })),
    default: [],
    meaning:
      'Addresses and networks of proxies, comma-separated. `LLM_SOCKETS_PER_ADDRESS_MAX` counts by the `X-Forwarded-For` that they send; that of nobody else is believed',
  },
  auth: {
    name: 'LLM_AUTH',
    rule: z.literal('none', { error: '"none", or nothing' }),
    default: undefined,
    meaning: '`none`: everyone who reaches a `HOST` beyond loopback may ask. Set `LLM_ALLOWED_HOSTS` with it',
  },
  openAiDoor: {
    name: 'LLM_OPENAI_DOOR',
    rule: z.stringbool({ truthy: ['1'], falsy: ['0'], error: '"1" or "0"' }),
    default: false,
    meaning:
      '`1`: clients of OpenAI’s and Anthropic’s APIs are served under `/v1`: see [docs/front-ends.md](docs/front-ends.md)',
  },
  logLevel: {
    name: 'LOG_LEVEL',
    rule: z.enum(logLevels, { error: `one of ${logLevels.join(', ')}` }),
    default: 'info',
    meaning: `The least level of log lines: ${logLevels.map((level) => `\`${level}\``).join(', ')}`,
  },
  logContent: {
    name: 'LLM_LOG_CONTENT',
    rule: z.stringbool({ truthy: ['1'], falsy: ['0'], error: '"1" or "0"' }),
    default: false,
    meaning: '`1`: the log holds messages and answers, and so do [traces](#traces)',
  },
  page: {
    name: 'LLM_PAGE',
    rule: z.stringbool({ truthy: ['on'], falsy: ['off'], error: '"on" or "off"' }),
    default: true,
    meaning: '`off`: the service serves no page',
  },
  metricsPort: {
    name: 'LLM_METRICS_PORT',
    rule: digits(wholeNumber(0, 65_535)),
    default: undefined,
    meaning:
      'The port of a listener that serves `/metrics` and nothing else; 0 takes any free port. Unless set, a service on loopback serves them on `PORT`, and a service beyond loopback nowhere',
  },
  metricsHost: {
    name: 'LLM_METRICS_HOST',
    rule: hostRule(),
    default: '127.0.0.1',
    meaning: 'The name or address of that listener. Whoever reaches it reads the metrics, without a key',
  },
};

/** An app's or an extension's own scheme makes an origin too, not only a web page's. A path is not part of one, and `*` is none. */
function parseOrigin(written: string): string | undefined {
  const origin = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*]+(?=\/?$)/i.exec(written)?.[0].toLowerCase();
  if (origin === undefined || !URL.canParse(origin)) return undefined;
  const url = new URL(origin);
  return url.protocol === 'http:' || url.protocol === 'https:' ? url.origin : origin;
}

function isKeySetUrl(written: string): boolean {
  if (!/^https?:\/\//i.test(written) || !URL.canParse(written)) return false;
  const { username, password } = new URL(written);
  return username === '' && password === '';
}

function parseHost(written: string): string | undefined {
  const host = written.toLowerCase();
  return URL.canParse(`http://${host}`) && new URL(`http://${host}`).hostname === host ? host : undefined;
}
