/**
 * How requests over HTTP are refused: every failure under one of our codes, in the shape that REST has, and in the log. Knows
 * fastify's own errors, nothing of who is refused for what.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { RefusalDoor } from '../telemetry/refusal-lines.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';

export class HttpRefusals {
  readonly #telemetry: Telemetry;
  readonly #callers = new WeakMap<FastifyRequest, Caller>();

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  /** Remembers who asks, for the log. */
  noteCaller(request: FastifyRequest, caller: Caller): Caller {
    this.#callers.set(request, caller);
    return caller;
  }

  /** @param status The one that belongs to the error's code unless given. */
  send(request: FastifyRequest, reply: FastifyReply, thrown: FastifyError | LlmError, status?: number): FastifyReply {
    const error = asLlmError(thrown);
    this.log(request, error, request.routeOptions.url?.startsWith('/api/') ? 'rest' : 'http');
    if (error.retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(error.retryAfterMs / 1_000));
    return reply.code(status ?? error.traits.status).send({ error: error.data });
  }

  log(request: FastifyRequest, { code, cause }: LlmError, door: RefusalDoor): void {
    if (code === 'internal') this.#telemetry.internalError(door, cause);
    this.#telemetry.refused({ door, code, requestId: request.id, caller: this.#callers.get(request)?.name });
  }
}

export function invalidRequest(message: string): LlmError {
  return LlmError.invalidInput([{ path: '', message }]);
}

/** fastify's own refusals in our codes; https://fastify.dev/docs/latest/Reference/Errors/ */
export function asLlmError(error: FastifyError | LlmError): LlmError {
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
