/** The variables of the environment that say where upstream is, and how it is reached. */
import { z } from 'zod';
import { baseUrlExpected, isBaseUrl } from '../upstream/address/base-url.ts';
import { parseHeaderLines, type ApiKeyHeader, type Headers } from '../upstream/address/headers.ts';
import { parseProxy, proxyExpected, type Proxies } from '../upstream/address/proxies.ts';
import { text } from './rules.ts';
import { readable, type Environment, type Variable } from './variable.ts';

/** Settings that say where upstream is, and how it is reached. */
export interface UpstreamVariables extends Proxies {
  /** The key for Anthropic or `anthropicBaseUrl`: `ANTHROPIC_API_KEY`. */
  readonly anthropicApiKey: string | undefined;
  /** Sent in place of a key: `ANTHROPIC_AUTH_TOKEN`. */
  readonly anthropicAuthToken: string | undefined;
  /** Another server that speaks the Messages API: `ANTHROPIC_BASE_URL`. */
  readonly anthropicBaseUrl: string | undefined;
  /** Headers by their names in lower case. Sent to Anthropic or `anthropicBaseUrl` with each request. */
  readonly anthropicCustomHeaders: Headers | undefined;
  /** The header that carries the key there: `LLM_UPSTREAM_KEY_HEADER`. Undefined: `authorization`. */
  readonly upstreamKeyHeader: ApiKeyHeader | undefined;
}

const printable = (expected: string) => text().regex(/^[\x21-\x7e]+$/, { error: expected });

const headerLines = z.string().transform((lines, { issues }): Headers => {
  const read = parseHeaderLines(lines);
  if ('headers' in read) return read.headers;
  issues.push({ code: 'custom', input: lines, message: read.problem, params: { sentence: read.problem } });
  return z.NEVER;
});

export const upstreamVariables: { readonly [Key in keyof UpstreamVariables]: Variable<UpstreamVariables[Key]> } = {
  anthropicApiKey: {
    name: 'ANTHROPIC_API_KEY',
    rule: printable('a key of printable ASCII characters'),
    default: undefined,
    meaning: 'The key for Anthropic, or for `ANTHROPIC_BASE_URL`. It is never sent to a config’s own `base_url`',
    secret: true,
  },
  anthropicAuthToken: {
    name: 'ANTHROPIC_AUTH_TOKEN',
    rule: printable('a token of printable ASCII characters'),
    default: undefined,
    meaning: 'A token in place of a key. Where `ANTHROPIC_API_KEY` is set too, the key is sent and not the token',
    secret: true,
  },
  anthropicBaseUrl: {
    name: 'ANTHROPIC_BASE_URL',
    rule: text().refine(isBaseUrl, { error: baseUrlExpected }),
    default: undefined,
    meaning:
      'Another server that speaks the Messages API. Where neither this nor a key is set, the built-in simulator answers',
    secret: true,
  },
  anthropicCustomHeaders: {
    name: 'ANTHROPIC_CUSTOM_HEADERS',
    rule: headerLines,
    default: undefined,
    meaning:
      'Headers for Anthropic or `ANTHROPIC_BASE_URL`, as lines of `Name: value`. They are never sent to a config’s own `base_url`',
    secret: true,
  },
  upstreamKeyHeader: {
    name: 'LLM_UPSTREAM_KEY_HEADER',
    rule: z
      .string()
      .toLowerCase()
      .pipe(z.enum(['authorization', 'x-api-key'], { error: '"authorization" or "x-api-key"' })),
    default: undefined,
    meaning:
      'The header that carries the key to Anthropic or `ANTHROPIC_BASE_URL`: `x-api-key`, or `authorization` (as a bearer token), which is used unless set',
  },
  httpsProxy: {
    name: 'HTTPS_PROXY',
    lowerCaseToo: true,
    rule: readable(proxyExpected, parseProxy),
    default: undefined,
    meaning:
      'The proxy for upstreams of https. This variable and the next three may have their names in lower case; if both are set, the lower-case one counts',
    secret: true,
  },
  httpProxy: {
    name: 'HTTP_PROXY',
    lowerCaseToo: true,
    rule: readable(proxyExpected, parseProxy),
    default: undefined,
    meaning: 'The proxy for upstreams of http',
    secret: true,
  },
  allProxy: {
    name: 'ALL_PROXY',
    lowerCaseToo: true,
    // Many shells set ALL_PROXY to a SOCKS proxy and the two variables above to others. This rule turns an address that can't be
    // used into ''. settings.ts refuses '' only if one of the two variables above is not set.
    rule: z.string().transform((proxy) => parseProxy(proxy) ?? ''),
    default: undefined,
    meaning: 'The proxy for upstreams whose scheme has none of the two',
    secret: true,
  },
  noProxy: {
    name: 'NO_PROXY',
    lowerCaseToo: true,
    rule: text(),
    default: undefined,
    meaning:
      'Upstreams that are asked without a proxy, comma-separated: names (with all names below them), addresses and networks, each with a port if need be, or `*` for all',
  },
};

/** The variables of an environment that name proxies. */
export function proxyVariablesIn(env: Environment): Environment {
  const { httpsProxy, httpProxy, allProxy, noProxy } = upstreamVariables;
  const names = [httpsProxy, httpProxy, allProxy, noProxy].flatMap(({ name }) => [name, name.toLowerCase()]);
  return Object.fromEntries(names.map((name) => [name, env[name]]));
}
