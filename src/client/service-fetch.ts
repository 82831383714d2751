/**
 * The `fetch` of the links: asks for the token at each request, and turns every response that isn't the service's into
 * an LlmClientError. Knows nothing of procedures. Never puts a token into a URL.
 */
import { parseRetryAfter } from '../flow/retry-after.ts';
import type { ErrorData } from '../protocol.ts';
import { fromRefusal, fromStatus, LlmClientError } from './error.ts';

/**
 * A bearer token, or a function that gets one. The function is called for each connection, so that it can renew the
 * token.
 */
export type Token = string | (() => string | Promise<string>);

/** The part of `fetch` that the client uses: always with a URL as text and with options. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/**
 * @throws LlmClientError `unauthorized` where the function throws. It is retryable, since the source of the tokens may
 *   recover.
 */
export async function askToken(token: Token | undefined): Promise<string | undefined> {
  if (typeof token !== 'function') return token;
  try {
    return await token();
  } catch (cause) {
    throw new LlmClientError('unauthorized', 'The function that gets the token failed', { cause, retryable: true });
  }
}

/**
 * The function that is returned resolves to a response of this content type, whatever its status.
 *
 * @throws LlmClientError for every other response. The reason of `init.signal` where that has aborted.
 */
export function createServiceFetch(fetch: Fetch, token: Token | undefined, contentType: string): Fetch {
  return async (url, init) => {
    const headers = new Headers(init.headers);
    const bearer = await askToken(token);
    if (bearer !== undefined) headers.set('authorization', `Bearer ${bearer}`);
    // `throwIfAborted` is missing in React Native.
    if (init.signal?.aborted) throw init.signal.reason;
    let response: Response;
    try {
      response = await fetch(url, { ...init, headers });
    } catch (cause) {
      if (init.signal?.aborted || cause instanceof LlmClientError) throw cause;
      throw new LlmClientError('unreachable', `No connection to ${/^\w+:\/\/[^/?#]*/.exec(url)?.[0]}`, { cause });
    }
    const received = response.headers.get('content-type') ?? 'nothing';
    const expected = received.startsWith(contentType);
    if (expected && response.ok) return response;
    if (received.startsWith('application/json')) {
      const body = await response.text();
      const refusal = refusalIn(body);
      if (refusal) throw fromRefusal(refusal);
      if (expected) return new Response(body, response);
    } else {
      // A proxy's page, which says no more than the status. If its body can't be cancelled, nothing is lost.
      void response.body?.cancel().catch(() => {});
    }
    throw fromStatus(
      response.status,
      `${url.replace(/[?#].*/s, '')} answered ${response.status} with ${received}, where ${contentType} was expected`,
      { retryAfterMs: parseRetryAfter(response.headers) },
    );
  };
}

/** A refusal by the server before a door is reached, such as of a forbidden origin. tRPC's errors have another form. */
function refusalIn(body: string): ErrorData | undefined {
  try {
    const { error } = JSON.parse(body) as { error?: ErrorData };
    return typeof error?.code === 'string' ? error : undefined;
  } catch {
    return undefined;
  }
}
