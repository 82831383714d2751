/**
 * How a request over HTTP is refused: every failure becomes an LlmError, is logged once, and goes out with the HTTP status of
 * its code. A door says under which name its refusals are logged and what their body looks like. Knows fastify's own errors,
 * and no rule by which a request is refused.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { RefusalDoor } from '../telemetry/refusal-lines.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { HttpTraces } from './http-traces.ts';

/** How one door refuses. */
export interface RefusalStyle {
  /** The door's name in the log. */
  readonly door: (request: FastifyRequest) => RefusalDoor;
  /** The JSON that the client reads. */
  readonly body: (error: LlmError, request: FastifyRequest) => object;
  /** The HTTP status; unless given, the one that the table of errors has for the code. */
  readonly status?: (error: LlmError) => number;
  /** More headers of the response. Those that the route has set stay. */
  readonly headers?: (error: LlmError) => Readonly<Record<string, string>>;
}

/** The body of a refusal, for REST and for every route that belongs to no door: `{error: {code, message, requestId, …}}`. */
export const plainBody = ({ data }: LlmError, { id: requestId }: Pick<FastifyRequest, 'id'>): object => ({
  error: { ...data, requestId },
});

const plainStyle: RefusalStyle = { door: () => 'http', body: plainBody };

export class HttpRefusals {
  readonly #telemetry: Telemetry;
  readonly #traces: HttpTraces | undefined;
  readonly #callers = new WeakMap<FastifyRequest, Caller>();

  /** @param traces Undefined where no request is traced. */
  constructor(telemetry: Telemetry, traces?: HttpTraces) {
    this.#telemetry = telemetry;
    this.#traces = traces;
  }

  /** Remembers the caller of a request, so that its refusal is logged with the caller's name. */
  noteCaller(request: FastifyRequest, caller: Caller): Caller {
    this.#callers.set(request, caller);
    return caller;
  }

  /** An error handler for the routes of one door. */
  handler(style: RefusalStyle): (thrown: Error, request: FastifyRequest, reply: FastifyReply) => FastifyReply {
    return (thrown, request, reply) => this.send(request, reply, thrown, { style });
  }

  /** @param status The HTTP status; by default the one that the table of errors has for the code. */
  send(
    request: FastifyRequest,
    reply: FastifyReply,
    thrown: Error,
    { style = plainStyle, status }: { readonly style?: RefusalStyle; readonly status?: number } = {},
  ): FastifyReply {
    const error = asLlmError(thrown);
    this.#log(request, error, style.door(request));
    if (error.retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(error.retryAfterMs / 1_000));
    for (const [name, value] of Object.entries(style.headers?.(error) ?? {})) {
      if (!reply.hasHeader(name)) reply.header(name, value);
    }
    return reply.code(status ?? style.status?.(error) ?? error.traits.status).send(style.body(error, request));
  }

  #log(request: FastifyRequest, { code, cause }: LlmError, door: RefusalDoor): void {
    if (code === 'internal') this.#telemetry.internalError(door, cause);
    const trace = this.#traces?.of(request);
    trace?.refused(code);
    const caller = this.#callers.get(request)?.name;
    this.#telemetry.refused({ door, code, requestId: request.id, caller, ...(trace && { traceId: trace.traceId }) });
  }
}

/** An LlmError `invalid_input` about the request as a whole. */
export function invalidRequest(message: string): LlmError {
  return LlmError.invalidInput([{ path: '', message }]);
}

/** A refusal repeats no more characters of a path than this. */
const namedPathCharsMax = 200;

/** An LlmError `invalid_input`, to be sent with the status 404. */
export function noSuchRoute({ method, url }: Pick<FastifyRequest, 'method' | 'url'>): LlmError {
  const [path = ''] = url.split('?', 1);
  return invalidRequest(`No such route: ${method} ${path.slice(0, namedPathCharsMax)}`);
}

/** fastify's own refusals under the service's codes; https://fastify.dev/docs/latest/Reference/Errors/ */
function asLlmError(error: Error & Partial<Pick<FastifyError, 'code' | 'statusCode'>>): LlmError {
  if (error instanceof LlmError) return error;
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new LlmError('too_large', 'The body is larger than this service takes');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return invalidRequest('Expected a body of content-type application/json');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return invalidRequest('The body is not as long as its content-length says');
    default:
  }
  if (error.statusCode === 400) return invalidRequest('The request can’t be read');
  return LlmError.from(error);
}
