/**
 * The typed client, for whatever runs JavaScript: tRPC's own client, with ids, resume, tokens and back-off around its
 * links. Of the service it takes types alone, so that nothing of it ends up in a page; and of the runtime no more than
 * `fetch` or a WebSocket, and random numbers.
 */
import { createTRPCClient, httpBatchLink, splitLink, type TRPCClient, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { LlmClientError } from './error.ts';
import { defaultReconnectLimits, reconnectLink, type Reconnect, type ReconnectLimits } from './reconnect-link.ts';
import { listenForReturns } from './returns.ts';
import { Room } from './room.ts';
import { createRun, type Procedures, type Run, type RunOptions } from './run.ts';
import { createServiceFetch, type Fetch, type Token } from './service-fetch.ts';
import type { WebSocketConstructor } from './runtime-websocket.ts';
import { SharedSockets } from './shared-sockets.ts';
import { socketLink } from './socket-link.ts';
import { sseLink } from './sse-link.ts';
import { plainTransformer, type Transformer } from './transformer.ts';
import { UnderWay } from './under-way.ts';
import type { FollowRequest, StreamRequest } from '../protocol.ts';
import type { StreamInputOf } from '../doors/trpc/router.ts';

export { LlmClientError, type LlmClientErrorCode } from './error.ts';
export type { Reconnect, ReconnectLimits } from './reconnect-link.ts';
export type { Run, RunOptions } from './run.ts';
export type { StreamInputOf } from '../doors/trpc/router.ts';
export type { Token } from './service-fetch.ts';
export type { ErrorCode, InputIssue, LlmEvent, Message, TerminalEvent, Usage } from '../protocol.ts';

export interface LlmClientOptions {
  /**
   * Of the service (`http://127.0.0.1:3000`, meaning `/trpc` there), or of the tRPC app that its router is mounted in.
   * On a page it may be relative to it.
   */
  readonly url: string | URL;
  /**
   * Of the subscriptions; queries and mutations are POSTs over either. Over HTTP/1.1 a browser opens six connections to
   * a host, for all of its tabs, and `sse` takes one for each answer: the seventh waits. `ws` takes one for each
   * client.
   */
  readonly transport: 'sse' | 'ws';
  /** Sent as `Authorization: Bearer`, over WebSocket as the connection param `token`; never in a URL. */
  readonly token?: Token | undefined;
  readonly reconnect?: Partial<ReconnectLimits> | undefined;
  /** Told of each connection that failed and is tried again. */
  readonly onReconnect?: ((reconnect: Reconnect) => void) | undefined;
  /** What one request may hold over WebSocket, 10 MiB by default: the service's `LLM_BODY_BYTES_MAX`, or less. */
  readonly requestBytesMax?: number | undefined;
  /** For a host whose tRPC app has a transformer of its own. By default the service's, for what is plain JSON. */
  readonly transformer?: Transformer | undefined;
  /** The global one by default. */
  readonly fetch?: Fetch | undefined;
  /** The global one by default; on Node that of the package `ws`, which says why a handshake was refused. */
  readonly WebSocket?: WebSocketConstructor | undefined;
}

export interface LlmClient<TRouter extends AnyTRPCRouter> extends AsyncDisposable {
  /** tRPC's own client. Its subscriptions come back by themselves too; what it throws has `data.llm`. */
  readonly trpc: TRPCClient<TRouter>;
  /** Asks for an answer, under an id of its own unless the input has one. */
  stream(input: StreamInputOf<TRouter>, options?: RunOptions): Run;
  /** Follows an answer that was begun elsewhere, from its beginning or after an event. */
  follow(request: FollowRequest, options?: RunOptions): Run;
  /**
   * Ends every run, which throws `closed`, and the WebSocket. By itself that closes after ten seconds without a run,
   * until when it keeps a process alive.
   */
  close(): Promise<void>;
}

const requestBytesMaxDefault = 10 * 1024 * 1024;
/** What stands around the input in a message over WebSocket: id, method, path. */
const envelopeBytesMax = 256;
/** Calls in one batch; the service takes a hundred. */
const batchSizeMax = 50;

/** Connects to nothing before it is used. */
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
    stream(given, runOptions = {}) {
      const request = given as StreamRequest;
      const generationId = request.generationId ?? newGenerationId();
      return createRun(procedures, { ...request, generationId }, runOptions);
    },
    follow: (request, runOptions = {}) => createRun(procedures, request, runOptions),
    close,
    [Symbol.asyncDispose]: close,
  };
}

const globalFetch: Fetch = (url, init) => {
  if (typeof globalThis.fetch === 'function') return globalThis.fetch(url, init);
  throw new LlmClientError('unsupported', 'This runtime has no fetch: pass one as `fetch`');
};

/**
 * As links take it: absolute, without a slash at its end. React Native's URL can be read as a whole, and no more.
 *
 * @throws LlmClientError `invalid_input`
 */
function endpointOf(url: string | URL): string {
  const { location } = globalThis as { readonly location?: { readonly href: string } };
  let href = '';
  try {
    ({ href } = new URL(url, location?.href));
  } catch {
    // Said below, as of every other one.
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
 * `crypto.randomUUID` exists on secure pages only. https://www.rfc-editor.org/rfc/rfc9562#section-5.4
 *
 * @throws LlmClientError `unsupported`; an id of `Math.random` could be another one's, whose answer it would get.
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
