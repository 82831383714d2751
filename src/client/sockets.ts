/**
 * The WebSocket that a client's subscriptions share: opened when one needs it, closed when none has for a while. A
 * socket that failed is never revived, since tRPC's client would send all that was pending on it as one message, and go
 * on for ever: each subscription comes back by itself (reconnect-link.ts), on a new socket.
 */
import { createWSClient, TRPCClientError, wsLink, type TRPCLink, type TRPCWebSocketClient } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import { attemptOf } from './attempt-context.ts';
import { LlmClientError } from './error.ts';
import { askToken, type Token } from './service-fetch.ts';
import { Silence } from './silence.ts';
import type { Transformer } from './transformer.ts';

/** Any implementation of the browsers' WebSocket. */
export type WebSocketConstructor = new (url: string) => {
  send(message: string): void;
  addEventListener(type: 'open' | 'message' | 'close', listener: () => void): void;
};

export interface SocketsOptions {
  /** Beginning with `ws:` or `wss:`. */
  readonly url: string;
  readonly token: Token | undefined;
  /** Undefined where this runtime has none. */
  readonly WebSocket: WebSocketConstructor | undefined;
}

/** How long a socket stays open with nothing to do. */
const idleMs = 10_000;
/**
 * How long a socket may be silent while the service hasn't announced a time of its own. When half of it has passed the
 * other side is asked for a sign of life, so that a busy second is borne.
 */
const silenceMsDefault = 10_000;
/** How long a peer may take to agree to a close. */
const closeMs = 1_000;

/** A socket with the subscriptions on it. */
interface SharedSocket {
  readonly client: TRPCWebSocketClient;
  readonly silence: Silence;
  /** Told when it is lost. The client's own state would reach every other one, where they unsubscribe as they hear it. */
  readonly onLost: Set<(error: SocketError) => void>;
  /** Of the largest input that was sent on it. */
  bodyBytes: number;
  /** Runs while it has no subscription. */
  idle: ReturnType<typeof setTimeout> | undefined;
}

type SocketError = TRPCClientError<AnyTRPCRouter>;

export class Sockets {
  readonly #options: SocketsOptions;
  readonly #open = new Set<SharedSocket>();
  #current: SharedSocket | undefined;
  #closed = false;

  constructor(options: SocketsOptions) {
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

  /** Has a subscription hear of the loss of its socket, which stays open for it. */
  enter(shared: SharedSocket, lost: (error: SocketError) => void): void {
    clearTimeout(shared.idle);
    shared.onLost.add(lost);
  }

  /**
   * Takes a subscription off; without any the socket closes after a while. Not left to tRPC's client, which takes each
   * heartbeat for use of it, and so would keep it, and with it a process, for ever.
   */
  leave(shared: SharedSocket, lost: (error: SocketError) => void): void {
    shared.onLost.delete(lost);
    if (shared.onLost.size > 0 || !this.#open.has(shared)) return;
    clearTimeout(shared.idle);
    shared.idle = setTimeout(() => {
      if (shared === this.#current) this.#current = undefined;
      void this.#discard(shared);
    }, idleMs);
  }

  /** New subscriptions get a new socket. One that is open serves those it has; one that isn't is given up. */
  retire(): void {
    const retired = this.#current;
    this.#current = undefined;
    if (retired && retired.client.connection?.state !== 'open') {
      this.#lose(retired, new TRPCClientError('The connection was given up before it was open'));
    }
  }

  /** Settles when all are closed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#current = undefined;
    await Promise.all([...this.#open].map((socket) => this.#discard(socket)));
  }

  #create(WebSocket: WebSocketConstructor): SharedSocket {
    const { url, token } = this.#options;
    const silence = new Silence({
      ask: () => client.connection?.ws.send('PING'),
      onSilent: (ms) => {
        const silent = new LlmClientError('unreachable', `Nothing came from the service for ${ms} ms`);
        this.#lose(shared, TRPCClientError.from(silent));
      },
    });
    const client = createWSClient({
      url: () => {
        this.#throwIfClosed();
        return url;
      },
      WebSocket: watched(sendingOneByOne(WebSocket), silence) as never,
      experimental_encoder: oneByOne,
      ...(token === undefined ? {} : { connectionParams: async () => ({ token: await askToken(token) }) }),
      lazy: { enabled: true, closeMs: idleMs },
      retryDelayMs: () => 0,
    });
    const shared: SharedSocket = { client, silence, onLost: new Set(), bodyBytes: 0, idle: undefined };
    client.connectionState.subscribe({
      next: ({ state, error }) => {
        if (state === 'idle' && shared !== this.#current) this.#open.delete(shared);
        if (state === 'connecting' && error) this.#lose(shared, error);
      },
    });
    // Not before it has told that it is idle, as a new one is.
    this.#open.add(shared);
    return shared;
  }

  /** Tells the subscriptions first, for closing would let them end as if they were complete. */
  #lose(shared: SharedSocket, error: SocketError): void {
    if (shared === this.#current) this.#current = undefined;
    for (const tell of shared.onLost) tell(error);
    void this.#discard(shared);
  }

  async #discard(shared: SharedSocket): Promise<void> {
    const socket = shared.client.connection?.ws;
    clearTimeout(shared.idle);
    shared.silence.stop();
    void shared.client.close();
    this.#open.delete(shared);
    // Not left to the client, which waits for the socket to open first.
    if (socket) await closed(socket);
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new LlmClientError('closed', 'The client was closed');
  }
}

/** tRPC's WebSocket link on whichever socket is the current one. */
export function socketLink(sockets: Sockets, transformer: Transformer): TRPCLink<AnyTRPCRouter> {
  return (runtime) =>
    ({ op, next }) =>
      observable((observer) => {
        let shared: SharedSocket;
        try {
          shared = sockets.acquire();
        } catch (error) {
          return observer.error(TRPCClientError.from(error as Error));
        }
        const { client, silence } = shared;
        const attempt = attemptOf(op);
        attempt.look = () => silence.look();
        shared.bodyBytes = Math.max(shared.bodyBytes, attempt.bodyBytes);
        const lost = (error: SocketError) => {
          let failure = LlmClientError.from(error);
          // It was the largest one for certain, and of the others nothing is known.
          if (failure.code === 'too_large' && attempt.bodyBytes < shared.bodyBytes) {
            failure = new LlmClientError('unreachable', 'The connection was lost by another request', {
              cause: failure,
            });
          }
          observer.next({ result: { type: 'state', state: 'connecting', error: TRPCClientError.from(failure) } });
        };
        sockets.enter(shared, lost);
        const link = wsLink<AnyTRPCRouter>({ client, transformer })(runtime);
        const subscription = link({ op, next }).subscribe({
          ...observer,
          next: (envelope) => {
            const announcedMs = announcedIn(envelope.result);
            if (announcedMs !== undefined) {
              attempt.silenceMs = announcedMs;
              silence.watch(announcedMs);
            }
            observer.next(envelope);
          },
        });
        return () => {
          subscription.unsubscribe();
          sockets.leave(shared, lost);
        };
      });
}

/** Of a subscription that has started: how long its connection may be silent. A host's own server doesn't say. */
function announcedIn(result: object): number | undefined {
  const { reconnectAfterInactivityMs } = result as { readonly reconnectAfterInactivityMs?: number };
  return reconnectAfterInactivityMs;
}

/**
 * tRPC's client sends all that begins while a socket opens as one message, and the service bounds messages. So it is
 * given an encoder that leaves them apart, and a socket that sends them so.
 */
const oneByOne = {
  encode: (messages: unknown) =>
    (Array.isArray(messages) ? messages.map((each) => JSON.stringify(each)) : JSON.stringify(messages)) as string,
  decode: (message: unknown): unknown => JSON.parse(message as string),
};

function sendingOneByOne(WebSocket: WebSocketConstructor): WebSocketConstructor {
  return class extends WebSocket {
    override send(messages: string | readonly string[]): void {
      for (const message of [messages].flat()) super.send(message);
    }
  };
}

function watched(WebSocket: WebSocketConstructor, silence: Silence): WebSocketConstructor {
  return class extends WebSocket {
    constructor(url: string) {
      super(url);
      this.addEventListener('open', () => silence.watch(silenceMsDefault));
      this.addEventListener('message', () => silence.heard());
      this.addEventListener('close', () => silence.stop());
    }
  };
}

interface CloseableSocket {
  readonly readyState: number;
  close(): void;
  /** Of `ws` only. */
  terminate?(): void;
  addEventListener(type: 'close' | 'error', listener: () => void): void;
}

const readyStateClosed = 3;

async function closed(socket: CloseableSocket): Promise<void> {
  if (socket.readyState === readyStateClosed) return;
  await new Promise<void>((resolve) => {
    const settle = () => {
      clearTimeout(deadline);
      resolve();
    };
    const deadline = setTimeout(() => {
      socket.terminate?.();
      settle();
    }, closeMs);
    socket.addEventListener('close', settle);
    socket.close();
  });
}
