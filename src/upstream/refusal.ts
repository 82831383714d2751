/**
 * What upstream's refusal of a request comes to: an answer whose status is no success. Knows the forms of refusals, nothing of
 * the SDK. A 404 that means the path, not the model, is told as such: a base URL with a part too many is easily written.
 */
import { parseRetryAfter } from '../flow/retry-after.ts';
import { isErrorType, parseShouldRetry, UpstreamFailure, UpstreamFault } from './failures.ts';
import type { PreparedRequest, UpstreamAnswer } from './http/sockets.ts';
import { readError, type ToldError } from './messages-api/told-error.ts';
import { proxyFault } from './http/tunnel.ts';

const proxyAuthenticationRequired = 407;
const pathStatuses = new Set([404, 405]);
const notFound = /^(?:404\W*)?(?:(?:page|url|path|route|resource|endpoint)\s+)?not found\W*$/i;
/** Parts of a path that may be logged. Any other may be the name of a customer, or a key. */
const plainParts = /^(?:v\d+(?:beta)?|api|anthropic|openai|messages|chat|completions|complete)?$/i;
const partsMax = 20;

/** @param text The answer's body, or as much of it as was read. */
export function refusalOf(answer: UpstreamAnswer, text: string, request: PreparedRequest): UpstreamFailure {
  const { status } = answer;
  if (status >= 600) {
    const cause = new UpstreamFault('the answer is no HTTP', { code: 'invalid_status' });
    return new UpstreamFailure('upstream_unreachable', { cause });
  }
  if (status === proxyAuthenticationRequired && request.proxied) {
    const cause = proxyFault('proxy_refused', { status });
    return new UpstreamFailure('upstream_unreachable', { cause, maybeBilled: false, retry: false });
  }
  const body = parseJson(text);
  const plain = headerOf(answer, 'content-type')?.startsWith('text/plain') ? text.trim() : undefined;
  const told = readError(body ?? plain, status);
  return new UpstreamFailure(told.code, {
    cause: faultOf(told, status, request),
    requestId: headerOf(answer, 'request-id') ?? told.requestId,
    said: told.said,
    retryAfterMs: parseRetryAfter(retryHeaders(answer)),
    retry: parseShouldRetry(headerOf(answer, 'x-should-retry')),
    maybeBilled: false,
  });
}

export function headerOf({ headers }: UpstreamAnswer, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}

function faultOf(told: ToldError, status: number, { path }: PreparedRequest): UpstreamFault {
  if (!pathStatuses.has(status) || !isAboutPath(told, path)) {
    return new UpstreamFault('upstream refused the request', { code: 'refused', type: told.type, status });
  }
  return new UpstreamFault('upstream has no such path', {
    code: 'no_such_path',
    type: told.type,
    status,
    requestPath: withoutNames(path),
    check: 'base_url or ANTHROPIC_BASE_URL, and messages_path',
  });
}

/** The API says what wasn't found, such as a model; who knows no such path says no more than that. */
function isAboutPath({ type, said = '' }: ToldError, path: string): boolean {
  return !isErrorType(type) || notFound.test(said.trim()) || said.includes(path);
}

/** `/…/v1/messages` */
function withoutNames(path: string): string {
  const parts = path.split('/').slice(-partsMax);
  return parts.map((part) => (plainParts.test(part) ? part : '…')).join('/');
}

function retryHeaders(answer: UpstreamAnswer): Headers {
  const pairs = ['retry-after', 'retry-after-ms'].flatMap((name): [string, string][] => {
    const value = headerOf(answer, name);
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
