/**
 * Turns a refusal, which is a response whose status is no success, into an UpstreamFailure. Knows the forms of
 * refusals, nothing of the SDK. It distinguishes a 404 for the path from a 404 for the model, since a base URL with a
 * part too many is an easy mistake.
 */
import { parseRetryAfter } from '../flow/retry-after.ts';
import { isErrorType, parseShouldRetry, UpstreamFailure, FailureCause } from './failures.ts';
import type { PreparedRequest, UpstreamResponse } from './http/sockets.ts';
import { readError, type ReportedError } from './messages-api/reported-error.ts';
import { proxyFailed } from './http/tunnel.ts';

const proxyAuthenticationRequired = 407;
const pathStatuses = new Set([404, 405]);
const notFound = /^(?:404\W*)?(?:(?:page|url|path|route|resource|endpoint)\s+)?not found\W*$/i;
/** Parts of a path that may be logged. Any other part may be a customer's name, or a key. */
const plainParts = /^(?:v\d+(?:beta)?|api|anthropic|openai|messages|chat|completions|complete)?$/i;
const partsMax = 20;

/** @param text The response's body, or as much of it as was read. */
export function refusalOf(response: UpstreamResponse, text: string, request: PreparedRequest): UpstreamFailure {
  const { status } = response;
  if (status >= 600) {
    const cause = new FailureCause('the status of the response is not valid in HTTP', { code: 'invalid_status' });
    return new UpstreamFailure('upstream_unreachable', { cause });
  }
  if (status === proxyAuthenticationRequired && request.proxied) {
    const cause = proxyFailed('proxy_refused', { status });
    return new UpstreamFailure('upstream_unreachable', { cause, maybeBilled: false, retry: false });
  }
  const body = parseJson(text);
  const plain = headerOf(response, 'content-type')?.startsWith('text/plain') ? text.trim() : undefined;
  const reported = readError(body ?? plain, status);
  return new UpstreamFailure(reported.code, {
    cause: causeOf(reported, status, request),
    requestId: headerOf(response, 'request-id') ?? reported.requestId,
    said: reported.said,
    retryAfterMs: parseRetryAfter(retryHeaders(response)),
    retry: parseShouldRetry(headerOf(response, 'x-should-retry')),
    maybeBilled: false,
  });
}

export function headerOf({ headers }: UpstreamResponse, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

function causeOf(reported: ReportedError, status: number, { path }: PreparedRequest): FailureCause {
  if (!pathStatuses.has(status) || !isAboutPath(reported, path)) {
    return new FailureCause('upstream refused the request', { code: 'refused', type: reported.type, status });
  }
  return new FailureCause('upstream has no such path', {
    code: 'no_such_path',
    type: reported.type,
    status,
    requestPath: withoutNames(path),
    check: 'base_url or ANTHROPIC_BASE_URL, and messages_path',
  });
}

/**
 * The API names what it hasn't found, such as a model. A server that doesn't know the path only says that it wasn't
 * found.
 */
function isAboutPath({ type, said = '' }: ReportedError, path: string): boolean {
  return !isErrorType(type) || notFound.test(said.trim()) || said.includes(path);
}

/** Such as `/…/v1/messages`. */
function withoutNames(path: string): string {
  const parts = path.split('/').slice(-partsMax);
  return parts.map((part) => (plainParts.test(part) ? part : '…')).join('/');
}

function retryHeaders(response: UpstreamResponse): Headers {
  const pairs = ['retry-after', 'retry-after-ms'].flatMap((name): [string, string][] => {
    const value = headerOf(response, name);
    return value === undefined ? [] : [[name, value]];
  });
  return new Headers(pairs);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
