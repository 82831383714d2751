/**
 * The part of the settings that says where upstream is and how it is reached, and which of the SDK's own variables are not
 * ours. Part of settings.ts, which reads them.
 */
import { baseUrlExpected, isBaseUrl } from '../upstream/address/base-url.ts';
import { parseHeaderLines, type ApiKeyHeader, type Headers } from '../upstream/address/headers.ts';
import { parseProxy, proxyExpected, type Proxies } from '../upstream/address/proxies.ts';
import type { Problem } from './problems.ts';
import type { Variable } from './settings.ts';

export interface UpstreamSettings extends Proxies {
  readonly anthropicApiKey: string | undefined;
  /** In place of a key; goes where that would. */
  readonly anthropicAuthToken: string | undefined;
  readonly anthropicBaseUrl: string | undefined;
  /** Sent to Anthropic or `anthropicBaseUrl` with each request. */
  readonly anthropicCustomHeaders: Headers | undefined;
  /** The header that carries the key there; undefined: `authorization`. */
  readonly upstreamKeyHeader: ApiKeyHeader | undefined;
}

export const upstreamVariables: { readonly [Key in keyof UpstreamSettings]: Variable<UpstreamSettings[Key]> } = {
  anthropicApiKey: {
    name: 'ANTHROPIC_API_KEY',
    default: undefined,
    expected: 'a key of printable ASCII characters',
    meaning: 'Goes to Anthropic or to `ANTHROPIC_BASE_URL`, never to a config’s own `base_url`',
    secret: true,
    parse: (text) => (/^[\x21-\x7e]+$/.test(text) ? text : undefined),
  },
  anthropicAuthToken: {
    name: 'ANTHROPIC_AUTH_TOKEN',
    default: undefined,
    expected: 'a token of printable ASCII characters',
    meaning: 'In place of `ANTHROPIC_API_KEY`, which goes first',
    secret: true,
    parse: (text) => (/^[\x21-\x7e]+$/.test(text) ? text : undefined),
  },
  anthropicBaseUrl: {
    name: 'ANTHROPIC_BASE_URL',
    default: undefined,
    expected: baseUrlExpected,
    meaning: 'Another server that speaks the Messages API. With neither this nor a key, the built-in simulator answers',
    secret: true,
    parse: (text) => (isBaseUrl(text) ? text : undefined),
  },
  anthropicCustomHeaders: {
    name: 'ANTHROPIC_CUSTOM_HEADERS',
    default: undefined,
    expected: 'lines of "Name: value"',
    meaning:
      'Headers for Anthropic or `ANTHROPIC_BASE_URL`, as lines of `Name: value`; never sent to a config’s own `base_url`',
    secret: true,
    parse: (text) => {
      const read = parseHeaderLines(text);
      return 'headers' in read ? read.headers : undefined;
    },
    problem: (text) => {
      const read = parseHeaderLines(text);
      return 'problem' in read ? read.problem : '';
    },
  },
  upstreamKeyHeader: {
    name: 'LLM_UPSTREAM_KEY_HEADER',
    default: undefined,
    expected: '"authorization" or "x-api-key"',
    meaning: 'The header that carries the key there: `authorization` (as a bearer token) unless set, or `x-api-key`',
    parse: (text) => (['authorization', 'x-api-key'] as const).find((name) => name === text.toLowerCase()),
  },
  httpsProxy: {
    ...proxy('HTTPS_PROXY'),
    meaning: 'The proxy to upstreams of https; this and the next three may be written in lower case, which goes first',
  },
  httpProxy: { ...proxy('HTTP_PROXY'), meaning: 'The proxy to upstreams of http' },
  allProxy: {
    ...proxy('ALL_PROXY'),
    meaning: 'The proxy to upstreams for which none is named',
    // Many shells name a SOCKS proxy here beside two others: it is a problem only where it would be used.
    parse: (text) => parseProxy(text) ?? '',
  },
  noProxy: {
    name: 'NO_PROXY',
    lowerCaseToo: true,
    default: undefined,
    expected: 'host names, addresses and networks, comma-separated',
    meaning:
      'Upstreams that are asked without a proxy: names (with all below them), addresses, networks, each with a port if need be, or `*`',
    parse: (text) => text,
  },
};

function proxy(name: string) {
  return {
    name,
    lowerCaseToo: true,
    default: undefined,
    expected: proxyExpected,
    secret: true,
    parse: parseProxy,
  } as const;
}

/** Those of an environment that name proxies. */
export function proxyVariablesIn(env: Readonly<Record<string, string | undefined>>) {
  const { httpsProxy, httpProxy, allProxy, noProxy } = upstreamVariables;
  const names = [httpsProxy, httpProxy, allProxy, noProxy].flatMap(({ name }) => [name, name.toLowerCase()]);
  return Object.fromEntries(names.map((name) => [name, env[name]]));
}

/** By these the SDK would find credentials on its own, where it has neither a key nor a token. */
const credentialVariables = [
  'ANTHROPIC_PROFILE',
  'ANTHROPIC_CONFIG_DIR',
  'ANTHROPIC_IDENTITY_TOKEN',
  'ANTHROPIC_IDENTITY_TOKEN_FILE',
  'ANTHROPIC_FEDERATION_RULE_ID',
  'ANTHROPIC_SERVICE_ACCOUNT_ID',
  'ANTHROPIC_ORGANIZATION_ID',
  'ANTHROPIC_WORKSPACE_ID',
  'ANTHROPIC_SCOPE',
];
/** What else the SDK reads and this service has no use for, with what to use instead. */
const otherVariables: Readonly<Record<string, string>> = {
  ANTHROPIC_LOG: 'not used; LOG_LEVEL says what is logged',
  ANTHROPIC_OPEN_TELEMETRY: 'not used; the service makes no spans of the SDK’s',
  ANTHROPIC_OPEN_TELEMETRY_PROPAGATION: 'not used; the service makes no spans of the SDK’s',
  ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE: 'not used; the service makes no spans of the SDK’s',
  ANTHROPIC_OPEN_TELEMETRY_TRACES_MAX_CONTENT_BYTES: 'not used; the service makes no spans of the SDK’s',
};

/** What the SDK would read of the environment by itself, and this service does not. */
export function findSdkVariables(
  env: Readonly<Record<string, string | undefined>>,
  keyed: boolean,
): {
  readonly refused: readonly Problem[];
  readonly unused: readonly Problem[];
} {
  const isSet = (name: string) => (env[name]?.trim() ?? '') !== '';
  const credentials = credentialVariables.filter(isSet);
  const problem = (message: string) => (path: string) => ({ path, message });
  return {
    refused: keyed
      ? []
      : credentials.map(
          problem('not supported; set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN in its place, or unset it'),
        ),
    unused: [
      ...(keyed ? credentials.map(problem('not used, since there is a key or a token')) : []),
      ...Object.keys(otherVariables)
        .filter(isSet)
        .map((path) => ({ path, message: otherVariables[path]! })),
      ...['ANTHROPIC_AUTH_TOKEN']
        .filter((name) => isSet(name) && isSet('ANTHROPIC_API_KEY'))
        .map(problem('not used, since ANTHROPIC_API_KEY goes first')),
    ],
  };
}
