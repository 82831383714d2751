/**
 * The rule for the address of a server that speaks the Messages API: what a base URL may be, and to which URL its
 * requests are sent. It holds for `base_url` of a config, for `ANTHROPIC_BASE_URL` and for an embedder's `baseUrl`.
 */

/** What a base URL must be, in the words of error messages. */
export const baseUrlExpected = 'an http or https URL without credentials, query or fragment';

/** What a `messages_path` must be, in the words of error messages. */
export const messagesPathExpected = 'a path of printable ASCII characters that begins with "/" and has no "#"';

/** The path of the Messages API below a base URL. */
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
 * The URL to which requests are sent. Gateways' documentation gives their address with `/v1`, with `/v1/messages` or
 * without either, so a part of the path that the base URL ends with already is not added again.
 *
 * @throws TypeError where `baseUrl` is no URL.
 */
export function messagesUrl(baseUrl: string, messagesPath = messagesPathDefault): string {
  const { origin, pathname } = new URL(baseUrl);
  const base = pathname.replace(/\/+$/, '');
  const [path = '', ...query] = messagesPath.split('?');
  const version = /^\/v\d+(?=\/)/.exec(path)?.[0];
  const missing = base.endsWith(path)
    ? ''
    : version !== undefined && base.endsWith(version)
      ? path.slice(version.length)
      : path;
  return [`${origin}${base}${missing}`, ...query].join('?');
}
