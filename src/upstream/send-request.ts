/**
 * Sends one request and waits for the head of its response. Every way in which upstream gives no body that could be
 * read as a message becomes an UpstreamFailure here: no connection, a refusal, an encoding that can't be decoded.
 */
import { FailureCause, parseShouldRetry, UpstreamFailure } from './failures.ts';
import type { ResponseBody } from './http/body.ts';
import {
  readRefusal,
  withHeaders,
  type PreparedRequest,
  type UpstreamResponse,
  type UpstreamSockets,
} from './http/sockets.ts';
import { headerOf, refusalOf } from './refusal.ts';

/** The response to a request that upstream did not refuse. Its body must be drained or closed. */
export interface SuccessfulResponse {
  /** Null where upstream sent none. */
  readonly contentType: string | null;
  /** Upstream's id of the request; undefined where it sent none. */
  readonly requestId: string | undefined;
  /** Upstream's `x-should-retry`; undefined where it sent none, so that the failure's code decides about a retry. */
  readonly shouldRetry: boolean | undefined;
  readonly body: ResponseBody;
}

export interface SendOptions {
  readonly signal: AbortSignal;
  /** Set after upstream closed a kept socket under the last attempt: it has most likely closed the other kept ones too. */
  readonly freshSocket: boolean;
  /** Headers by which upstream can go on with the trace; undefined where nothing is traced. */
  readonly traceHeaders?: Readonly<Record<string, string>> | undefined;
}

/**
 * Once the signal aborts it rejects, but not before the socket is closed.
 *
 * @param json The request's body.
 * @throws UpstreamFailure
 */
export async function sendRequest(
  sockets: UpstreamSockets,
  request: PreparedRequest,
  json: string,
  { signal, freshSocket, traceHeaders }: SendOptions,
): Promise<SuccessfulResponse> {
  const response = await sockets
    .send(traceHeaders ? withHeaders(request, traceHeaders) : request, json, signal, freshSocket)
    .catch(rethrowAsFailure);
  if (response.status < 200 || response.status >= 300) {
    throw refusalOf(response, await readRefusal(response.body, signal), request);
  }
  const requestId = headerOf(response, 'request-id');
  if (response.unknownEncoding !== undefined)
    throw await closeUndecodable(response, response.unknownEncoding, requestId);
  return {
    contentType: response.headers['content-type'] ?? null,
    requestId,
    shouldRetry: parseShouldRetry(headerOf(response, 'x-should-retry')),
    body: response.body,
  };
}

function rethrowAsFailure(error: unknown): never {
  if (!(error instanceof FailureCause)) throw error;
  const retry = error.code === 'proxy_refused' ? false : undefined;
  throw new UpstreamFailure('upstream_unreachable', { cause: error, maybeBilled: error.sent, retry });
}

async function closeUndecodable(
  { body }: UpstreamResponse,
  encoding: string,
  requestId: string | undefined,
): Promise<UpstreamFailure> {
  await body.close();
  const facts = { code: 'content_encoding_unknown', type: encoding };
  const cause = new FailureCause('the content-encoding of the response is not supported', facts);
  return new UpstreamFailure('upstream_error', { cause, requestId, retry: false });
}
