/**
 * The error that the client throws: one class with a closed set of codes, and the one place that makes it from the
 * errors of tRPC's links, of `fetch` and of WebSockets. It says whether trying again can help; when to try again is
 * decided elsewhere.
 */
import type { ErrorCode, ErrorData, InputIssue, CancelledEvent, ErrorEvent, TerminalEvent } from '../protocol.ts';

/**
 * The service's codes, and five of the client's own:
 *
 * - `unreachable`: there is no connection, or a proxy responded instead of the service.
 * - `cancelled`: the answer was cancelled. `text()`, `object()`, `partials()` and `messages()` throw it. An iteration throws it
 *   only if the answer was cancelled before it began.
 * - `output_invalid`: the answer has ended without the object that its config promises. `object()` throws it.
 * - `closed`: the client was closed.
 * - `unsupported`: this runtime lacks something that the client needs. The message says what.
 */
export type LlmClientErrorCode = ErrorCode | 'unreachable' | 'cancelled' | 'output_invalid' | 'closed' | 'unsupported';

/** The terminal events of an answer that did not become complete. */
export type FailureEvent = ErrorEvent | CancelledEvent;

/** The parts of an LlmClientError besides code and message. Each is absent by default. */
export interface LlmClientErrorOptions {
  /** By default true for `unreachable` and false for every other code. */
  readonly retryable?: boolean | undefined;
  /** How long the service asks to wait, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /** What is wrong with the input, or with the object. */
  readonly issues?: readonly InputIssue[] | undefined;
  /** The id under which the service has logged the refusal, or upstream's id of the request that failed. */
  readonly requestId?: string | undefined;
  /** The event that ended the answer. */
  readonly event?: TerminalEvent | undefined;
  /** The error from which this one was made. */
  readonly cause?: unknown;
}

/** Thrown where the service refused a request or can't be reached, and by `text()` and its like where the answer failed. */
export class LlmClientError extends Error {
  /** Always `LlmClientError`. */
  override readonly name = 'LlmClientError';
  /** Branch on this, not on the message. */
  readonly code: LlmClientErrorCode;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** How long the service asks to wait before that, in milliseconds; undefined where it doesn't ask. */
  readonly retryAfterMs: number | undefined;
  /**
   * What is wrong with the input, where `code` is `invalid_input`; which calls have their answers, where `resolve` throws `conflict`;
   * what is wrong with the object, where it is `output_invalid`.
   */
  readonly issues: readonly InputIssue[] | undefined;
  /** The id under which the service has logged the refusal; where the answer failed, upstream's id of the request. Undefined without one. */
  readonly requestId: string | undefined;
  /** The event that ended the answer, with its usage and cost. Only errors of `text()` and its like have it. */
  readonly event: TerminalEvent | undefined;

  /** @param message For people; code must not depend on its words. */
  constructor(code: LlmClientErrorCode, message: string, options: LlmClientErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? code === 'unreachable';
    this.retryAfterMs = options.retryAfterMs;
    this.issues = options.issues;
    this.requestId = options.requestId;
    this.event = options.event;
  }

  /**
   * Makes an LlmClientError from anything that was thrown. It looks for a refusal of the service along the chain of
   * causes. Without one the error is `unreachable`.
   */
  static from(thrown: unknown): LlmClientError {
    for (
      let each = thrown as Link | undefined;
      typeof each === 'object' && each !== null;
      each = each.cause ?? each.error
    ) {
      if (each instanceof LlmClientError) return each;
      if (each.cause instanceof LlmClientError) return each.cause;
      const refusal = each.data?.llm;
      if (refusal) return fromRefusal({ requestId: each.data?.requestId, ...refusal }, thrown);
      // The refusal of a host's router whose error formatter doesn't add `llm`.
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

  /** Makes an LlmClientError from the terminal event of an answer that failed or was cancelled. */
  static fromEvent(event: FailureEvent): LlmClientError {
    if (event.type === 'error') return new LlmClientError(event.code, event.message, { ...event, event });
    return new LlmClientError('cancelled', `The answer was cancelled: ${event.reason}`, { event });
  }
}

/** One member of a chain of causes: an error of tRPC or of Node, or an event of a WebSocket. */
type Link = {
  readonly message?: string;
  readonly code?: unknown;
  readonly data?: { readonly llm?: ErrorData; readonly requestId?: string; readonly httpStatus?: number } | null;
  readonly cause?: Link;
  readonly error?: Link;
} | null;

/** https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1 */
const closeMessageTooBig = 1009;

/** The error for a request that the service refused. */
export function fromRefusal(refusal: ErrorData, cause?: unknown): LlmClientError {
  return new LlmClientError(refusal.code, refusal.message, { ...refusal, cause });
}

/** The error for an HTTP status without a refusal in the service's form. Usually a proxy sent it. */
export function fromStatus(status: number, message: string, options: LlmClientErrorOptions = {}): LlmClientError {
  if (status === 401) return new LlmClientError('unauthorized', message, options);
  if (status === 403) return new LlmClientError('forbidden', message, options);
  if (status === 413) return new LlmClientError('too_large', message, options);
  const retryable = status < 400 || status === 408 || status === 429 || status >= 500;
  return new LlmClientError('unreachable', message, { ...options, retryable });
}
