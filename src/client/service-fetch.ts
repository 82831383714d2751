/**
 * `fetch` as the links use it: asks for the token at each request, and turns what is no answer of the service into an
 * LlmClientError. Knows nothing of procedures; never puts a token into a URL.
 */
import { parseRetryAfter } from '../flow/retry-after.ts';
import type { ErrorData } from '../protocol.ts';
import { fromRefusal, fromStatus, LlmClientError } from './error.ts';

/** A bearer token, or what gets one: it is called at each connection, so that it can renew it. */
export type Token = string | (() => string | Promise<string>);

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/**
 * @throws LlmClientError `unauthorized` where the function fails; retryable, since what it asks may come back.
 */
export async function askToken(token: Token | undefined): Promise<string | undefined> {
  if (typeof token !== 'function') return token;
  try {
    return await token();
  } catch (cause) {
    throw new LlmClientError('unauthorized', 'The token could not be had', { cause, retryable: true });
  }
}

/**
 * Resolves to an answer of the expected content type, whatever its status.
 *
 * @throws LlmClientError for anything else. The reason of `init.signal`, where that has aborted.
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
    const answered = response.headers.get('content-type') ?? 'nothing';
    const expected = answered.startsWith(contentType);
    if (expected && response.ok) return response;
    if (answered.startsWith('application/json')) {
      const body = await response.text();
      const refusal = refusalIn(body);
      if (refusal) throw fromRefusal(refusal);
      if (expected) return new Response(body, response);
    } else {
      // A proxy's page, which says nothing that the status doesn't. A body that can't be cancelled doesn't matter either.
      void response.body?.cancel().catch(() => {});
    }
    throw fromStatus(
      response.status,
      `${url.replace(/[?#].*/s, '')} answered ${response.status} with ${answered}, where ${contentType} was expected`,
      { retryAfterMs: parseRetryAfter(response.headers) },
    );
  };
}

/** What the service says before any door is reached, such as that an origin is forbidden. tRPC's errors look otherwise. */
function refusalIn(body: string): ErrorData | undefined {
  try {
    const { error } = JSON.parse(body) as { error?: ErrorData };
    return typeof error?.code === 'string' ? error : undefined;
  } catch {
    return undefined;
  }
}
