/**
 * The typed client, for Node and for browsers: tRPC's own client on its own links, with ids, resume, tokens and back-off
 * around them. Of the service it takes types alone, so that nothing of it ends up in a page.
 */
import { createTRPCClient, httpBatchLink, splitLink, type TRPCClient, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import {
  defaultReconnectLimits,
  reconnectLink,
  UnderWay,
  type Reconnect,
  type ReconnectLimits,
} from './client/reconnect-link.ts';
import { createRun, type Procedures, type Run, type RunOptions } from './client/run.ts';
import { createServiceFetch, type Fetch, type Token } from './client/service-fetch.ts';
import { socketLink, Sockets, type WebSocketConstructor } from './client/sockets.ts';
import { sseLink } from './client/sse-link.ts';
import { plainTransformer, type Transformer } from './client/transformer.ts';
import type { FollowRequest, StreamRequest } from './protocol.ts';
import type { StreamInputOf } from './router.ts';

export { LlmClientError, type LlmClientErrorCode } from './client/error.ts';
export type { Reconnect, ReconnectLimits } from './client/reconnect-link.ts';
export type { Run, RunOptions } from './client/run.ts';
export type { StreamInputOf } from './router.ts';
export type { Token } from './client/service-fetch.ts';
export type { ErrorCode, InputIssue, LlmEvent, Message, TerminalEvent, Usage } from './protocol.ts';

export interface LlmClientOptions {
  /** Of the service (`http://127.0.0.1:3000`, meaning `/trpc` there), or of the tRPC app that its router is mounted in. */
  readonly url: string | URL;
  /** Of the subscriptions; queries and mutations are POSTs over either. */
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
  /** The global one by default, or else that of the package `ws`. */
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
   * Ends every run, which throws `closed`, and the WebSocket. By itself that closes after ten seconds without a run, until
   * when it keeps a process alive.
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
  const fetch: Fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  const sockets =
    options.transport === 'ws'
      ? new Sockets({ url: url.replace(/^http/, 'ws'), token, WebSocket: options.WebSocket })
      : undefined;
  const underWay = new UnderWay();

  const links: TRPCLink<AnyTRPCRouter>[] = [
    reconnectLink({
      limits: { ...defaultReconnectLimits, ...options.reconnect },
      transformer,
      inputBytesMax: sockets ? requestBytesMax - envelopeBytesMax : Infinity,
      renewable: typeof token === 'function',
      retire: () => sockets?.retire(),
      onReconnect: options.onReconnect,
      underWay,
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

/** As links take it: absolute, without a slash at its end. */
function endpointOf(url: string | URL): string {
  const { location } = globalThis as { readonly location?: { readonly href: string } };
  const endpoint = new URL(url, location?.href);
  endpoint.protocol = endpoint.protocol.replace(/^ws/, 'http');
  if (endpoint.pathname === '/') endpoint.pathname = '/trpc';
  return endpoint.href.replace(/\/$/, '');
}

/** `crypto.randomUUID` exists on secure pages only. https://www.rfc-editor.org/rfc/rfc9562#section-5.4 */
function newGenerationId(): string {
  const { crypto } = globalThis;
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
