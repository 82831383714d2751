/**
 * What went wrong upstream, as one of the service's error codes. Knows nothing of the SDK or of HTTP libraries. No
 * message made here contains anything that upstream wrote: it may quote a prompt, a key or a URL, and these messages
 * reach clients.
 */
import { LlmError } from '../errors.ts';
import type { ErrorCode } from '../protocol.ts';

export type UpstreamCode = Extract<ErrorCode, `upstream_${string}`>;

const messages: Readonly<Record<UpstreamCode, string>> = {
  upstream_auth: 'The model provider refused the service’s credentials',
  upstream_invalid_request: 'The model provider refused the request as invalid',
  upstream_rate_limited: 'The model provider’s rate limit is reached',
  upstream_overloaded: 'The model provider is overloaded',
  upstream_unreachable: 'The model provider can’t be reached',
  upstream_timeout: 'The model provider took too long',
  upstream_truncated: 'The answer broke off before its end',
  upstream_error: 'The model provider failed',
};

export interface UpstreamFailureOptions {
  /** Replaces the code's own message. */
  readonly message?: string | undefined;
  readonly cause?: FailureCause | Error | undefined;
  /** Upstream's id of the request. */
  readonly requestId?: string | undefined;
  /**
   * Upstream's own sentence, unchanged. It may quote anything; `upstream-words.ts` removes quotations before it is
   * logged.
   */
  readonly said?: string | undefined;
  /** How long upstream asks to wait before the next request. */
  readonly retryAfterMs?: number | undefined;
  /** Whether upstream may bill an attempt for which it reported no usage. True by default. */
  readonly maybeBilled?: boolean;
  /** Whether no other attempt may be made, not even with a fallback. False by default. */
  readonly final?: boolean;
  /** Whether the same request may be sent again. By default, whether the code is retryable. */
  readonly retry?: boolean | undefined;
}

/** Why an attempt has not produced a complete message. */
export class UpstreamFailure extends LlmError {
  declare readonly code: UpstreamCode;
  readonly #options: UpstreamFailureOptions;
  readonly maybeBilled: boolean;
  readonly final: boolean;
  /** Whether the same request may be sent again to the same config's upstream. */
  readonly retry: boolean;

  constructor(code: UpstreamCode, options: UpstreamFailureOptions = {}) {
    super(code, options.message ?? messages[code], options);
    this.#options = options;
    this.maybeBilled = options.maybeBilled ?? true;
    this.final = options.final ?? false;
    this.retry = options.retry ?? this.traits.retryable;
  }

  /**
   * Whether the request was sent on a kept socket, which upstream may have closed. A new socket may work, without a
   * wait.
   */
  get onKeptSocket(): boolean {
    return this.cause instanceof FailureCause && this.cause.onKeptSocket;
  }

  /** A getter rather than a property, so that code which prints an error's properties doesn't print it. */
  get said(): string | undefined {
    return this.#options.said;
  }

  /** Whether it contains anything that upstream wrote. */
  get holdsWords(): boolean {
    const { cause, requestId, said } = this.#options;
    return said !== undefined || requestId !== undefined || (cause instanceof FailureCause && cause.type !== undefined);
  }

  /**
   * Returns the same failure with each of upstream's words replaced by the result of `ownWord`, since a word may quote
   * the request or its key.
   */
  inWordsOf(ownWord: (word: string | undefined) => string | undefined): UpstreamFailure {
    const { cause, requestId } = this.#options;
    return new UpstreamFailure(this.code, {
      ...this.#options,
      requestId: ownWord(requestId),
      cause: cause instanceof FailureCause ? cause.inWordsOf(ownWord) : cause,
    });
  }
}

interface FailureFacts {
  readonly code: string;
  readonly type?: string | undefined;
  readonly status?: number | undefined;
  readonly requestPath?: string | undefined;
  readonly check?: string | undefined;
  readonly sent?: boolean;
  readonly onKeptSocket?: boolean;
  readonly cause?: unknown;
}

/**
 * The cause of an upstream failure, for the log: a short code of the service's or of Node's, and facts that help an
 * operator.
 */
export class FailureCause extends Error {
  override readonly name = 'FailureCause';
  readonly code: string;
  /** Upstream's own error type. */
  readonly type: string | undefined;
  /** HTTP status of the response; undefined where there was none. */
  readonly status: number | undefined;
  /** The path of the request where upstream doesn't know it, without any part that may be a secret. */
  readonly requestPath: string | undefined;
  /** The settings and config keys that an operator should check. */
  readonly check: string | undefined;
  /** Whether any part of the request may have reached upstream. */
  readonly sent: boolean;
  /** Whether the request was sent on a socket that had been idle, and that upstream may have closed at that moment. */
  readonly onKeptSocket: boolean;

  constructor(message: string, facts: FailureFacts) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = facts.code;
    this.type = facts.type;
    this.status = facts.status;
    this.requestPath = facts.requestPath;
    this.check = facts.check;
    this.sent = facts.sent ?? true;
    this.onKeptSocket = facts.onKeptSocket ?? false;
  }

  /**
   * The same cause, with upstream's error type replaced by the result of `ownWord`. A type of the table below stays: it is a
   * fixed word, and can't quote the request.
   */
  inWordsOf(ownWord: (word: string | undefined) => string | undefined): FailureCause {
    const { message, type, code, status, requestPath, check, sent, onKeptSocket, cause } = this;
    const own = isErrorType(type) ? type : ownWord(type);
    return new FailureCause(message, { code, type: own, status, requestPath, check, sent, onKeptSocket, cause });
  }
}

/**
 * The code for each error type, by the plain form of its name. Gateways name the same error as the API does, as
 * OpenAI's or Google's API does, or by a Python class.
 */
const codeOfType: ReadonlyMap<string, UpstreamCode> = new Map(
  Object.entries({
    upstream_auth: 'authentication permission permissiondenied unauthenticated invalidapikey billing insufficientquota',
    upstream_invalid_request:
      'invalidrequest badrequest invalidargument notfound modelnotfound requesttoolarge contextlengthexceeded unprocessableentity',
    upstream_rate_limited: 'ratelimit ratelimitexceeded resourceexhausted toomanyrequests throttling',
    upstream_overloaded: 'overloaded engineoverloaded serviceunavailable unavailable',
    upstream_timeout: 'timeout apitimeout deadlineexceeded gatewaytimeout',
    upstream_error: 'api server internal internalserver',
  } satisfies Partial<Record<UpstreamCode, string>>).flatMap(([code, names]) =>
    names.split(' ').map((name) => [name, code as UpstreamCode] as const),
  ),
);

/** Makes `rate_limit_error`, `RateLimitError` and `RATE_LIMIT` the same. */
function plainType(type: string): string {
  return type
    .toLowerCase()
    .replace(/[^a-z]/g, '')
    .replace(/(?:error|exception)$/, '');
}

/** Whether this is the name of an error type that is known here. */
export function isErrorType(type: unknown): type is string {
  return typeof type === 'string' && codeOfType.has(plainType(type));
}

const codeOfStatus: ReadonlyMap<number, UpstreamCode> = new Map([
  [401, 'upstream_auth'],
  [402, 'upstream_auth'],
  [403, 'upstream_auth'],
  [408, 'upstream_timeout'],
  [409, 'upstream_error'],
  [425, 'upstream_error'],
  [429, 'upstream_rate_limited'],
  [503, 'upstream_overloaded'],
  [504, 'upstream_timeout'],
  [529, 'upstream_overloaded'],
]);

/** The code for an error of upstream's: by its type where that is known, else by the HTTP status. */
export function classify(type: unknown, status?: number): UpstreamCode {
  const known = typeof type === 'string' ? codeOfType.get(plainType(type)) : undefined;
  if (known) return known;
  if (status === undefined) return 'upstream_error';
  return codeOfStatus.get(status) ?? (status >= 400 && status < 500 ? 'upstream_invalid_request' : 'upstream_error');
}

/**
 * Reads `x-should-retry`, by which upstream says whether the same request may be sent again. Undefined where it says
 * neither.
 */
export function parseShouldRetry(header: string | undefined): boolean | undefined {
  const said = header?.trim().toLowerCase();
  return said === 'true' || said === 'false' ? said === 'true' : undefined;
}
