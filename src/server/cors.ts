/**
 * The CORS headers that a browser needs before it lets a page of another origin send a request, and read the response. An origin
 * that is allowed may use whatever methods and headers it asks for: the key and the check of `Origin` guard the service, methods and
 * headers don't. Knows headers alone. https://fetch.spec.whatwg.org/#http-cors-protocol
 */
import type { IncomingHttpHeaders } from 'node:http';

type CorsHeaders = Readonly<Record<string, string>>;

/** What this project's clients send, for people who look at a preflight by hand. What a preflight asks for is added. */
const methods = ['GET', 'HEAD', 'POST', 'DELETE'];
const requestHeaders = ['authorization', 'content-type', 'idempotency-key', 'last-event-id', 'trpc-accept'];
/** Response headers that a browser hides from pages unless they are listed. */
const exposed = 'retry-after, x-request-id';
const maxAgeS = 600;

/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+.^_`|~\w-]{1,100}$/;
const tokensMax = 100;

/** The `vary` of every response, since caches must keep responses to different origins apart. */
export const varyByOrigin = 'origin';

/** Headers of every response to an allowed origin. Refusals need them too: without them the page could not read the reason. */
export function corsHeaders(origin: string): CorsHeaders {
  return { 'access-control-allow-origin': origin, 'access-control-expose-headers': exposed };
}

/** More headers, for the response to an OPTIONS request of an allowed origin. */
export function preflightHeaders(asked: IncomingHttpHeaders): CorsHeaders {
  const method = tokensIn(asked['access-control-request-method']).slice(0, 1);
  const headers = tokensIn(asked['access-control-request-headers']).map((name) => name.toLowerCase());
  return {
    'access-control-allow-methods': [...new Set([...methods, ...method])].join(', '),
    'access-control-allow-headers': [...new Set([...requestHeaders, ...headers])].join(', '),
    'access-control-max-age': String(maxAgeS),
    // A page on the internet wants to reach a service on loopback or in a private network. The operator has allowed its origin by name.
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

/** The tokens of a list. Everything else is left out, so that a response echoes nothing but tokens. */
function tokensIn(list: string | string[] | undefined): string[] {
  const entries = String(list ?? '').split(',', tokensMax);
  return entries.map((entry) => entry.trim()).filter((entry) => token.test(entry));
}
