/**
 * The rule for headers that an operator adds to requests to upstream: which names are free, what a value may hold. A
 * value may be a secret, so nothing that is returned here for a message holds one.
 */

/** What a value has to be, as a problem says it. */
export const headerValueExpected = 'printable ASCII characters';

/** What to use for a header that the service sets by itself. Those without an entry follow from the request. */
const instead: Readonly<Record<string, string>> = {
  authorization:
    'api_key_env names the key, and api_key_header how it is sent; for the whole deployment, ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN',
  'x-api-key':
    'api_key_env names the key, and api_key_header: "x-api-key" sends it so; for the whole deployment, ANTHROPIC_API_KEY with LLM_UPSTREAM_KEY_HEADER=x-api-key',
  'proxy-authorization': 'HTTPS_PROXY and HTTP_PROXY carry the credentials of a proxy',
};

/** These belong to the connection, the body or its encoding: another value would break the exchange. */
const reserved = new Set([
  ...Object.keys(instead),
  'accept',
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** What is wrong with a name, as what was expected in its place; undefined for one that may be set. */
export function headerNameProblem(name: string): string | undefined {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) return 'the name of a header: letters, digits and "-"';
  const lower = name.toLowerCase();
  if (!reserved.has(lower)) return undefined;
  return `no header "${lower}", since the service sets it${lower in instead ? ` (${instead[lower]})` : ''}`;
}

/** Not beyond ASCII: which bytes another character would be is not agreed on. */
export function isHeaderValue(text: string): boolean {
  return /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(text);
}

/** Headers by their names in lower case. */
export type Headers = Readonly<Record<string, string>>;

/** The header that carries a key: the first as a bearer token. */
export type ApiKeyHeader = 'authorization' | 'x-api-key';

/** A value as a config has it: the text, or the name of the environment variable that holds it. */
export type HeaderInput = string | { readonly env: string };

/** The environment, or what stands for it. */
type Env = Readonly<Record<string, string | undefined>>;

export function lowerCaseNames(headers: Headers): Headers {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** The headers of a config. Whoever prints a config sees their names alone. */
export class ConfiguredHeaders {
  /** In lower case. */
  readonly names: readonly string[];
  readonly #written: ReadonlyMap<string, HeaderInput>;

  /** @param written Names and values that were judged before. */
  constructor(written: Readonly<Record<string, HeaderInput>>) {
    this.#written = new Map(Object.entries(written).map(([name, value]) => [name.toLowerCase(), value]));
    this.names = [...this.#written.keys()];
  }

  /** With the values of the variables as they are now; one that isn't set any more is left out. */
  resolve(env: Env): Headers {
    const values = [...this.#written].flatMap(([name, value]): [string, string][] => {
      const text = typeof value === 'string' ? value : secretIn(env, value.env);
      return text === undefined ? [] : [[name, text]];
    });
    return Object.fromEntries(values);
  }
}

/** The value of a variable, without the blanks and line ends that files and shells leave around one; undefined if none is left. */
export function secretIn(env: Env, name: string): string | undefined {
  return env[name]?.trim() || undefined;
}

/**
 * Reads lines of `Name: value`, as `ANTHROPIC_CUSTOM_HEADERS` has them.
 *
 * @returns The headers, or in words what is wrong with which line.
 */
export function parseHeaderLines(text: string): { readonly headers: Headers } | { readonly problem: string } {
  const headers = new Map<string, string>();
  const lines = text.split(/\r?\n/);
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const where = `in line ${index + 1} of ${lines.length}`;
    const colon = line.indexOf(':');
    if (colon === -1) return { problem: `expected "Name: value" ${where}, found no colon` };
    const name = line.slice(0, colon).trim();
    const value = line.slice(colon + 1).trim();
    const problem = headerNameProblem(name);
    if (problem !== undefined) return { problem: `expected ${problem}, ${where}` };
    if (!isHeaderValue(value)) return { problem: `expected ${headerValueExpected} as the value ${where}` };
    headers.set(name.toLowerCase(), value);
  }
  return { headers: Object.fromEntries(headers) };
}
