/**
 * One error class, and one table of everything that follows from a code. Code branches on `code`, people read `message`. A
 * message reaches clients, so none may hold a prompt, a key or a stack; the cause is logged and never sent.
 */
import { z } from 'zod';
import { boundedIssues, errorCodes, inputIssues, type ErrorCode, type ErrorData, type InputIssue } from './protocol.ts';

/** What a client may ask a door for. Each route of REST is one of these operations. */
export type Operation = 'stream' | 'follow' | 'cancel' | 'resolve' | 'list' | 'list configs';
const anyOperation: readonly Operation[] = ['stream', 'follow', 'cancel', 'resolve', 'list', 'list configs'];

/** Everything that follows from a code. */
export interface ErrorTraits {
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

/** tRPC's names for the codes. */
export type TrpcCode =
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
    refuses: ['stream', 'follow', 'cancel', 'resolve', 'list'],
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
    refuses: ['stream', 'follow', 'cancel', 'resolve', 'list'],
    meaning: 'the generation never was, is no longer kept, or belongs to somebody else',
  },
  conflict: {
    status: 409,
    trpc: 'CONFLICT',
    retryable: false,
    refuses: ['stream', 'resolve'],
    meaning: 'the generationId belongs to another request, or a call has its answer already',
  },
  too_large: {
    status: 413,
    trpc: 'PAYLOAD_TOO_LARGE',
    retryable: false,
    refuses: ['stream', 'resolve'],
    meaning: 'the body is over the limit, in bytes or in values of its JSON',
  },
  rate_limited: {
    status: 429,
    trpc: 'TOO_MANY_REQUESTS',
    retryable: true,
    refuses: ['stream', 'follow', 'cancel', 'resolve', 'list'],
    meaning: 'a limit for each caller is reached',
  },
  at_capacity: {
    status: 503,
    trpc: 'TOO_MANY_REQUESTS',
    retryable: true,
    refuses: anyOperation,
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

/** What an LlmError may carry beside code and message. */
export interface LlmErrorOptions {
  /** How long a client is to wait before it asks again, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /** What is wrong with the input, for `invalid_input`; which calls have their answers, for `conflict`. */
  readonly issues?: readonly InputIssue[] | undefined;
  /** Upstream's id of the request that failed; for a request that was refused, the id under which the refusal is logged. */
  readonly requestId?: string | undefined;
  /** What lay behind it. Logged, never sent. */
  readonly cause?: unknown;
}

/** A failure with a code that a client can act on. */
export class LlmError extends Error {
  override readonly name = 'LlmError';
  /** Programs decide by this field; `message` is for people. */
  readonly code: ErrorCode;
  /** How long a client is to wait before it asks again, in milliseconds; undefined where that isn't known. */
  readonly retryAfterMs: number | undefined;
  /** What is wrong with the input; undefined for every code but `invalid_input`, and `conflict` of `llm.resolve`. */
  readonly issues: readonly InputIssue[] | undefined;
  /** Upstream's id of the request that failed, or the id under which a refusal is logged; undefined if there is neither. */
  readonly requestId: string | undefined;

  constructor(code: ErrorCode, message: string, options: LlmErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.issues = options.issues;
    this.requestId = options.requestId;
  }

  /** What follows from the code. */
  get traits(): ErrorTraits {
    return errorTable[this.code];
  }

  /** What a client reads of it: neither its cause nor its stack. */
  get data(): ErrorData {
    return {
      code: this.code,
      message: this.message,
      retryable: this.traits.retryable,
      ...(this.retryAfterMs === undefined ? {} : { retryAfterMs: this.retryAfterMs }),
      ...(this.issues === undefined ? {} : { issues: this.issues }),
    };
  }

  /** Makes any throw an LlmError, once at each boundary. A throw that has neither a code nor issues becomes `internal`. */
  static from(thrown: unknown): LlmError {
    if (thrown instanceof LlmError) return thrown;
    if (thrown instanceof z.core.$ZodError) return LlmError.invalidInput(inputIssues(thrown));
    // TRPCError wraps what a procedure threw, and its class may come from another copy of tRPC than ours: so no `instanceof` of it.
    const cause = thrown instanceof Error ? thrown.cause : undefined;
    if (cause instanceof LlmError) return cause;
    if (cause instanceof z.core.$ZodError) return LlmError.invalidInput(inputIssues(cause));
    return new LlmError('internal', 'Internal error', { cause: thrown });
  }

  /**
   * An LlmError `invalid_input`.
   *
   * @param found All issues; the error holds the first twenty, and the number of the others.
   */
  static invalidInput(found: readonly InputIssue[]): LlmError {
    const issues = boundedIssues(found);
    const lines = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
    return new LlmError('invalid_input', lines.join('; '), { issues });
  }
}
