/**
 * The tRPC door over WebSocket: who may open a socket, how many there are, and which of them have died. Origin and Host
 * are checked before the upgrade. What is said on a socket is trpc-socket.ts's.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Caller } from '../../caller.ts';
import { LlmError } from '../../errors.ts';
import type { HeldBytes } from '../../access/held-bytes.ts';
import { closeCodes, closeMs, Intake, type IntakeLimits } from './intake.ts';
import { SocketPlaces, type SocketPlacesOptions } from './socket-places.ts';
import { serveSocket, type ConnectionParams, type TrpcSocketOptions } from './trpc-socket.ts';

export interface WebSocketDoorOptions extends TrpcSocketOptions, IntakeLimits, SocketPlacesOptions {
  /** @throws LlmError if the page that a request comes from may not ask. */
  readonly check: (request: IncomingMessage) => void;
  /** Answers a request that may not come in. */
  readonly refuse: (socket: Duplex, error: LlmError) => void;
  /** Bytes of one message from a client. */
  readonly bodyBytesMax: number;
  readonly held: HeldBytes;
}

export interface WebSocketDoor extends AsyncDisposable {
  /** Takes over the socket of an HTTP upgrade request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  readonly sockets: number;
}

/** All that a client may send before it has shown a key: connection params, and calls behind them. */
const unprovenBytesMax = 16 * 1_024;
interface OpenSocket {
  /** When its client was last heard. */
  heardAtMs: number;
}

export function createWebSocketDoor(options: WebSocketDoorOptions): WebSocketDoor {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: options.bodyBytesMax,
    // Compressing each event costs six times what sending it does.
    perMessageDeflate: false,
    // A pong is an answer, for which room is needed as for any other.
    autoPong: false,
  });
  const { liveness, flow } = options;
  const open = new Map<WebSocket, OpenSocket>();
  const places = new SocketPlaces(options);

  server.on('connection', (webSocket: WebSocket, request: IncomingMessage, caller: Caller | undefined) => {
    const { socket } = request;
    const entry: OpenSocket = { heardAtMs: performance.now() };
    open.set(webSocket, entry);
    webSocket.on('message', () => (entry.heardAtMs = performance.now()));
    const intake = new Intake(webSocket, socket, options);
    let place: Disposable | undefined;
    const known = (by: Caller) => {
      const proven = places.take(by);
      place?.[Symbol.dispose]();
      place = proven;
      intake.count(options.held.take(by.name, 0));
    };
    let prove = (_params: ConnectionParams) => {};
    if (caller) {
      known(caller);
    } else {
      const closeUnproven = () => intake.close(closeCodes.policyViolation, 'no key');
      place = places.takeUnproven(closeUnproven);
      const patience = setTimeout(closeUnproven, options.connectionParamsMs);
      const limit = () => intake.bytes > unprovenBytesMax && closeUnproven();
      const judged = () => {
        clearTimeout(patience);
        socket.off('data', limit);
      };
      socket.on('data', limit);
      webSocket.on('close', judged);
      prove = (connectionParams) => {
        try {
          const shown = options.identify({ headers: request.headers, connectionParams });
          if (!shown) return;
          known(shown);
          judged();
          prove = () => {};
        } catch (error) {
          // A wrong key is told in the answers to what is asked with it, for as long as the socket is open.
          if (LlmError.from(error).code === 'unauthorized') return;
          intake.close(closeCodes.tryAgainLater, 'too many sockets');
        }
      };
    }
    webSocket.on('close', () => {
      open.delete(webSocket);
      place?.[Symbol.dispose]();
    });
    serveSocket({ webSocket, request, intake, prove: (params) => prove(params) }, options);
  });

  // One timer for all sockets. 'PING' as text is tRPC's own word: its clients answer with 'PONG'. A client may leave one
  // unanswered for as long as a socket may take nothing.
  let heartbeat: NodeJS.Timeout;
  const beatLater = () => {
    const { heartbeatMs } = liveness();
    heartbeat = setTimeout(() => {
      beatLater();
      beat(heartbeatMs);
    }, heartbeatMs);
  };
  const beat = (heartbeatMs: number) => {
    const now = performance.now();
    for (const [webSocket, entry] of open) {
      // Whoever still has something to read is merely slow, which the listener judges; and whoever isn't read can't be heard.
      if (webSocket.bufferedAmount > 0 || webSocket.isPaused) entry.heardAtMs = now;
      else if (now - entry.heardAtMs > heartbeatMs + flow.socketStallMs) webSocket.terminate();
      else webSocket.send('PING');
    }
  };
  beatLater();

  return {
    upgrade(request, socket, head) {
      let caller: Caller | undefined;
      try {
        options.check(request);
        refuseBody(request);
        caller = places.admit({ headers: request.headers });
      } catch (error) {
        return options.refuse(socket, LlmError.from(error));
      }
      server.handleUpgrade(request, socket, head, (webSocket) => server.emit('connection', webSocket, request, caller));
    },
    get sockets() {
      return open.size;
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(heartbeat);
      const closed = new Promise((resolve) => server.close(resolve));
      // What was sent before goes out first, so that nobody misses the end of an answer.
      for (const webSocket of server.clients) webSocket.close(closeCodes.goingAway, 'shutting down');
      const patience = setTimeout(() => {
        for (const webSocket of server.clients) webSocket.terminate();
      }, closeMs);
      await closed;
      clearTimeout(patience);
    },
  };
}

/**
 * Refuses an upgrade request that has a body: `ws` would take its bytes for frames, and from Node 24 on Node hands out a stream
 * around the socket until it has been read, so that our frames could cut into those of `ws`.
 *
 * @throws LlmError `invalid_input`
 */
function refuseBody({ headers }: IncomingMessage): void {
  const length = headers['content-length'] ?? '0';
  if (Number(length) === 0 && headers['transfer-encoding'] === undefined) return;
  throw LlmError.invalidInput([{ path: '', message: 'A request for a WebSocket has no body' }]);
}

/**
 * Answers an upgrade request with an HTTP refusal.
 *
 * @param requestId The id under which it is logged.
 * @param status The one that belongs to the error's code unless given.
 */
export function refuseUpgrade(
  socket: Duplex,
  error: LlmError,
  requestId: string,
  status: number = error.traits.status,
): void {
  const body = JSON.stringify({ error: error.data });
  // From here on nobody but us looks after the socket: an error unheard would end the process.
  socket.on('error', () => socket.destroy());
  // A client that never closes its side would keep ours open.
  socket.once('finish', () => socket.destroy());
  // The status text is free; clients show it where they don't show the body.
  socket.end(
    `HTTP/1.1 ${status} ${error.code}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `x-request-id: ${requestId}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
