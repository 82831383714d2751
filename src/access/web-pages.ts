/**
 * What shows that a request is more than a URL. Any web page can have a browser ask for any URL, by an image, a script, a
 * frame, a link, a form or a redirect, and over plain http, under a name other than localhost, browsers say of none of them
 * which site it comes from. What a page can't do is to set the headers below: a browser asks the service first whether it may
 * send them (a preflight), or sends them by itself. Knows headers alone. https://fetch.spec.whatwg.org/#cors-safelisted-request-header
 */
import type { IncomingHttpHeaders } from 'node:http';
import { hostNameOf, isSameHost } from './origin.ts';
import { isLoopback } from '../settings/loopback.ts';

/** Of any value: ours, and what is customary among tRPC's clients. No browser and no proxy sends them by itself. */
const clientHeaders = ['x-llm-client', 'x-trpc-source', 'trpc-accept'] as const;
/** Those of a page's code, by `fetch` or EventSource. An image, a link or a frame has another mode, and another destination. */
const modesOfCode: ReadonlySet<unknown> = new Set(['cors', 'same-origin']);

/**
 * Whether a request by GET shows more than a URL, so that it can't come of what a page of another site has a browser load.
 *
 * @param headers Of a request whose `Origin` and `Sec-Fetch-Site` have passed: other sites' are refused before.
 */
export function showsMoreThanUrl(headers: IncomingHttpHeaders): boolean {
  if (headers.origin !== undefined || clientHeaders.some((name) => headers[name] !== undefined)) return true;
  // `Basic` is what a browser makes of a name and a password in a URL, `text/plain` what it lets a page say.
  if (/^Bearer /i.test(headers.authorization ?? '')) return true;
  if (/^application\/json\b/i.test(headers['content-type'] ?? '')) return true;

  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': dest } = headers;
  if (site !== undefined || mode !== undefined) {
    // Node's fetch sends the mode alone. An address that somebody has typed, or opened from a mail, has `none` for a site.
    return (
      (site ?? 'same-origin') === 'same-origin' && modesOfCode.has(mode ?? 'cors') && (dest ?? 'empty') === 'empty'
    );
  }
  const ownReferer = headers.referer === undefined ? undefined : isSameHost(originOf(headers.referer), headers.host);
  // To a loopback host browsers do say which site asks, so this is no browser; or an old one, which says where it was.
  if (isLoopback(hostNameOf(headers.host))) return ownReferer !== false;
  // A page of our own host, by EventSource: whatever else it might show (an image in an answer) accepts other things.
  return ownReferer === true && headers.accept === 'text/event-stream';
}

/** Empty for what is no URL. */
function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : '';
}
