/** Refusals and failures as Anthropic's API writes them: `{type: 'error', error: {type, message}}`, with the service's code beside. */
import type { Failure } from '../failure.ts';

/** Anthropic's words for the codes that mean the same. Every other one is an `api_error`. */
const types: Partial<Readonly<Record<Failure['code'], string>>> = {
  invalid_input: 'invalid_request_error',
  conflict: 'invalid_request_error',
  unauthorized: 'authentication_error',
  forbidden: 'permission_error',
  config_not_found: 'not_found_error',
  generation_not_found: 'not_found_error',
  too_large: 'request_too_large',
  rate_limited: 'rate_limit_error',
  at_capacity: 'overloaded_error',
  shutting_down: 'overloaded_error',
  upstream_rate_limited: 'rate_limit_error',
  upstream_overloaded: 'overloaded_error',
  upstream_timeout: 'timeout_error',
};

/** The body of an error, and its event in a stream. */
interface ApiErrorBody {
  readonly type: 'error';
  readonly error: Failure & { readonly type: string };
}

/** @param more Other fields of the error, such as what the answer has cost. */
export function apiErrorBody(
  failure: Failure,
  more: object = {},
): ApiErrorBody & { readonly [field: string]: unknown } {
  return { type: 'error', error: { type: types[failure.code] ?? 'api_error', ...failure, ...more } };
}
