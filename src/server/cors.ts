/**
 * What a browser has to hear before a page of another origin may ask, and read what it is answered. An origin that is allowed
 * at all is allowed what it asks for: methods and headers guard nothing here, since the key and the Origin check do. Knows
 * headers alone. https://fetch.spec.whatwg.org/#http-cors-protocol
 */
import type { IncomingHttpHeaders } from 'node:http';

type CorsHeaders = Readonly<Record<string, string>>;

/** What clients of ours send, for whoever looks at a preflight by hand; what else is asked for joins them. */
const methods = ['GET', 'HEAD', 'POST', 'DELETE'];
const requestHeaders = ['authorization', 'content-type', 'idempotency-key', 'last-event-id', 'trpc-accept'];
/** Those that browsers hide from pages unless told not to. */
const exposed = 'retry-after, x-request-id';
const maxAgeS = 600;

/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+.^_`|~\w-]{1,100}$/;
const tokensMax = 100;

/** For every answer, as caches must keep answers to different origins apart. */
export const varyByOrigin = 'origin';

/** For any answer to an allowed origin, a refusal too: else its page could not read why. */
export function corsHeaders(origin: string): CorsHeaders {
  return { 'access-control-allow-origin': origin, 'access-control-expose-headers': exposed };
}

/** For the answer to an OPTIONS request of an allowed origin, beside those of any answer. */
export function preflightHeaders(asked: IncomingHttpHeaders): CorsHeaders {
  const method = tokensIn(asked['access-control-request-method']).slice(0, 1);
  const headers = tokensIn(asked['access-control-request-headers']).map((name) => name.toLowerCase());
  return {
    'access-control-allow-methods': [...new Set([...methods, ...method])].join(', '),
    'access-control-allow-headers': [...new Set([...requestHeaders, ...headers])].join(', '),
    'access-control-max-age': String(maxAgeS),
    // A page on the internet asks a service on loopback or in a private network: the operator has allowed that page by name.
    ...(asked['access-control-request-private-network'] === 'true'
      ? { 'access-control-allow-private-network': 'true' }
      : {}),
    vary: [
      varyByOrigin,
      'access-control-request-method',
      'access-control-request-headers',
      'access-control-request-private-network',
    ].join(', '),
  };
}

/** The tokens of a list; what is none is left out, so that nothing else is ever echoed. */
function tokensIn(list: string | string[] | undefined): string[] {
  const entries = String(list ?? '').split(',', tokensMax);
  return entries.map((entry) => entry.trim()).filter((entry) => token.test(entry));
}
