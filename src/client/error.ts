/**
 * What a client throws: one error class with a closed code, and the one place that makes it of whatever tRPC's links,
 * `fetch` and WebSockets throw. Knows nothing of when to try again beyond saying whether it can help.
 */
import type { ErrorCode, ErrorData, InputIssue, LlmEvent } from '../protocol.ts';

/**
 * The service's codes, and four of the client's own: `unreachable` (no connection, or a proxy answered in the service's
 * place), `cancelled` (`text()` of an answer that was cancelled), `closed` (the client was closed meanwhile) and
 * `unsupported` (this runtime lacks something that the client needs; the message says what).
 */
export type LlmClientErrorCode = ErrorCode | 'unreachable' | 'cancelled' | 'closed' | 'unsupported';

/** The terminal events of an answer that did not become whole. */
export type FailureEvent = Extract<LlmEvent, { type: 'error' | 'cancelled' }>;

export interface LlmClientErrorOptions {
  readonly retryable?: boolean | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly issues?: readonly InputIssue[] | undefined;
  readonly event?: FailureEvent | undefined;
  readonly cause?: unknown;
}

/** A request that was refused, a service that can't be reached, or, from `text()`, an answer that failed. */
export class LlmClientError extends Error {
  override readonly name = 'LlmClientError';
  readonly code: LlmClientErrorCode;
  /** Whether the same request can succeed later. */
  readonly retryable: boolean;
  /** How long to wait before that, where the service said. */
  readonly retryAfterMs: number | undefined;
  /** What is wrong with the input, where `code` is `invalid_input`. */
  readonly issues: readonly InputIssue[] | undefined;
  /** The event that ended the answer, with what it cost; only on errors of `text()`. */
  readonly event: FailureEvent | undefined;

  constructor(code: LlmClientErrorCode, message: string, options: LlmClientErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? code === 'unreachable';
    this.retryAfterMs = options.retryAfterMs;
    this.issues = options.issues;
    this.event = options.event;
  }

  /** Makes any throw of a link an LlmClientError. What tells of no refusal is a connection that failed. */
  static from(thrown: unknown): LlmClientError {
    for (
      let each = thrown as Link | undefined;
      typeof each === 'object' && each !== null;
      each = each.cause ?? each.error
    ) {
      if (each instanceof LlmClientError) return each;
      if (each.cause instanceof LlmClientError) return each.cause;
      const refusal = each.data?.llm;
      if (refusal) return fromRefusal(refusal, thrown);
      // A host's router whose formatter doesn't add `llm`.
      if (each.data?.httpStatus) return fromStatus(each.data.httpStatus, each.message ?? '', { cause: thrown });
      if (each.code === closeMessageTooBig) {
        return new LlmClientError('too_large', 'The request is larger than the service takes over a WebSocket', {
          cause: thrown,
        });
      }
      const status = /^Unexpected server response: (\d{3})$/.exec(each.message ?? '')?.[1];
      if (status) return fromStatus(Number(status), `The service answered ${status}`, { cause: thrown });
    }
    return new LlmClientError('unreachable', 'The connection to the service failed', { cause: thrown });
  }

  static fromEvent(event: FailureEvent): LlmClientError {
    if (event.type === 'error') return new LlmClientError(event.code, event.message, { ...event, event });
    return new LlmClientError('cancelled', `The answer was cancelled: ${event.reason}`, { event });
  }
}

/** One of the things that stand in a chain of causes: errors of tRPC and of Node, events of WebSockets. */
type Link = {
  readonly message?: string;
  readonly code?: unknown;
  readonly data?: { readonly llm?: ErrorData; readonly httpStatus?: number } | null;
  readonly cause?: Link;
  readonly error?: Link;
} | null;

/** https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1 */
const closeMessageTooBig = 1009;

/** What the service said of a request that it refused. */
export function fromRefusal(refusal: ErrorData, cause?: unknown): LlmClientError {
  return new LlmClientError(refusal.code, refusal.message, { ...refusal, cause });
}

/** What can be told of an HTTP status that came without the service's own words: that of a proxy, mostly. */
export function fromStatus(status: number, message: string, options: LlmClientErrorOptions = {}): LlmClientError {
  if (status === 401) return new LlmClientError('unauthorized', message, options);
  if (status === 403) return new LlmClientError('forbidden', message, options);
  if (status === 413) return new LlmClientError('too_large', message, options);
  const retryable = status < 400 || status === 408 || status === 429 || status >= 500;
  return new LlmClientError('unreachable', message, { ...options, retryable });
}
