/**
 * Whether a request shows more than a URL. Any web page can make a browser request any URL, by an image, a script, a frame, a link, a
 * form or a redirect. Over plain http, under a name other than localhost, the browser doesn't say which site the page belongs to. But
 * no page can set the headers below: for some, the browser first asks the service for permission (a preflight), and the others the
 * browser sets itself. Knows headers alone. https://fetch.spec.whatwg.org/#cors-safelisted-request-header
 */
import type { IncomingHttpHeaders } from 'node:http';
import { hostNameOf, isSameHost } from './origin.ts';
import { isLoopback } from '../settings/loopback.ts';

/** Headers that count with any value: this project's own, and those that tRPC's clients commonly send. No browser and no proxy adds them. */
const clientHeaders = ['x-llm-client', 'x-trpc-source', 'trpc-accept'] as const;
/** The modes of `fetch` and EventSource in a page's code. An image, a link or a frame has another mode, and another destination. */
const modesOfCode: ReadonlySet<unknown> = new Set(['cors', 'same-origin']);

/**
 * Whether a request by GET shows more than a URL, so that no page of another site can have caused it.
 *
 * @param headers Those of a request whose `Origin` and `Sec-Fetch-Site` have been checked before.
 */
export function showsMoreThanUrl(headers: IncomingHttpHeaders): boolean {
  if (headers.origin !== undefined || clientHeaders.some((name) => headers[name] !== undefined)) return true;
  // Other values don't count: a browser sends `Basic` for a URL with a name and a password, and lets a page send `text/plain`.
  if (/^Bearer /i.test(headers.authorization ?? '')) return true;
  if (/^application\/json\b/i.test(headers['content-type'] ?? '')) return true;

  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': dest } = headers;
  if (site !== undefined || mode !== undefined) {
    // Node's fetch sends the mode without a site. For an address that somebody typed, or opened from a mail, the site is `none`.
    return (
      (site ?? 'same-origin') === 'same-origin' && modesOfCode.has(mode ?? 'cors') && (dest ?? 'empty') === 'empty'
    );
  }
  const ownReferer = headers.referer === undefined ? undefined : isSameHost(originOf(headers.referer), headers.host);
  // Browsers send these two headers to a loopback host, so the sender is no browser. An old browser sends none, but a Referer.
  if (isLoopback(hostNameOf(headers.host))) return ownReferer !== false;
  // An EventSource in a page of the service's own host. An image in that page, for example, would accept other content types.
  return ownReferer === true && headers.accept === 'text/event-stream';
}

/** The origin of a URL; empty for a text that is no URL. */
function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : '';
}
