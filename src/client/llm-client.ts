/**
 * The typed client, for every JavaScript runtime: tRPC's own client, with ids, resumption, tokens and reconnects around
 * its links. It imports only types of the service, so that a page's bundle contains none of the service's code. Of the
 * runtime it needs only `fetch` or a WebSocket, and random numbers.
 */
import { createTRPCClient, httpBatchLink, splitLink, type TRPCClient, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { LlmClientError } from './error.ts';
import { defaultReconnectLimits, reconnectLink, type Reconnect, type ReconnectLimits } from './reconnect-link.ts';
import { listenForReturns } from './returns.ts';
import { Room } from './room.ts';
import { createRun, type Procedures, type Run, type RunOptions } from './run.ts';
import type { ToolHandlers } from './tool-handlers.ts';
import { createServiceFetch, type Fetch, type Token } from './service-fetch.ts';
import type { WebSocketConstructor } from './runtime-websocket.ts';
import { SharedSockets } from './shared-sockets.ts';
import { socketLink } from './socket-link.ts';
import { sseLink } from './sse-link.ts';
import { plainTransformer, type Transformer } from './transformer.ts';
import { UnderWay } from './under-way.ts';
import type { FollowRequest, Resolution, ResolveRequest, StreamRequest } from '../protocol.ts';
import type { ConfigsOf, EventsOf, InputFor, ObjectOf, ToolTypesOf } from '../doors/trpc/router-answers.ts';

export type { DeepPartial } from './answer-object.ts';
export { LlmClientError } from './error.ts';
export type { FailureEvent, LlmClientErrorCode, LlmClientErrorOptions } from './error.ts';
export type { Reconnect, ReconnectLimits } from './reconnect-link.ts';
export type { ConnectionState, Run, RunOptions } from './run.ts';
export type { ClientTools, NoHandlers, ToolCallContext, ToolHandler, ToolHandlers } from './tool-handlers.ts';
export type { WebSocketConstructor } from './runtime-websocket.ts';
export type { Fetch, Token } from './service-fetch.ts';
export type { Transformer } from './transformer.ts';
export type {
  AnswerPart,
  ConfigsOf,
  EventsOf,
  InputFor,
  InputNaming,
  ObjectOf,
  StreamInputOf,
  ToolTypesOf,
} from '../doors/trpc/router-answers.ts';
export type {
  CallAnswer,
  CancelOutcome,
  ErrorCode,
  FollowRequest,
  InputIssue,
  LlmEvent,
  Message,
  Resolution,
  ResolveRequest,
  TerminalEvent,
  Usage,
} from '../protocol.ts';

/** Where the service is, and how the client connects to it. */
export interface LlmClientOptions {
  /**
   * The URL of the service, such as `http://127.0.0.1:3000`, to which `/trpc` is added; or the URL of the tRPC app that
   * its router is mounted in. On a page it may be relative to the page. Other URLs make `createLlmClient` throw
   * `invalid_input`.
   */
  readonly url: string | URL;
  /**
   * How subscriptions are carried. Queries and mutations are POSTs with either. Over HTTP/1.1 a browser opens six
   * connections to a host for all of its tabs. `sse` takes one for each answer, so a seventh answer waits. `ws` takes
   * one for each client.
   */
  readonly transport: 'sse' | 'ws';
  /**
   * The key or token of the caller, or a function that gets it. It is sent as `Authorization: Bearer`, over WebSocket
   * as the connection param `token`, and never in a URL. None by default.
   */
  readonly token?: Token | undefined;
  /** Bounds on reconnecting. Each that is absent has its default. */
  readonly reconnect?: Partial<ReconnectLimits> | undefined;
  /** Called for each connection that failed and will be tried again. */
  readonly onReconnect?: ((reconnect: Reconnect) => void) | undefined;
  /** The largest request over WebSocket, in bytes: the service's `LLM_BODY_BYTES_MAX` or less. 10 MiB by default. */
  readonly requestBytesMax?: number | undefined;
  /** The transformer of the host's tRPC app, where it has one of its own. By default the service's, for plain JSON. */
  readonly transformer?: Transformer | undefined;
  /** The global `fetch` by default. */
  readonly fetch?: Fetch | undefined;
  /** The global WebSocket by default; on Node that of the package `ws`, which reports why a handshake was refused. */
  readonly WebSocket?: WebSocketConstructor | undefined;
}

/** The client of a service. Disposing it closes it. */
export interface LlmClient<TRouter extends AnyTRPCRouter> extends AsyncDisposable {
  /**
   * tRPC's own client, for all procedures. Its subscriptions reconnect as those of `stream` and `follow` do. Errors of
   * subscriptions and of the procedures under `llm` have `data.llm`. Errors of a host's other calls are passed on unchanged.
   */
  readonly trpc: TRPCClient<TRouter>;
  /**
   * Asks for an answer. Unless the input has a `generationId`, it gets a new one. Events, object and handlers have the types of the
   * config that the input names.
   *
   * @throws LlmClientError `unsupported` where an id is needed and the runtime has no random numbers.
   */
  stream<const Name extends ConfigsOf<TRouter>>(
    input: { readonly config: Name } & InputFor<TRouter, Name>,
    options?: RunOptions<ToolHandlers<ToolTypesOf<TRouter, Name>>>,
  ): Run<EventsOf<TRouter, Name>, ObjectOf<TRouter, Name>>;
  /**
   * Follows an answer that was begun elsewhere, from its beginning or after the event `lastEventId`: the one of a `generationId`, or
   * the newest one of a `thread`. Where it is known which config answers, `follow<'weather'>(…)` has its types.
   */
  follow<const Name extends ConfigsOf<TRouter> = ConfigsOf<TRouter>>(
    request: FollowRequest,
    options?: RunOptions<ToolHandlers<ToolTypesOf<TRouter, Name>>>,
  ): Run<EventsOf<TRouter, Name>, ObjectOf<TRouter, Name>>;
  /**
   * Answers calls of tools for which an answer waits: with a result, an error, or an approval. For apps that answer when somebody
   * clicks; a function that can answer at once is a handler of `stream`. Where the service refuses one of the results, it takes none
   * of them.
   *
   * @throws LlmClientError `conflict` where a call was answered before; `invalid_input`, with `issues`, for a result that doesn't fit
   *   the tool's schema.
   */
  resolve(request: ResolveRequest): Promise<Resolution>;
  /**
   * Ends every run, which then throws `closed`, and closes the WebSocket. Without this, the WebSocket closes after ten
   * seconds without a run, and keeps a process alive until then. Settles when it is closed.
   */
  close(): Promise<void>;
}

const requestBytesMaxDefault = 10 * 1024 * 1024;
/** The most bytes of a message over WebSocket besides the input: id, method, path. */
const envelopeBytesMax = 256;
/** The most calls in one batch. The service accepts a hundred. */
const batchSizeMax = 50;

/**
 * Creates a client. It connects when it is first used.
 *
 * @throws LlmClientError `invalid_input` where the URL is none of http, https, ws or wss.
 */
export function createLlmClient<TRouter extends AnyTRPCRouter>(options: LlmClientOptions): LlmClient<TRouter> {
  const { token, transformer = plainTransformer, requestBytesMax = requestBytesMaxDefault } = options;
  const url = endpointOf(options.url);
  const fetch = options.fetch ?? globalFetch;
  const { WebSocket = (globalThis as Pick<LlmClientOptions, 'WebSocket'>).WebSocket } = options;
  const sockets =
    options.transport === 'ws' ? new SharedSockets({ url: url.replace(/^http/, 'ws'), token, WebSocket }) : undefined;
  const room = sockets ? undefined : new Room(url);
  const underWay = new UnderWay([
    (courses) =>
      listenForReturns((back) => {
        const left = [...courses].filter((course) => course.returned(back));
        if (left.length > 0) sockets?.retire();
        for (const course of left) course.resume();
      }),
    ...(room ? [room.open] : []),
  ]);

  const links: TRPCLink<AnyTRPCRouter>[] = [
    reconnectLink({
      limits: { ...defaultReconnectLimits, ...options.reconnect },
      transformer,
      inputBytesMax: sockets ? requestBytesMax - envelopeBytesMax : Infinity,
      renewable: typeof token === 'function',
      retire: () => sockets?.retire(),
      onReconnect: options.onReconnect,
      underWay,
      room,
    }),
    splitLink({
      condition: ({ type }) => type === 'subscription',
      true: sockets
        ? socketLink(sockets, transformer)
        : sseLink({ url, transformer, fetch: createServiceFetch(fetch, token, 'text/event-stream') }),
      false: httpBatchLink<AnyTRPCRouter>({
        url,
        transformer,
        methodOverride: 'POST',
        maxItems: batchSizeMax,
        fetch: createServiceFetch(fetch, token, 'application/json') as never,
      }),
    }),
  ];
  const trpc = createTRPCClient<TRouter>({ links });
  const { llm: procedures } = trpc as unknown as { readonly llm: Procedures };

  async function close(): Promise<void> {
    underWay.close();
    await sockets?.close();
  }

  return {
    trpc,
    stream(given: unknown, runOptions: RunOptions = {}) {
      const request = given as StreamRequest;
      const generationId = request.generationId ?? newGenerationId();
      return createRun(procedures, { ...request, generationId }, runOptions) as Run<never, never>;
    },
    follow: (request: FollowRequest, runOptions: RunOptions = {}) =>
      createRun(procedures, request, runOptions) as Run<never, never>,
    async resolve(request) {
      try {
        return await procedures.resolve.mutate(request);
      } catch (thrown) {
        throw LlmClientError.from(thrown);
      }
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

const globalFetch: Fetch = (url, init) => {
  if (typeof globalThis.fetch === 'function') return globalThis.fetch(url, init);
  throw new LlmClientError('unsupported', 'This runtime has no fetch: pass one as `fetch`');
};

/**
 * The endpoint's URL, absolute and without a slash at its end. It is taken apart by a pattern, since of React Native's
 * URL only `href` can be relied on.
 *
 * @throws LlmClientError `invalid_input`
 */
function endpointOf(url: string | URL): string {
  const { location } = globalThis as { readonly location?: { readonly href: string } };
  let href = '';
  try {
    ({ href } = new URL(url, location?.href));
  } catch {
    // `href` stays empty, and is refused below like every other URL that can't be used.
  }
  const [, scheme, host, path, query] = /^(http|ws)(s?:\/\/[^/?#]+)([^?#]*)(\?[^#]*)?/.exec(href) ?? [];
  if (scheme === undefined) {
    const relative = location ? '' : ', absolute since there is no page for it to be relative to';
    throw new LlmClientError(
      'invalid_input',
      `url: expected one that begins with http or ws${relative}, found "${String(url)}"`,
    );
  }
  return `http${host}${path === '/' || path === '' ? '/trpc' : path!.replace(/\/$/, '')}${query ?? ''}`;
}

interface Random {
  randomUUID(): string;
  getRandomValues(bytes: Uint8Array): Uint8Array;
}

/**
 * A random UUID (https://www.rfc-editor.org/rfc/rfc9562#section-5.4). It is made by hand where the page is not secure,
 * since `crypto.randomUUID` is missing there.
 *
 * @throws LlmClientError `unsupported` where the runtime has no secure random numbers. An id from `Math.random` could
 *   be the id of another answer, which the client would get instead of its own.
 */
function newGenerationId(): string {
  const { crypto } = globalThis as { readonly crypto?: Partial<Random> };
  if (crypto?.randomUUID) return crypto.randomUUID();
  if (!crypto?.getRandomValues) {
    throw new LlmClientError(
      'unsupported',
      'This runtime has no crypto.getRandomValues, which ids are made with: load a polyfill such as react-native-get-random-values, or give each request a generationId',
    );
  }
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
