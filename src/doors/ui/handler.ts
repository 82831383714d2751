/**
 * The door for the AI SDK's own transport as a function from `Request` to `Response`, for apps that serve their routes themselves:
 * Next.js, Hono, Bun, Deno. It calls the procedures of the app's router within the process, so `authenticate` judges each request.
 */
import { goOn, type AnswerTaker } from '../../adapters/ui-answers.ts';
import { carry, oneByOne, type Batches, type CarriedTo } from '../../adapters/ui-carry.ts';
import { UiChunks } from '../../adapters/ui-chunks.ts';
import type { UIMessageChunk } from '../../adapters/ui-message.ts';
import { LlmError } from '../../errors.ts';
import { escapeLineEnds } from '../../json/json-line.ts';
import {
  createInputSchemas,
  type CallAnswer,
  type CancelOutcome,
  type FollowRequest,
  type GenerationSummary,
  type LlmEvent,
  type PageRequest,
  type StreamRequest,
} from '../../protocol.ts';
import { invalidRequest } from '../http-refusals.ts';
import { isJson } from '../json-body.ts';
import { parseInput } from '../parse-input.ts';
import type { AnyAppRouter, ConfigsOf } from '../trpc/router-answers.ts';
import { continuedMessageId, refuseUnread, streamRequestOf, uiBodySchema } from './ui-body.ts';
import { framesOf, isSoon, lastFrame, uiStreamHeaders } from './ui-frames.ts';

/** What `createUIMessageHandler` needs to know. */
export interface UIMessageHandlerOptions<Name> {
  /** Name of the config that answers. */
  readonly config: Name;
  /** Variables of the config's prompt. Those in a request's body replace them. */
  readonly variables?: Readonly<Record<string, string>> | undefined;
  /**
   * Makes the context with which the procedures are called, for an `authenticate` that reads more of it than the request's headers.
   * They are in its `req` in any case.
   */
  readonly createContext?: ((request: Request) => object | Promise<object>) | undefined;
  /** Bytes that a body may have; 10 MiB unless given. */
  readonly bodyBytesMax?: number | undefined;
}

/** Serves the requests of a chat. A refusal is a response. */
export type UIMessageHandler = (request: Request) => Promise<Response>;

const bodyBytesMaxDefault = 10 * 1_024 * 1_024;

/**
 * Makes the handler of a route for `DefaultChatTransport`: `POST` of a chat asks, `GET …/:chatId/stream` resumes (204 where nothing
 * runs), and `POST …/:chatId/stop` stops. It looks at the end of the path only, so mount it wherever `api` points.
 *
 * Whose page asks is checked by the app, as for every request of its own.
 */
export function createUIMessageHandler<TRouter extends AnyAppRouter, const Name extends ConfigsOf<TRouter>>(
  router: TRouter,
  options: UIMessageHandlerOptions<Name>,
): UIMessageHandler {
  const { bodyBytesMax = bodyBytesMaxDefault, createContext } = options;
  const config = String(options.config);
  const schemas = createInputSchemas();
  const bodySchema = uiBodySchema(schemas);

  /** @param signal Ends the subscriptions of the caller. */
  async function callerOf(request: Request, signal?: AbortSignal): Promise<AnyCaller> {
    const context = { ...(await createContext?.(request)), req: { headers: request.headers } };
    return (router.createCaller(context, signal && { signal }) as unknown as { readonly llm: AnyCaller }).llm;
  }

  async function newestOf(caller: AnyCaller, chatId: string): Promise<GenerationSummary | undefined> {
    const thread = parseInput(schemas.thread, chatId, 'chatId');
    const [newest] = await caller.generations({ limit: 1, thread });
    return newest;
  }

  async function ask(request: Request): Promise<Response> {
    const read = parseInput(bodySchema, await jsonOf(request, bodyBytesMax));
    const body = { ...read, variables: read.variables ?? options.variables };
    refuseUnread(body, config, () => false);
    const leaving = new AbortController();
    const caller = await callerOf(request, leaving.signal);
    const continued = await goOn(takerOf(caller), body.messages, (generationId) =>
      batchesOf(caller.follow({ generationId })),
    );
    if (continued) return respond(continued.batches, new UiChunks(forLine6, continued), request, leaving);
    const batches = batchesOf(caller.stream(streamRequestOf(body, config, schemas)));
    return respond(batches, new UiChunks({ ...forLine6, messageId: continuedMessageId(body) }), request, leaving);
  }

  async function resume(request: Request, chatId: string): Promise<Response> {
    const leaving = new AbortController();
    const caller = await callerOf(request, leaving.signal);
    const newest = await newestOf(caller, chatId);
    if (newest?.state !== 'running') return new Response(null, { status: 204 });
    const { generationId } = newest;
    return respond(batchesOf(caller.follow({ generationId })), new UiChunks(forLine6), request, leaving);
  }

  async function stop(request: Request, chatId: string): Promise<Response> {
    const caller = await callerOf(request);
    const newest = await newestOf(caller, chatId);
    if (!newest) throw new LlmError('generation_not_found', 'The chat has no answer that is kept');
    return Response.json(await caller.cancel({ generationId: newest.generationId }));
  }

  return async (request) => {
    try {
      const { pathname } = new URL(request.url);
      const [, chatId, action] = /\/([^/]+)\/(stream|stop)\/?$/.exec(pathname) ?? [];
      if (request.method === 'GET' && action === 'stream') return await resume(request, decodeURIComponent(chatId!));
      if (request.method !== 'POST') return new Response(null, { status: 405, headers: { allow: 'GET, POST' } });
      return await (action === 'stop' ? stop(request, decodeURIComponent(chatId!)) : ask(request));
    } catch (thrown) {
      return refusal(LlmError.from(thrown));
    }
  };
}

/** Clients of line 6 refuse a stream that says `interrupted`. */
const forLine6 = { cancelledAs: 'other' } as const;

/** The procedures of a router, whatever its configs. */
interface AnyCaller {
  stream(request: StreamRequest): Promise<AsyncIterable<{ readonly data: LlmEvent }>>;
  follow(request: FollowRequest): Promise<AsyncIterable<{ readonly data: LlmEvent }>>;
  resolve(request: { readonly generationId: string; readonly results: readonly CallAnswer[] }): Promise<unknown>;
  cancel(request: { readonly generationId: string }): Promise<{ readonly outcome: CancelOutcome }>;
  generation(request: { readonly generationId: string }): Promise<GenerationSummary>;
  generations(request: PageRequest): Promise<readonly GenerationSummary[]>;
}

function takerOf(caller: AnyCaller): AnswerTaker {
  return {
    resolve: (generationId, results) => coded(caller.resolve({ generationId, results })),
    isRunning: async (generationId) => (await coded(caller.generation({ generationId }))).state === 'running',
  };
}

/** tRPC wraps what a procedure throws. */
async function coded<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    throw LlmError.from(thrown);
  }
}

/** The response with the chunks of these events, once there are some: a refusal before that is a status. */
async function respond(
  batches: Batches,
  chunks: UiChunks,
  request: Request,
  leaving: AbortController,
): Promise<Response> {
  const carried = carry(batches, chunks, isSoon);
  const leave = () => leaving.abort();
  request.signal.addEventListener('abort', leave);
  let first: IteratorResult<readonly UIMessageChunk[], CarriedTo> | undefined = await carried.next();
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = first ?? (await carried.next());
        first = undefined;
        if (!done) return controller.enqueue(encoder.encode(escapeLineEnds(framesOf(value))));
        request.signal.removeEventListener('abort', leave);
        // To the AI SDK a body that just ends is a good answer, so one that broke off must break off.
        if (value === undefined) return controller.error(new Error('the events stopped before the terminal event'));
        controller.enqueue(encoder.encode(lastFrame));
        return controller.close();
      },
      cancel: leave,
    },
    { highWaterMark: 0 },
  );
  const headers = {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
    ...uiStreamHeaders,
  };
  return new Response(body, { headers });
}

function batchesOf(subscribed: Promise<AsyncIterable<{ readonly data: LlmEvent }>>): Batches {
  return oneByOne(dataOf(subscribed));
}

async function* dataOf(
  subscribed: Promise<AsyncIterable<{ readonly data: LlmEvent }>>,
): AsyncGenerator<LlmEvent, void> {
  try {
    for await (const { data } of await subscribed) yield data;
  } catch (thrown) {
    throw LlmError.from(thrown);
  }
}

function refusal(error: LlmError): Response {
  const { status } = error.traits;
  const { retryAfterMs } = error;
  const headers = retryAfterMs === undefined ? {} : { 'retry-after': String(Math.ceil(retryAfterMs / 1_000)) };
  return Response.json({ error: error.data }, { status, headers });
}

/** @throws LlmError `too_large`, `invalid_input` */
async function jsonOf({ body, headers }: Request, bytesMax: number): Promise<unknown> {
  // A form of another site's page can send text, and no JSON.
  if (!isJson(headers.get('content-type') ?? undefined))
    throw invalidRequest('Expected a body of content-type application/json');
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += piece.length;
    if (bytes > bytesMax) throw new LlmError('too_large', `The body is larger than ${bytesMax} bytes`);
    pieces.push(piece);
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString()) as unknown;
  } catch {
    throw invalidRequest('The body is not valid JSON');
  }
}
