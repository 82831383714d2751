/**
 * The WebSockets that a client's subscriptions share: one at a time, opened when a subscription needs it, and closed
 * when it has had no subscription for a while. A socket that has failed is never used again. tRPC's client would
 * reconnect it for ever, and send everything that was pending on it as one message. Here each subscription is resumed
 * by its course (course.ts), on a new socket.
 */
import { createWSClient, TRPCClientError, type TRPCWebSocketClient } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { LlmClientError } from './error.ts';
import { closeSocket, oneByOne, sendingOneByOne, watched, type WebSocketConstructor } from './runtime-websocket.ts';
import { askToken, type Token } from './service-fetch.ts';
import { Silence } from './silence.ts';

export interface SharedSocketsOptions {
  /** Begins with `ws:` or `wss:`. */
  readonly url: string;
  readonly token: Token | undefined;
  /** Undefined where this runtime has none. */
  readonly WebSocket: WebSocketConstructor | undefined;
}

/** How long a socket stays open without a subscription. */
const idleMs = 10_000;
/**
 * How long a socket may be silent until the service announces a time of its own. When half of it has passed, the client
 * sends a ping, so a service that is busy for a second or two is not taken for a dead one.
 */
const silenceMsDefault = 10_000;

/** A socket with its subscriptions. */
export interface SharedSocket {
  readonly client: TRPCWebSocketClient;
  readonly silence: Silence;
  /**
   * Called when the socket is lost. The client's own `connectionState` would skip every second listener, since a
   * listener unsubscribes while it is being called.
   */
  readonly onLost: Set<(error: SocketError) => void>;
  /** The size of the largest input that was sent on it. */
  bodyBytes: number;
  /** The timer that runs while it has no subscription. */
  idle: ReturnType<typeof setTimeout> | undefined;
}

export type SocketError = TRPCClientError<AnyTRPCRouter>;

export class SharedSockets {
  readonly #options: SharedSocketsOptions;
  readonly #open = new Set<SharedSocket>();
  #current: SharedSocket | undefined;
  #closed = false;

  constructor(options: SharedSocketsOptions) {
    this.#options = options;
  }

  /**
   * The socket for a new subscription.
   *
   * @throws LlmClientError `closed`, `unsupported`
   */
  acquire(): SharedSocket {
    const { WebSocket } = this.#options;
    this.#throwIfClosed();
    if (!WebSocket) {
      throw new LlmClientError(
        'unsupported',
        'This runtime has no WebSocket, which the transport `ws` needs: pass one as `WebSocket`, or use the transport `sse`',
      );
    }
    this.#current ??= this.#create(WebSocket);
    return this.#current;
  }

  /**
   * Adds a subscription to a socket, which stays open as long as it has one. `onLost` is called when the socket is
   * lost.
   */
  enter(shared: SharedSocket, onLost: (error: SocketError) => void): void {
    clearTimeout(shared.idle);
    shared.onLost.add(onLost);
  }

  /**
   * Removes a subscription. A socket without subscriptions closes after ten seconds. tRPC's client can't do this
   * itself: it takes each heartbeat for use of the socket, so it would keep the socket open, and the process alive, for
   * ever.
   */
  leave(shared: SharedSocket, onLost: (error: SocketError) => void): void {
    shared.onLost.delete(onLost);
    if (shared.onLost.size > 0 || !this.#open.has(shared)) return;
    clearTimeout(shared.idle);
    shared.idle = setTimeout(() => {
      if (shared === this.#current) this.#current = undefined;
      void this.#discard(shared);
    }, idleMs);
  }

  /**
   * New subscriptions get a new socket. The present one serves the subscriptions that it has if it is open, and is
   * closed if not.
   */
  retire(): void {
    const retired = this.#current;
    this.#current = undefined;
    if (retired && retired.client.connection?.state !== 'open') {
      this.#lose(retired, new TRPCClientError('The connection was given up before it was open'));
    }
  }

  /** Settles when all sockets are closed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#current = undefined;
    await Promise.all([...this.#open].map((socket) => this.#discard(socket)));
  }

  #create(WebSocket: WebSocketConstructor): SharedSocket {
    const silence: Silence = new Silence({
      ask: () => client.connection?.ws.send('PING'),
      onSilent: (ms) => {
        const silent = new LlmClientError('unreachable', `Nothing came from the service for ${ms} ms`);
        this.#lose(shared, TRPCClientError.from(silent));
      },
    });
    const client = this.#createClient(WebSocket, silence);
    const shared: SharedSocket = { client, silence, onLost: new Set(), bodyBytes: 0, idle: undefined };
    client.connectionState.subscribe({
      next: ({ state, error }) => {
        if (state === 'idle' && shared !== this.#current) this.#open.delete(shared);
        if (state === 'connecting' && error) this.#lose(shared, error);
      },
    });
    // Added after `subscribe`, which reports at once that the new client is idle and would delete it again.
    this.#open.add(shared);
    return shared;
  }

  #createClient(WebSocket: WebSocketConstructor, silence: Silence): TRPCWebSocketClient {
    const { url, token } = this.#options;
    return createWSClient({
      url: () => {
        this.#throwIfClosed();
        return url;
      },
      WebSocket: watched(sendingOneByOne(WebSocket), silence, silenceMsDefault) as never,
      experimental_encoder: oneByOne,
      ...(token === undefined ? {} : { connectionParams: async () => ({ token: await askToken(token) }) }),
      lazy: { enabled: true, closeMs: idleMs },
      retryDelayMs: () => 0,
    });
  }

  /**
   * Calls the subscriptions' listeners first: when the client closes, it ends its subscriptions as if they were
   * complete.
   */
  #lose(shared: SharedSocket, error: SocketError): void {
    if (shared === this.#current) this.#current = undefined;
    for (const onLost of shared.onLost) onLost(error);
    void this.#discard(shared);
  }

  async #discard(shared: SharedSocket): Promise<void> {
    const socket = shared.client.connection?.ws;
    clearTimeout(shared.idle);
    shared.silence.stop();
    void shared.client.close();
    this.#open.delete(shared);
    // The client would wait until the socket is open before it closes it.
    if (socket) await closeSocket(socket);
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new LlmClientError('closed', 'The client was closed');
  }
}
