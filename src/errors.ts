/**
 * One error class and one table. Code branches on `code`; people read `message`. The cause is for logs and stays
 * off the wire, so no message may hold a prompt, a key or a stack.
 */
import { z } from 'zod';
import { boundedIssues, errorCodes, inputIssues, type ErrorCode, type ErrorData, type InputIssue } from './protocol.ts';

/** What a client may ask for, on any door that is not tRPC's: a route of such a door is one of these. */
export type Operation = 'stream' | 'follow' | 'cancel' | 'list configs';
const anyOperation: readonly Operation[] = ['stream', 'follow', 'cancel', 'list configs'];

/** Everything that follows from a code. */
interface ErrorTraits {
  /** HTTP status of a refusal over REST. */
  readonly status: number;
  /**
   * tRPC's name for it. None may be one whose number is -32603 (INTERNAL_SERVER_ERROR, BAD_GATEWAY, SERVICE_UNAVAILABLE, …):
   * on that number, tRPC's SSE link runs a subscription again without end, and its app hears nothing.
   */
  readonly trpc: TrpcCode;
  /** Whether the same request can succeed later. */
  readonly retryable: boolean;
  /** The operations that can be refused with it. None for a code that only an `error` event has, after `start`. */
  readonly refuses: readonly Operation[];
  /** What it means, for the OpenAPI document. */
  readonly meaning: string;
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

export const errorTable: Readonly<Record<ErrorCode, ErrorTraits>> = {
  invalid_input: {
    status: 400,
    trpc: 'BAD_REQUEST',
    retryable: false,
    refuses: ['stream', 'follow', 'cancel'],
    meaning: 'the request is malformed',
  },
  unauthorized: {
    status: 401,
    trpc: 'UNAUTHORIZED',
    retryable: false,
    refuses: anyOperation,
    meaning: 'no key, or an unknown one',
  },
  forbidden: {
    status: 403,
    trpc: 'FORBIDDEN',
    retryable: false,
    refuses: anyOperation,
    meaning: 'the page of another site, or a host name that is not this service’s',
  },
  config_not_found: {
    status: 404,
    trpc: 'NOT_FOUND',
    retryable: false,
    refuses: ['stream'],
    meaning: 'no such config; the message names those that exist',
  },
  generation_not_found: {
    status: 404,
    trpc: 'NOT_FOUND',
    retryable: false,
    refuses: ['stream', 'follow', 'cancel'],
    meaning: 'the generation never was, is no longer kept, or belongs to somebody else',
  },
  conflict: {
    status: 409,
    trpc: 'CONFLICT',
    retryable: false,
    refuses: ['stream'],
    meaning: 'the generationId belongs to another request',
  },
  too_large: {
    status: 413,
    trpc: 'PAYLOAD_TOO_LARGE',
    retryable: false,
    refuses: ['stream'],
    meaning: 'the body is over the limit, in bytes or in values of its JSON',
  },
  rate_limited: {
    status: 429,
    trpc: 'TOO_MANY_REQUESTS',
    retryable: true,
    refuses: ['stream', 'follow', 'cancel'],
    meaning: 'a limit for each caller is reached',
  },
  at_capacity: {
    status: 503,
    trpc: 'TOO_MANY_REQUESTS',
    retryable: true,
    refuses: ['stream', 'follow'],
    meaning: 'a limit of the whole service is reached',
  },
  shutting_down: {
    status: 503,
    trpc: 'PRECONDITION_FAILED',
    retryable: true,
    refuses: ['stream'],
    meaning: 'the service takes no new generations',
  },
  upstream_auth: event(502, false, 'upstream refused the service’s credentials'),
  upstream_invalid_request: event(502, false, 'upstream refused the request'),
  upstream_rate_limited: event(502, true, 'upstream’s rate limit is reached'),
  upstream_overloaded: event(502, true, 'upstream is overloaded'),
  upstream_unreachable: event(502, true, 'no connection to upstream'),
  upstream_timeout: event(504, true, 'upstream sent no first byte, no next event, or no end in time'),
  upstream_truncated: event(502, true, 'upstream’s answer ended before it was whole'),
  upstream_error: event(502, true, 'upstream failed in another way'),
  log_limit: event(500, false, 'the answer is larger than its log may be'),
  producer_lost: event(500, true, 'the process that ran the generation is gone'),
  internal: {
    status: 500,
    trpc: 'UNPROCESSABLE_CONTENT',
    retryable: false,
    refuses: anyOperation,
    meaning: 'a fault of the service itself',
  },
};

/** The traits of a code that comes as an `error` event. Status and tRPC code are for whoever maps such an event to a refusal. */
function event(status: number, retryable: boolean, meaning: string): ErrorTraits {
  return { status, trpc: 'UNPROCESSABLE_CONTENT', retryable, refuses: [], meaning };
}

/** The codes that an operation can be refused with, in the order of the table. */
export function refusalsOf(operation: Operation): ErrorCode[] {
  return errorCodes.filter((code) => errorTable[code].refuses.includes(operation));
}

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

  /** @param found All faults; the error holds the first of them, and their number. */
  static invalidInput(found: readonly InputIssue[]): LlmError {
    const issues = boundedIssues(found);
    const told = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
    return new LlmError('invalid_input', told.join('; '), { issues });
  }
}
