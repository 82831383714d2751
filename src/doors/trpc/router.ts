/**
 * The tRPC procedures. They validate the input, ask `generations`, and yield each event under its id; they keep nothing. What
 * happens after `start` is an event. What is thrown before it has a code, and goes out as wire-errors.ts writes it.
 */
import { randomUUID } from 'node:crypto';
import { initTRPC, type TrackedEnvelope } from '@trpc/server';
import type { z } from 'zod';
import { mayUse, type Caller } from '../../caller.ts';
import type { ConfigNames, ConfigSnapshot, VariablesOf } from '../../configs/configs.ts';
import type { Generations } from '../../generations/generations.ts';
import type { LogView } from '../../generations/view.ts';
import type { InputSchemas, StreamRequest } from '../../protocol.ts';
import type { Telemetry } from '../../telemetry/telemetry.ts';
import type { RequestTrace } from '../../telemetry/traces.ts';
import { untilRoom, type FlowLimits } from '../flow-control.ts';
import { parseInput } from '../parse-input.ts';
import type { AuthRequest, LlmContext } from './context.ts';
import { EventBatches } from './event-batches.ts';
import type { AnswerOf, answers, AnyEvent } from './typed-events.ts';
import { transformer } from './wire.ts';
import { errorFormatter, publicError } from './wire-errors.ts';

export interface RouterOptions {
  readonly generations: Generations;
  readonly configs: () => ConfigSnapshot;
  /** The caller of a request. Whatever it throws refuses the request. */
  readonly authenticate: (request: AuthRequest) => Caller | Promise<Caller>;
  readonly schemas: InputSchemas;
  readonly telemetry: Telemetry;
  readonly flow: FlowLimits;
  /** Whether it is mounted in somebody else's app, whose error formatter may send everything that it finds on an error. */
  readonly embedded?: boolean;
}

/** The input of `llm.stream`: a union by config, so that each config takes exactly its own prompt's variables. */
export type StreamInput<C> = {
  [Name in ConfigNames<C>]: {
    /** Name of the config that answers. */
    readonly config: Name;
    /** Never set: the place where `createLlmClient` reads the types of the answer. */
    readonly [answers]?: AnswerOf<C, Name>;
  } & VariablesInput<Name, VariablesOf<C, Name>> &
    Omit<StreamRequest, 'config' | 'variables'>;
}[ConfigNames<C>];

/** The `variables` of one config: required where its prompt has some, open where only the running service knows them. */
export type VariablesInput<Config extends string, Names extends string> = [Names] extends [never]
  ? {
      /** The prompt of this config has no variables. */
      readonly variables?: NoVariables<Config> | undefined;
    }
  : string extends Names
    ? {
        /** Exactly the variables of the config's prompt, by name. */
        readonly variables?: Readonly<Record<string, string>> | undefined;
      }
    : {
        /** Exactly the variables of the config's prompt, by name. */
        readonly variables: Readonly<Record<Names, string>>;
      };

/**
 * The variables of a config whose prompt has none. It has one optional key that nobody can write. `{}` would not do, since the
 * compiler accepts any object for it, and `never` would not either, since its error messages name nothing.
 */
export type NoVariables<Config extends string> = { readonly [noVariable]?: Config };
declare const noVariable: unique symbol;

/** The type of the router that serves the given configs: `type AppRouter = LlmRouter<typeof configs>`. */
export type LlmRouter<C> = ReturnType<typeof createRouter<C>>;

/**
 * Builds the router.
 *
 * @param C The type of the configs, as `defineConfigs` returns it.
 */
export function createRouter<C>(options: RouterOptions) {
  const { generations, schemas } = options;
  const t = initTRPC.context<LlmContext>().create({ transformer, errorFormatter, isDev: false });

  // `errors` formats the errors of these procedures whatever the formatter of the host is. It also puts a generator around what a
  // subscription returns. The service's own doors need neither, and pipe the `EventBatches` that a subscription returns.
  const first = options.embedded ? t.procedure.errors(errorFormatter) : t.procedure;
  const procedure = first.use(async ({ ctx, next, path, type }) => {
    // The doors of this service trace their requests themselves.
    const trace = options.embedded ? requestTrace(ctx, path, options) : undefined;
    let goesOn = false;
    try {
      const caller = await callerOf(ctx, options, trace);
      if (ctx?.note) ctx.note.caller = caller.name;
      const result = await next({ ctx: { caller, trace: trace ?? ctx?.note?.trace } });
      if (!result.ok) throw publicError(result.error, options, { caller, trace });
      goesOn = type === 'subscription';
      return result;
    } finally {
      if (!goesOn) trace?.end();
    }
  });
  const byId = procedure.input(parse(schemas.generation));
  // Clients see config names and variables as literal types. On the wire they are strings, and `generations` looks them up.
  const parseStream: (input: unknown) => unknown = parse(schemas.stream);

  const roomFor = (ctx: LlmContext & { readonly caller: Caller }) => (bytes: number) =>
    ctx.note?.room?.take(ctx.caller, bytes);
  // To clients, the events have the types of the tools that the configs declare.
  const eventsOf = (
    ctx: LlmContext & { readonly caller: Caller; readonly trace: RequestTrace | undefined },
    signal: AbortSignal,
    view: LogView,
  ): AsyncIterable<TrackedEnvelope<AnyEvent<C>>, void, unknown> => {
    const { caller, trace } = ctx;
    // In a later turn: a view that is refused closes before its refusal is known.
    if (options.embedded && trace) view.onClose(() => setImmediate(() => trace.end()));
    return new EventBatches(view, {
      refusal: (thrown) => publicError(thrown, options, { caller, trace }),
      ready: () => webSocketReady(ctx, signal, options.flow),
    }) as AsyncIterable<TrackedEnvelope<never>, void, unknown>;
  };
  const entranceOf = ({ note, trace }: LlmContext & { readonly trace: RequestTrace | undefined }) => note ?? { trace };

  return t.router({
    llm: t.router({
      configs: procedure.query(({ ctx }) =>
        options
          .configs()
          .summaries()
          .filter(({ name }) => mayUse(ctx.caller, name)),
      ),

      stream: procedure
        .input(parseStream as (input: unknown) => StreamInput<C>)
        .subscription(({ ctx, input, signal = neverAborts() }) =>
          eventsOf(ctx, signal, generations.stream(ctx.caller, input, signal, entranceOf(ctx))),
        ),

      follow: procedure
        .input(parse(schemas.follow))
        .subscription(({ ctx, input, signal = neverAborts() }) =>
          eventsOf(ctx, signal, generations.follow(ctx.caller, input, signal, entranceOf(ctx))),
        ),

      cancel: byId.mutation(async ({ ctx, input }) => ({
        outcome: await generations.cancel(ctx.caller, input.generationId),
      })),

      resolve: procedure.input(parse(schemas.resolve)).mutation(async ({ ctx, input }) => ({
        resolved: await generations.resolve(ctx.caller, input.generationId, input.results),
      })),

      generation: byId.query(({ ctx, input }) => generations.snapshot(ctx.caller, input.generationId, roomFor(ctx))),

      generations: procedure
        .input(parse(schemas.generations))
        .query(({ ctx, input }) => generations.list(ctx.caller, input ?? {}, roomFor(ctx))),
    }),
  });
}

function parse<T>(schema: z.ZodType<T>): (input: unknown) => T {
  return (input) => parseInput(schema, input);
}

async function callerOf(context: LlmContext, options: RouterOptions, trace: RequestTrace | undefined): Promise<Caller> {
  try {
    return await options.authenticate(authRequest(context));
  } catch (error) {
    throw publicError(error, options, { trace });
  }
}

/** The span of a call in somebody else's app; undefined where nothing is traced. */
function requestTrace(context: LlmContext, path: string, { telemetry }: RouterOptions): RequestTrace | undefined {
  const { headers, connectionParams } = authRequest(context);
  return telemetry.traces?.request({
    name: path,
    requestId: randomUUID(),
    attributes: { 'rpc.system': 'trpc', 'rpc.method': path },
    carrier: connectionParams?.['traceparent'] ? connectionParams : headers,
  });
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
 * Waits until a WebSocket of a host's app has room. tRPC's WebSocket adapter writes every event at once, however slowly its client
 * reads. It passes the WebSocket as `res`, and the request that opened it as `req`.
 */
function webSocketReady({ req, res }: LlmContext, signal: AbortSignal, flow: FlowLimits): Promise<void> | undefined {
  if (typeof res !== 'object' || res === null || !('bufferedAmount' in res) || !req?.socket) return undefined;
  const webSocket = res as { readonly bufferedAmount: number };
  return untilRoom(req.socket, signal, flow, () => webSocket.bufferedAmount);
}

/** For callers within the process that pass no signal. They leave by ending their iteration. */
function neverAborts(): AbortSignal {
  return new AbortController().signal;
}
