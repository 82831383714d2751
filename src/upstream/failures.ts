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
}

/** What may be passed on as upstream's id of a request; anything else in its place could be a quotation. */
const requestIds = /^[\w.:-]{1,128}$/;

/** Why an attempt ended without an answer. */
export class UpstreamFailure extends LlmError {
  declare readonly code: UpstreamCode;
  readonly #said: string | undefined;
  readonly maybeBilled: boolean;
  readonly final: boolean;

  constructor(code: UpstreamCode, options: UpstreamFailureOptions = {}) {
    const requestId = requestIds.test(options.requestId ?? '') ? options.requestId : undefined;
    super(code, options.message ?? messages[code], { ...options, requestId });
    this.#said = options.said;
    this.maybeBilled = options.maybeBilled ?? true;
    this.final = options.final ?? false;
  }

  /** No property, so that nothing that prints an error prints it. */
  get said(): string | undefined {
    return this.#said;
  }
}

/** What lay behind a failure, for logs: a short code of ours or of Node's, and upstream's own error type. */
export class UpstreamFault extends Error {
  override readonly name = 'UpstreamFault';
  readonly code: string;
  readonly type: string | undefined;
  /** Whether anything of the request can have reached upstream. */
  readonly sent: boolean;

  constructor(message: string, facts: { readonly code: string; readonly type?: string; readonly sent?: boolean }) {
    super(message);
    this.code = facts.code;
    this.type = facts.type;
    this.sent = facts.sent ?? true;
  }
}

const codeOfType: ReadonlyMap<string, UpstreamCode> = new Map([
  ['authentication_error', 'upstream_auth'],
  ['permission_error', 'upstream_auth'],
  ['billing_error', 'upstream_auth'],
  ['invalid_request_error', 'upstream_invalid_request'],
  ['not_found_error', 'upstream_invalid_request'],
  ['request_too_large', 'upstream_invalid_request'],
  ['rate_limit_error', 'upstream_rate_limited'],
  ['overloaded_error', 'upstream_overloaded'],
  ['timeout_error', 'upstream_timeout'],
  ['api_error', 'upstream_error'],
]);

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
  const known = typeof type === 'string' ? codeOfType.get(type) : undefined;
  if (known) return known;
  if (status === undefined) return 'upstream_error';
  return codeOfStatus.get(status) ?? (status >= 400 && status < 500 ? 'upstream_invalid_request' : 'upstream_error');
}

/**
 * How long upstream asks us to wait, in whole milliseconds; undefined where it doesn't. Reads `retry-after-ms`, then
 * `retry-after` as seconds or as an HTTP date (RFC 9110, 10.2.3).
 */
export function parseRetryAfter(headers: Headers, nowMs = Date.now()): number | undefined {
  const delayMs = [
    Number(headers.get('retry-after-ms') ?? Number.NaN),
    Number(headers.get('retry-after') ?? Number.NaN) * 1_000,
    Date.parse(headers.get('retry-after') ?? '') - nowMs,
  ].find(Number.isFinite);
  return delayMs === undefined ? undefined : Math.max(0, Math.ceil(delayMs));
}
