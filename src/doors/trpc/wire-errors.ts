/**
 * Errors on tRPC's wire, in both directions: from any throw to an LlmError, from an LlmError to a TRPCError, and from there to
 * the shape that tRPC's links read. Every door of tRPC maps its errors here. Knows no procedure and no transport.
 *
 * No subscription throws an error numbered -32603, in whatever app the router is mounted: on that number tRPC's SSE link runs
 * the procedure again every few seconds, and its app hears nothing.
 */
import { randomUUID } from 'node:crypto';
import {
  getTRPCErrorFromUnknown,
  getTRPCErrorShape,
  TRPCError,
  type AnyTRPCRouter,
  type TRPC_ERROR_CODE_KEY,
  type TRPC_ERROR_CODE_NUMBER,
  type TRPCDefaultErrorShape,
  type TRPCErrorFormatter,
  type TRPCErrorShape,
} from '@trpc/server';
import type { Caller } from '../../caller.ts';
import { LlmError } from '../../errors.ts';
import type { ErrorCode, ErrorData } from '../../protocol.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';
import type { RequestTrace } from '../../telemetry/traces.ts';
import type { LlmContext, RequestNote } from './context.ts';
import type { ProcedureCall } from './procedure-call.ts';

/** What a client finds as `error` of a call that was refused. */
export interface LlmErrorShape extends TRPCErrorShape {
  /** Why the call was refused, for people to read. */
  message: string;
  /** JSON-RPC's number for tRPC's code; never -32603 for a subscription. */
  code: TRPC_ERROR_CODE_NUMBER;
  /** tRPC's facts about the failed call, and the service's own. */
  data: LlmErrorShapeData;
}

/** The `data` of an error that a client catches. */
export interface LlmErrorShapeData {
  /** tRPC's code, which `llm.code` refines. */
  code: TRPC_ERROR_CODE_KEY;
  /** The HTTP status that tRPC has for its code. */
  httpStatus: number;
  /** The procedure that was called, cut to 200 characters. */
  path?: string;
  /** Why the call was refused. */
  llm: ErrorData;
  /** The id under which the refusal is logged; absent where nothing was logged. */
  requestId?: string;
}

const internalErrorNumber = -32603;
const unprocessableNumber = -32022;
/** A refusal repeats no more characters of a procedure's path than this. */
const pathCharsMax = 200;

/** Puts `error.data.llm` on every error, and the id under which it is logged. Leaves stacks out, and cuts a long path. */
export const errorFormatter: TRPCErrorFormatter<LlmContext, LlmErrorShape> = ({ shape, error, type, ctx }) => {
  const refusal = fromTrpcError(error);
  const requestId = ctx?.note?.requestId ?? refusal.requestId;
  const { stack: _stack, path, ...data } = shape.data;
  // tRPC's adapters and the host's middleware may throw an error numbered -32603. A link would then start the subscription again, so
  // a subscription gets another number.
  const code = type === 'subscription' && shape.code === internalErrorNumber ? unprocessableNumber : shape.code;
  return {
    ...shape,
    message: refusal.message,
    code,
    data: {
      ...data,
      ...(path === undefined ? {} : { path: shortPath(path) }),
      llm: refusal.data,
      ...(requestId === undefined ? {} : { requestId }),
    },
  };
};

/**
 * For the `errorFormatter` of a host's own tRPC app: puts `error.data.llm` on an LlmError that the host's code throws, in a
 * middleware for example. Every other error passes unchanged. The procedures of `createLlmRouter` need no formatter.
 */
export function llmErrorFormatter<Shape extends TRPCDefaultErrorShape>({
  shape,
  error,
}: {
  readonly shape: Shape;
  readonly error: TRPCError;
}): Shape & { readonly data: { readonly llm?: ErrorData } } {
  if (!(error.cause instanceof LlmError)) return shape;
  return { ...shape, data: { ...shape.data, llm: error.cause.data } };
}

/** The error as tRPC's links read it, on any transport. What is known of the call goes to the router's formatter. */
export function errorOnWire(
  router: AnyTRPCRouter,
  cause: unknown,
  call: Partial<ProcedureCall>,
  ctx?: object,
): unknown {
  const config = router._def._config;
  const { type = 'unknown', path, input } = call;
  const error = cause instanceof LlmError ? toTrpcError(cause) : getTRPCErrorFromUnknown(cause);
  const shape: unknown = getTRPCErrorShape({ config, error, type, path, input, ctx });
  return config.transformer.output.serialize(shape);
}

/** Logs that a request was refused. A door calls it once for each refused request, when it knows of the refusal. */
export function logRefusal(
  telemetry: Telemetry,
  cause: unknown,
  { door, requestId, caller, trace }: RequestNote,
): void {
  const { code } = codedError(cause);
  trace?.refused(code);
  telemetry.refused({ door, code, requestId, caller, ...(trace && { traceId: trace.traceId }) });
}

export interface PublicErrorOptions {
  readonly telemetry: Telemetry;
  /** Whether the router is mounted in somebody else's app. Then no door logs its refusals, so `publicError` does. */
  readonly embedded?: boolean;
}

/**
 * The error that a procedure throws at a client. tRPC's links don't run a call again on its code. It has neither a cause nor a
 * stack, since the error formatter of a host may send everything that it finds on an error.
 */
export function publicError(
  thrown: unknown,
  { telemetry, embedded }: PublicErrorOptions,
  { caller, trace }: { readonly caller?: Caller; readonly trace?: RequestTrace | undefined } = {},
): TRPCError {
  const error = codedError(thrown);
  if (error.code === 'internal') telemetry.internalError('procedure', error.cause);
  const { code, retryAfterMs, issues } = error;
  const requestId = embedded ? (trace?.requestId ?? randomUUID()) : undefined;
  if (requestId !== undefined) {
    trace?.refused(code);
    const traceId = trace && { traceId: trace.traceId };
    telemetry.refused({ door: 'embedded', code, requestId, caller: caller?.name, ...traceId });
  }
  const bare = new LlmError(code, error.message, { retryAfterMs, issues, requestId });
  bare.stack = `${bare.name}: ${bare.message}`;
  const wrapped = toTrpcError(bare);
  wrapped.stack = bare.stack;
  return wrapped;
}

/** The TRPCError for an LlmError: it has tRPC's code for the LlmError's code, and the LlmError as its cause. */
function toTrpcError(cause: LlmError): TRPCError {
  return new TRPCError({ code: cause.traits.trpc, message: cause.message, cause });
}

/** Any throw as an LlmError. */
function codedError(thrown: unknown): LlmError {
  return thrown instanceof TRPCError ? fromTrpcError(thrown) : LlmError.from(thrown);
}

/** The LlmError inside a TRPCError, or one made for an error that tRPC threw itself, with no more than a client may read. */
function fromTrpcError(error: TRPCError): LlmError {
  if (error.cause instanceof LlmError) return error.cause;
  const code = codeOf(error.code);
  if (code === 'internal') return LlmError.from(error);
  // Without a cause the message is tRPC's own: it names a procedure, a content type or a size. A message that tRPC took over
  // from a cause can hold anything, so a client reads a fixed one instead.
  const message = error.cause === undefined ? shortMessage(error.message) : fixedMessages[code];
  return new LlmError(code, message, { cause: error });
}

type CodeOfTrpc = Extract<
  ErrorCode,
  'invalid_input' | 'unauthorized' | 'forbidden' | 'too_large' | 'rate_limited' | 'internal'
>;

function codeOf(code: TRPCError['code']): CodeOfTrpc {
  switch (code) {
    case 'UNAUTHORIZED':
      return 'unauthorized';
    case 'FORBIDDEN':
      return 'forbidden';
    case 'PAYLOAD_TOO_LARGE':
      return 'too_large';
    case 'TOO_MANY_REQUESTS':
      return 'rate_limited';
    case 'PARSE_ERROR':
    case 'BAD_REQUEST':
    case 'NOT_FOUND':
    case 'METHOD_NOT_SUPPORTED':
    case 'UNSUPPORTED_MEDIA_TYPE':
      return 'invalid_input';
    default:
      return 'internal';
  }
}

const fixedMessages: Readonly<Record<CodeOfTrpc, string>> = {
  invalid_input: 'The request could not be read: expected JSON as tRPC writes it',
  unauthorized: 'Not authorized',
  forbidden: 'Not allowed',
  too_large: 'The request is too large',
  rate_limited: 'Too many requests',
  internal: 'Internal error',
};

/** tRPC's messages around a path are short. */
const messageCharsMax = pathCharsMax + 100;

function shortMessage(message: string): string {
  return message.length > messageCharsMax ? `${message.slice(0, messageCharsMax)}…` : message;
}

function shortPath(path: string): string {
  return path.length > pathCharsMax ? `${path.slice(0, pathCharsMax)}…` : path;
}
