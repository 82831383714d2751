/**
 * The one rule for the address of a server that speaks the Messages API: what a base URL may be, and where its requests
 * go. `base_url` of a config, `ANTHROPIC_BASE_URL` and an embedder's `baseUrl` are all held to it.
 */

/** What a base URL has to be, as a problem says it. */
export const baseUrlExpected = 'an http or https URL without credentials, query or fragment';

/** What a `messages_path` has to be, as a problem says it. */
export const messagesPathExpected = 'a path of printable ASCII characters that begins with "/" and has no "#"';

/** Where the Messages API stands below a base URL. */
const messagesPathDefault = '/v1/messages';

export function isBaseUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return (
    (url?.protocol === 'http:' || url?.protocol === 'https:') &&
    url.username === '' &&
    url.password === '' &&
    !/[?#]/.test(text)
  );
}

export function isMessagesPath(text: string): boolean {
  return /^\/[!-"$-~]*$/.test(text);
}

/**
 * The URL that requests go to. Documents of gateways give their address with `/v1`, with `/v1/messages` or without, so
 * what the base URL has of the path already is not said twice.
 *
 * @throws TypeError for what is no base URL.
 */
export function messagesUrl(baseUrl: string, messagesPath = messagesPathDefault): string {
  const { origin, pathname } = new URL(baseUrl);
  const base = pathname.replace(/\/+$/, '');
  const [path = '', ...query] = messagesPath.split('?');
  const version = /^\/v\d+(?=\/)/.exec(path)?.[0];
  const rest = base.endsWith(path)
    ? ''
    : version !== undefined && base.endsWith(version)
      ? path.slice(version.length)
      : path;
  return [`${origin}${base}${rest}`, ...query].join('?');
}
