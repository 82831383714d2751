/**
 * What went wrong upstream, as one of our codes. Knows nothing of the SDK or of HTTP libraries. No message made here
 * holds a word of upstream's: it may quote a prompt, a key or a URL, and our messages reach clients.
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
  /** Instead of the code's own message. */
  readonly message?: string | undefined;
  readonly cause?: UpstreamFault | Error | undefined;
  readonly requestId?: string | undefined;
  /** Upstream's own sentence as it came. It may quote anything: `said.ts` makes it fit for a log. */
  readonly said?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  /** Whether upstream may bill an attempt of which it told nothing. True unless given. */
  readonly maybeBilled?: boolean;
  /** Whether nothing more may be tried. False unless given. */
  readonly final?: boolean;
  /** Whether the same request may be sent again, where upstream or the failure says more of it than the code does. */
  readonly retry?: boolean | undefined;
}

/** Why an attempt ended without an answer. */
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

  /** Whether it may be no more than an idle socket that upstream had closed: another one may do, and at once. */
  get onKeptSocket(): boolean {
    return this.cause instanceof UpstreamFault && this.cause.onKeptSocket;
  }

  /** No property, so that nothing that prints an error prints it. */
  get said(): string | undefined {
    return this.#options.said;
  }

  /** Whether anything in it is in upstream's own words. */
  get holdsWords(): boolean {
    const { cause, requestId, said } = this.#options;
    return (
      said !== undefined || requestId !== undefined || (cause instanceof UpstreamFault && cause.type !== undefined)
    );
  }

  /** The same with each of upstream's words as `ownWord` gives it back: they may quote the request, and the key that went with it. */
  inWordsOf(ownWord: (word: string | undefined) => string | undefined): UpstreamFailure {
    const { cause, requestId } = this.#options;
    return new UpstreamFailure(this.code, {
      ...this.#options,
      requestId: ownWord(requestId),
      cause: cause instanceof UpstreamFault ? cause.inWordsOf(ownWord) : cause,
    });
  }
}

interface UpstreamFaultFacts {
  readonly code: string;
  readonly type?: string | undefined;
  readonly status?: number | undefined;
  readonly requestPath?: string | undefined;
  readonly check?: string | undefined;
  readonly sent?: boolean;
  readonly onKeptSocket?: boolean;
  readonly cause?: unknown;
}

/** What lay behind a failure, for logs: a short code of ours or of Node's, and what else an operator can use. */
export class UpstreamFault extends Error {
  override readonly name = 'UpstreamFault';
  readonly code: string;
  /** Upstream's own error type. */
  readonly type: string | undefined;
  /** HTTP status of the answer, where there was one. */
  readonly status: number | undefined;
  /** The path that was asked for, where that is what is wrong; without any part that may be a secret. */
  readonly requestPath: string | undefined;
  /** What an operator had better look at: names of settings and keys of a config. */
  readonly check: string | undefined;
  /** Whether anything of the request can have reached upstream. */
  readonly sent: boolean;
  /** Whether it went out on a socket that had been kept idle, and that upstream may have closed just then. */
  readonly onKeptSocket: boolean;

  constructor(message: string, facts: UpstreamFaultFacts) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = facts.code;
    this.type = facts.type;
    this.status = facts.status;
    this.requestPath = facts.requestPath;
    this.check = facts.check;
    this.sent = facts.sent ?? true;
    this.onKeptSocket = facts.onKeptSocket ?? false;
  }

  /** As a failure's. The names of errors that are known here are no quotation. */
  inWordsOf(ownWord: (word: string | undefined) => string | undefined): UpstreamFault {
    const { message, type, code, status, requestPath, check, sent, onKeptSocket, cause } = this;
    const own = isErrorType(type) ? type : ownWord(type);
    return new UpstreamFault(message, { code, type: own, status, requestPath, check, sent, onKeptSocket, cause });
  }
}

/**
 * By the plain form of a type's name, since gateways name the same errors after the API, after OpenAI's API, after Google's
 * or after classes of Python.
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

/** `rate_limit_error`, `RateLimitError` and `RATE_LIMIT` are one. */
function plainType(type: string): string {
  return type
    .toLowerCase()
    .replace(/[^a-z]/g, '')
    .replace(/(?:error|exception)$/, '');
}

/** Whether this is the name of an error that is known here. */
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

/** The code for what upstream said: by the error's type where it is a known one, else by the HTTP status. */
export function classify(type: unknown, status?: number): UpstreamCode {
  const known = typeof type === 'string' ? codeOfType.get(plainType(type)) : undefined;
  if (known) return known;
  if (status === undefined) return 'upstream_error';
  return codeOfStatus.get(status) ?? (status >= 400 && status < 500 ? 'upstream_invalid_request' : 'upstream_error');
}

/** Whether upstream says that the same request may be sent again; undefined where it leaves that to its status. */
export function parseShouldRetry(header: string | undefined): boolean | undefined {
  const said = header?.trim().toLowerCase();
  return said === 'true' || said === 'false' ? said === 'true' : undefined;
}
