/** Refusals and failures as OpenAI's API writes them: `{error: {message, type, param, code}}`. The code is the service's own. */
import type { Failure } from '../failure.ts';

/** The body of an error, and its chunk in a stream. */
interface ApiErrorBody {
  readonly error: Failure & { readonly type: string; readonly param: string | null };
}

/** OpenAI's words for the codes that are no fault of the request. Every code of a server's failure is a `server_error`. */
const types: Partial<Readonly<Record<Failure['code'], string>>> = {
  rate_limited: 'rate_limit_error',
  upstream_rate_limited: 'rate_limit_error',
  cancelled: 'cancelled',
};
const ofTheRequest: ReadonlySet<Failure['code']> = new Set([
  'invalid_input',
  'unauthorized',
  'forbidden',
  'config_not_found',
  'generation_not_found',
  'conflict',
  'too_large',
]);

/** @param more Other fields of the error, such as what the answer has cost. */
export function apiErrorBody(failure: Failure, more: object = {}): ApiErrorBody {
  const { code, message, ...others } = failure;
  const type = types[code] ?? (ofTheRequest.has(code) ? 'invalid_request_error' : 'server_error');
  return { error: { message, type, param: failure.issues?.[0]?.path || null, code, ...others, ...more } };
}
