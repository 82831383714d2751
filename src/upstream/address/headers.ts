/**
 * The rule for headers that an operator adds to requests to upstream: which names may be used, and which values. A
 * value may be a secret, so no text that is returned here for an error message contains one.
 */

/** What a value must be, in the words of error messages. */
export const headerValueExpected = 'printable ASCII characters';

/**
 * For headers that the service sets itself: what an operator should use instead. Other reserved headers follow from the
 * request.
 */
const instead: Readonly<Record<string, string>> = {
  authorization:
    'api_key_env names the key, and api_key_header how it is sent; for the whole deployment, ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN',
  'x-api-key':
    'api_key_env names the key, and api_key_header: "x-api-key" sends it so; for the whole deployment, ANTHROPIC_API_KEY with LLM_UPSTREAM_KEY_HEADER=x-api-key',
  'proxy-authorization': 'HTTPS_PROXY and HTTP_PROXY carry the credentials of a proxy',
};

/** Headers of the connection, the body or its encoding. Another value would break the exchange. */
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

/** What was expected instead of this name, in the words of error messages; undefined where the name may be used. */
export function headerNameProblem(name: string): string | undefined {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) return 'the name of a header: letters, digits and "-"';
  const lower = name.toLowerCase();
  if (!reserved.has(lower)) return undefined;
  return `no header "${lower}", since the service sets it${lower in instead ? ` (${instead[lower]})` : ''}`;
}

/** Characters beyond ASCII are refused, since servers disagree on which bytes they are. */
export function isHeaderValue(text: string): boolean {
  return /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(text);
}

/** Headers by name, where each name is in lower case. */
export type Headers = Readonly<Record<string, string>>;

/** The header in which a request names the betas of the API that it uses, with commas between them. */
export const betaHeader = 'anthropic-beta';

/** Each of these betas once, as the value of the header. A name may be a list itself, as an operator writes it in a header. */
export function joinedBetas(names: readonly string[]): string {
  const each = names.flatMap((name) => name.split(',')).map((name) => name.trim());
  return [...new Set(each.filter((name) => name !== ''))].join(',');
}

/** The header that carries a key. `authorization` carries it as a bearer token. */
export type ApiKeyHeader = 'authorization' | 'x-api-key';

/** A value in a config: the text itself, or the name of the environment variable that holds it. */
export type HeaderInput = string | { readonly env: string };

/** The environment, or a substitute in tests and embedding apps. */
type Env = Readonly<Record<string, string | undefined>>;

export function lowerCaseNames(headers: Headers): Headers {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** The headers of a config. Printing a config shows their names but not their values. */
export class ConfiguredHeaders {
  /** The names, in lower case. */
  readonly names: readonly string[];
  readonly #written: ReadonlyMap<string, HeaderInput>;

  /** @param written Names and values that have been checked. */
  constructor(written: Readonly<Record<string, HeaderInput>>) {
    this.#written = new Map(Object.entries(written).map(([name, value]) => [name.toLowerCase(), value]));
    this.names = [...this.#written.keys()];
  }

  /**
   * Reads the variables from the environment, and returns all headers. A header whose variable isn't set is left out.
   */
  resolve(env: Env): Headers {
    const values = [...this.#written].flatMap(([name, value]): [string, string][] => {
      const text = typeof value === 'string' ? value : secretIn(env, value.env);
      return text === undefined ? [] : [[name, text]];
    });
    return Object.fromEntries(values);
  }
}

/**
 * The value of a variable, without the blanks and line ends that files and shells leave around it; undefined where it
 * is empty.
 */
export function secretIn(env: Env, name: string): string | undefined {
  return env[name]?.trim() || undefined;
}

/**
 * Parses lines of the form `Name: value`, such as those of `ANTHROPIC_CUSTOM_HEADERS`.
 *
 * @returns The headers; or the problem, which names the line and what was expected.
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
