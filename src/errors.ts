/**
 * One error class and one table. Code branches on `code`; people read `message`. The cause is for logs and stays
 * off the wire, so no message may hold a prompt, a key or a stack.
 */
import { z } from 'zod';
import { boundedIssues, inputIssues, type ErrorCode, type ErrorData, type InputIssue } from './protocol.ts';

interface ErrorTraits {
  /** HTTP status of a refusal over REST. */
  readonly status: number;
  /**
   * tRPC's name for it. None may be one whose number is -32603 (INTERNAL_SERVER_ERROR, BAD_GATEWAY,
   * SERVICE_UNAVAILABLE, …): on those, tRPC's SSE link re-runs a subscription for ever without telling anyone.
   */
  readonly trpc: TrpcCode;
  /** Whether asking again can help, unchanged and later. */
  readonly retryable: boolean;
}

type TrpcCode =
  | 'BAD_REQUEST'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'CONFLICT'
  | 'PAYLOAD_TOO_LARGE'
  | 'TOO_MANY_REQUESTS'
  | 'PRECONDITION_FAILED'
  | 'UNPROCESSABLE_CONTENT';

/** Everything that follows from a code. Those from `upstream_auth` on come as `error` events, after `start`. */
export const errorTable: Readonly<Record<ErrorCode, ErrorTraits>> = {
  invalid_input: { status: 400, trpc: 'BAD_REQUEST', retryable: false },
  unauthorized: { status: 401, trpc: 'UNAUTHORIZED', retryable: false },
  forbidden: { status: 403, trpc: 'FORBIDDEN', retryable: false },
  config_not_found: { status: 404, trpc: 'NOT_FOUND', retryable: false },
  generation_not_found: { status: 404, trpc: 'NOT_FOUND', retryable: false },
  conflict: { status: 409, trpc: 'CONFLICT', retryable: false },
  too_large: { status: 413, trpc: 'PAYLOAD_TOO_LARGE', retryable: false },
  rate_limited: { status: 429, trpc: 'TOO_MANY_REQUESTS', retryable: true },
  at_capacity: { status: 503, trpc: 'TOO_MANY_REQUESTS', retryable: true },
  shutting_down: { status: 503, trpc: 'PRECONDITION_FAILED', retryable: true },
  upstream_auth: { status: 502, trpc: 'UNPROCESSABLE_CONTENT', retryable: false },
  upstream_invalid_request: { status: 502, trpc: 'UNPROCESSABLE_CONTENT', retryable: false },
  upstream_rate_limited: { status: 502, trpc: 'UNPROCESSABLE_CONTENT', retryable: true },
  upstream_overloaded: { status: 502, trpc: 'UNPROCESSABLE_CONTENT', retryable: true },
  upstream_unreachable: { status: 502, trpc: 'UNPROCESSABLE_CONTENT', retryable: true },
  upstream_timeout: { status: 504, trpc: 'UNPROCESSABLE_CONTENT', retryable: true },
  upstream_truncated: { status: 502, trpc: 'UNPROCESSABLE_CONTENT', retryable: true },
  upstream_error: { status: 502, trpc: 'UNPROCESSABLE_CONTENT', retryable: true },
  log_limit: { status: 500, trpc: 'UNPROCESSABLE_CONTENT', retryable: false },
  producer_lost: { status: 500, trpc: 'UNPROCESSABLE_CONTENT', retryable: true },
  internal: { status: 500, trpc: 'UNPROCESSABLE_CONTENT', retryable: false },
};

export interface LlmErrorOptions {
  readonly retryAfterMs?: number | undefined;
  readonly issues?: readonly InputIssue[] | undefined;
  /** Upstream's id of the request that failed; of one that was refused, the id under which it is logged. */
  readonly requestId?: string | undefined;
  /** What lay behind it. Logged, never sent. */
  readonly cause?: unknown;
}

/** A failure with a code that a client can act on. */
export class LlmError extends Error {
  override readonly name = 'LlmError';
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;
  readonly issues: readonly InputIssue[] | undefined;
  readonly requestId: string | undefined;

  constructor(code: ErrorCode, message: string, options: LlmErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.issues = options.issues;
    this.requestId = options.requestId;
  }

  get traits(): ErrorTraits {
    return errorTable[this.code];
  }

  /** What may be told of it. */
  get data(): ErrorData {
    return {
      code: this.code,
      message: this.message,
      retryable: this.traits.retryable,
      ...(this.retryAfterMs === undefined ? {} : { retryAfterMs: this.retryAfterMs }),
      ...(this.issues === undefined ? {} : { issues: this.issues }),
    };
  }

  /** Makes any throw an LlmError; to be called once at each boundary. What it doesn't know becomes `internal`. */
  static from(thrown: unknown): LlmError {
    if (thrown instanceof LlmError) return thrown;
    if (thrown instanceof z.core.$ZodError) return LlmError.invalidInput(inputIssues(thrown));
    // TRPCError wraps what a procedure threw, and another copy of this module may have made it.
    const cause = thrown instanceof Error ? thrown.cause : undefined;
    if (cause instanceof LlmError) return cause;
    if (cause instanceof z.core.$ZodError) return LlmError.invalidInput(inputIssues(cause));
    return new LlmError('internal', 'Internal error', { cause: thrown });
  }

  /** @param found All issues; the error holds the first of them, and their number. */
  static invalidInput(found: readonly InputIssue[]): LlmError {
    const issues = boundedIssues(found);
    const told = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
    return new LlmError('invalid_input', told.join('; '), { issues });
  }
}
