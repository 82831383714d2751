/**
 * The tRPC door's procedures. Validates, asks `generations`, and hands each event on under its id; keeps nothing.
 *
 * No subscription throws an error numbered -32603, in whatever app the router is mounted: on it tRPC's SSE link runs the
 * procedure again every few seconds, unseen. What happens after `start` is an event; what is thrown before has a code.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import {
  initTRPC,
  TRPCError,
  type AnyTRPCRouter,
  type inferRouterInputs,
  type TRPCDefaultErrorShape,
  type TRPCErrorFormatter,
} from '@trpc/server';
import superjson from 'superjson';
import type { z } from 'zod';
import type { Credentials } from '../../access/access.ts';
import type { ResponseRoom } from '../../access/response-room.ts';
import type { Caller } from '../../caller.ts';
import type { ConfigNames, ConfigSnapshot, Expected, VariablesOf } from '../../configs/configs.ts';
import { LlmError } from '../../errors.ts';
import { EventBatches } from './event-batches.ts';
import { untilRoom, type FlowLimits } from '../flow-control.ts';
import type { Generations } from '../../generations/generations.ts';
import type { LogView } from '../../generations/view.ts';
import { readPlainInput } from './plain-input.ts';
import type { ErrorCode, ErrorData, InputSchemas, Message, Resumable } from '../../protocol.ts';
import type { RefusalDoor } from '../../telemetry/refusal-lines.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';

export interface RouterOptions {
  readonly generations: Generations;
  readonly configs: () => ConfigSnapshot;
  readonly authenticate: (request: AuthRequest) => Caller | Promise<Caller>;
  readonly schemas: InputSchemas;
  readonly telemetry: Telemetry;
  readonly flow: FlowLimits;
  /** Whether it is to be mounted in somebody else's app, whose error formatter may send all that it finds. */
  readonly embedded?: boolean;
}

/** What `authenticate` is given: the credentials that came with the request, and the context of the tRPC app. */
export interface AuthRequest extends Credentials {
  readonly context: unknown;
}

/** What a door of ours notes of a request: for the log line of a refusal, for the refusal itself, and what it may not do. */
export interface RequestNote {
  readonly door: RefusalDoor;
  readonly requestId: string;
  /** The caller's name, once it is known. */
  caller?: string | undefined;
  /** @throws LlmError where the request may attach to a generation, but start none. */
  readonly checkStart?: (() => void) | undefined;
  /** Where answers find room that may be long; absent where the door knows not when they have left. */
  readonly room?: ResponseRoom;
}

/** What the procedures look for in the context: what tRPC's adapters pass to `createContext`. All of it may be absent. */
export interface LlmContext {
  readonly note?: RequestNote | undefined;
  readonly req?: { readonly headers: IncomingHttpHeaders | Headers; readonly socket?: Socket | undefined } | undefined;
  readonly res?: unknown;
  readonly info?: { readonly connectionParams?: Credentials['connectionParams'] } | undefined;
}

/** The input of `llm.stream`: a union by config, so that each config takes exactly its own prompt's variables. */
export type StreamInput<C> = {
  [Name in ConfigNames<C>]: {
    readonly config: Name;
    readonly messages: readonly Message[];
    readonly generationId?: string | undefined;
  } & VariablesInput<Name, VariablesOf<C, Name>> &
    Resumable;
}[ConfigNames<C>];

type VariablesInput<Config extends string, Names extends string> = [Names] extends [never]
  ? { readonly variables?: NoVariables<Config> | undefined }
  : string extends Names
    ? { readonly variables?: Readonly<Record<string, string>> | undefined }
    : { readonly variables: Readonly<Record<Names, string>> };

/**
 * The variables of a config whose prompt has none. With a key that nobody can write, since the compiler finds no fault in a
 * key too many of `{}`, and complains of `never` in place of a name that is misspelt where another config takes any key.
 */
type NoVariables<Config extends string> = { readonly [noVariable]?: Config };
declare const noVariable: unique symbol;

/** What `llm.stream` of a router takes: config names and variables are literal types. */
export type StreamInputOf<TRouter extends AnyTRPCRouter> =
  inferRouterInputs<TRouter> extends { llm: { stream: infer Input } }
    ? Input
    : Expected<'a router that has the procedures of createLlmRouter under llm'>;

/** The type of the router that serves the given configs: `type AppRouter = LlmRouter<typeof configs>`. */
export type LlmRouter<C> = ReturnType<typeof createRouter<C>>;

/**
 * superjson's wire, without its walks: all that these procedures take and answer is plain JSON. The walk would also refuse
 * answers that hold a key named `constructor` or `prototype`, as the input of a tool may.
 */
const transformer = {
  input: { serialize: superjson.serialize.bind(superjson), deserialize: readPlainInput },
  output: { serialize: (value: unknown) => ({ json: value }), deserialize: superjson.deserialize.bind(superjson) },
};

/** What `transformer.output` makes of a value whose JSON is there already. */
export function wrapJson(json: string): string {
  return `{"json":${json}}`;
}

/** Puts `error.data.llm` on every error, and the request's id as the log has it; leaves stacks out. */
const errorFormatter = (({ shape, error, type, ctx }) => {
  const told = fromTrpc(error);
  const llm = told.data;
  const requestId = ctx?.note?.requestId ?? told.requestId;
  const { stack: _stack, ...data } = shape.data;
  // What the adapters themselves throw (and a host's middleware) may carry the number that makes links re-run.
  const code = type === 'subscription' && shape.code === internalErrorNumber ? unprocessableNumber : shape.code;
  return {
    ...shape,
    message: llm.message,
    code,
    data: { ...data, llm, ...(requestId === undefined ? {} : { requestId }) },
  };
}) satisfies TRPCErrorFormatter<LlmContext, TRPCDefaultErrorShape & { data: { llm: ErrorData; requestId?: string } }>;

/**
 * For the `errorFormatter` of a host: puts `error.data.llm` on what is thrown as an LlmError outside of our procedures,
 * in a middleware of the host's say, and leaves everything else as it is. Our procedures need no help with their errors.
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

const internalErrorNumber = -32603;
const unprocessableNumber = -32022;

/** Builds the router over what serves it. */
export function createRouter<C>(options: RouterOptions) {
  const { generations, schemas } = options;
  const t = initTRPC.context<LlmContext>().create({ transformer, errorFormatter, isDev: false });

  // What `errors` formats is final: a host's own formatter isn't asked. Our own service needs none of it, and its SSE
  // door takes what a subscription returns as it is, without the generator that `errors` puts around it.
  const first = options.embedded ? t.procedure.errors(errorFormatter) : t.procedure;
  const procedure = first.use(async ({ ctx, next }) => {
    const caller = await callerOf(ctx, options);
    if (ctx?.note) ctx.note.caller = caller.name;
    const result = await next({ ctx: { caller } });
    if (!result.ok) throw publicError(result.error, options, caller);
    return result;
  });
  const byId = procedure.input(parse(schemas.generation));
  // Names and variables are literal types to clients; on the wire they are strings, judged when they are looked up.
  const parseStream: (input: unknown) => unknown = parse(schemas.stream);

  const roomFor = (ctx: LlmContext & { readonly caller: Caller }) => (bytes: number) =>
    ctx.note?.room?.take(ctx.caller, bytes);
  const answer = (ctx: LlmContext & { readonly caller: Caller }, signal: AbortSignal, view: LogView) =>
    new EventBatches(view, {
      refusal: (thrown) => publicError(thrown, options, ctx.caller),
      ready: () => webSocketReady(ctx, signal, options.flow),
    });

  return t.router({
    llm: t.router({
      configs: procedure.query(() => options.configs().summaries()),

      stream: procedure
        .input(parseStream as (input: unknown) => StreamInput<C>)
        .subscription(({ ctx, input, signal = neverAborts() }) =>
          answer(ctx, signal, generations.stream(ctx.caller, input, signal, ctx.note?.checkStart)),
        ),

      follow: procedure
        .input(parse(schemas.follow))
        .subscription(({ ctx, input, signal = neverAborts() }) =>
          answer(ctx, signal, generations.follow(ctx.caller, input, signal)),
        ),

      cancel: byId.mutation(async ({ ctx, input }) => ({
        outcome: await generations.cancel(ctx.caller, input.generationId),
      })),

      generation: byId.query(({ ctx, input }) => generations.snapshot(ctx.caller, input.generationId, roomFor(ctx))),

      generations: procedure
        .input(parse(schemas.generations))
        .query(({ ctx, input }) => generations.list(ctx.caller, input ?? {}, roomFor(ctx))),
    }),
  });
}

function parse<T>(schema: z.ZodType<T>): (input: unknown) => T {
  return (input) => {
    const parsed = schema.safeParse(input);
    if (!parsed.success) throw LlmError.from(parsed.error);
    return parsed.data;
  };
}

async function callerOf(context: LlmContext, options: RouterOptions): Promise<Caller> {
  try {
    return await options.authenticate(authRequest(context));
  } catch (error) {
    throw publicError(error, options);
  }
}

function authRequest(context: LlmContext | null | undefined): AuthRequest {
  const headers = context?.req?.headers ?? {};
  return {
    headers: headers instanceof Headers ? Object.fromEntries(headers) : headers,
    connectionParams: context?.info?.connectionParams,
    context,
  };
}

/**
 * tRPC's WebSocket adapter passes the WebSocket as `res` and the request that it was opened by as `req`, and hands all it
 * gets to the socket at once: in a host's app, this is where a slow reader is waited for.
 */
function webSocketReady({ req, res }: LlmContext, signal: AbortSignal, flow: FlowLimits): Promise<void> | undefined {
  if (typeof res !== 'object' || res === null || !('bufferedAmount' in res) || !req?.socket) return undefined;
  const webSocket = res as { readonly bufferedAmount: number };
  return untilRoom(req.socket, signal, flow, () => webSocket.bufferedAmount);
}

/** Callers within the process need not pass a signal: they stop by no longer iterating. */
function neverAborts(): AbortSignal {
  return new AbortController().signal;
}

/** The error under tRPC's name for its code; formatters find it as the cause. */
export function asTrpcError(cause: LlmError): TRPCError {
  return new TRPCError({ code: cause.traits.trpc, message: cause.message, cause });
}

/**
 * The error that goes out: a code that links don't re-run, and neither the cause nor a stack, since a host's formatter
 * may send all that it finds. Logged here where no door of ours does it.
 */
function publicError(thrown: unknown, { telemetry, embedded }: RouterOptions, caller?: Caller): TRPCError {
  const error = codedError(thrown);
  if (error.code === 'internal') telemetry.internalError('procedure', error.cause);
  const { code, retryAfterMs, issues } = error;
  const requestId = embedded ? randomUUID() : undefined;
  if (requestId !== undefined) telemetry.refused({ door: 'embedded', code, requestId, caller: caller?.name });
  const told = new LlmError(code, error.message, { retryAfterMs, issues, requestId });
  told.stack = `${told.name}: ${told.message}`;
  const wrapped = asTrpcError(told);
  wrapped.stack = told.stack;
  return wrapped;
}

/** Any throw as an error with a code of ours. */
export function codedError(thrown: unknown): LlmError {
  return thrown instanceof TRPCError ? fromTrpc(thrown) : LlmError.from(thrown);
}

/** What may be told of an error that tRPC has in hand: ours by its code, its own by theirs. */
function fromTrpc(error: TRPCError): LlmError {
  if (error.cause instanceof LlmError) return error.cause;
  const code = ownCode(error.code);
  if (code === 'internal') return LlmError.from(error);
  // tRPC's own messages name a procedure, a content type or a size; those of plain errors can hold anything.
  return new LlmError(code, error.cause === undefined ? error.message : fixedMessages[code], { cause: error });
}

type OwnCode = Extract<
  ErrorCode,
  'invalid_input' | 'unauthorized' | 'forbidden' | 'too_large' | 'rate_limited' | 'internal'
>;

function ownCode(code: TRPCError['code']): OwnCode {
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

const fixedMessages: Readonly<Record<OwnCode, string>> = {
  invalid_input: 'The request could not be read: expected JSON as tRPC writes it',
  unauthorized: 'Not authorized',
  forbidden: 'Not allowed',
  too_large: 'The request is too large',
  rate_limited: 'Too many requests',
  internal: 'Internal error',
};
