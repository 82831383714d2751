/**
 * The tRPC door over WebSocket: decides who may open a socket, counts the open ones, and closes those whose clients are gone. The
 * listener checks `Host`, and this door `Origin`, before the upgrade. trpc-socket.ts holds the conversation on a socket.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Caller } from '../../caller.ts';
import { LlmError } from '../../errors.ts';
import type { Credentials } from '../../access/access.ts';
import type { HeldBytes } from '../../access/held-bytes.ts';
import { closeCodes, closeMs, Intake, type IntakeLimits } from './intake.ts';
import { SocketPlaces, type SocketPlacesOptions } from './socket-places.ts';
import { serveSocket, type ConnectionParams, type TrpcSocketOptions } from './trpc-socket.ts';

export interface WebSocketDoorOptions extends TrpcSocketOptions, IntakeLimits, SocketPlacesOptions {
  /** @throws LlmError if the request comes from a page that may not use the service. */
  readonly check: (request: IncomingMessage) => void;
  /** Settles when `identify` can judge the credentials; undefined where it can now. Never rejects. */
  readonly verify: (credentials: Credentials) => Promise<void> | undefined;
  /** Has `close` called when the key of a caller is no longer taken. Disposing the result prevents that. */
  readonly onKeyGone: (caller: Caller, close: () => void) => Disposable | undefined;
  /** Refuses an upgrade by an HTTP response. */
  readonly refuse: (request: IncomingMessage, socket: Duplex, error: LlmError) => void;
  /** Bytes that one message from a client may have. */
  readonly bodyBytesMax: number;
  readonly held: HeldBytes;
}

export interface WebSocketDoor extends AsyncDisposable {
  /** Takes over the socket of an HTTP upgrade request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Sockets that are open. */
  readonly sockets: number;
  /** Asks the client of each socket to open another one, as soon as nothing runs on it. */
  retire(): void;
}

/** Bytes that a client may send before it has shown a key: connection params, and the first calls. */
const unprovenBytesMax = 16 * 1_024;
interface OpenSocket {
  /** When its client last sent a message, by `performance.now()`. */
  heardAtMs: number;
  retire(): void;
}

export function createWebSocketDoor(options: WebSocketDoorOptions): WebSocketDoor {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: options.bodyBytesMax,
    // Compressing an event costs six times as much as sending it.
    perMessageDeflate: false,
    // A pong is a reply, which the intake has to count.
    autoPong: false,
  });
  const { liveness, flow } = options;
  const open = new Map<WebSocket, OpenSocket>();
  let retired = false;
  const places = new SocketPlaces(options);

  server.on('connection', (webSocket: WebSocket, request: IncomingMessage, caller: Caller | undefined) => {
    const { socket } = request;
    const entry: OpenSocket = { heardAtMs: performance.now(), retire() {} };
    open.set(webSocket, entry);
    webSocket.on('message', () => (entry.heardAtMs = performance.now()));
    const intake = new Intake(webSocket, socket, options);
    const fromAddress = places.takeFrom(request);
    let place: Disposable | undefined;
    let waiting: Disposable | undefined;
    const known = (by: Caller) => {
      const proven = places.take(by);
      place?.[Symbol.dispose]();
      place = proven;
      intake.count(options.held.take(by.name, 0));
      waiting = options.onKeyGone(by, () => intake.close(closeCodes.policyViolation, 'key revoked'));
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
      const judge = (credentials: Credentials) => {
        try {
          const shown = options.identify(credentials);
          if (!shown) return;
          known(shown);
          judged();
          prove = () => {};
        } catch (error) {
          // Every call under a wrong key is refused, until the socket is closed for want of a right one.
          const { code } = LlmError.from(error);
          if (code === 'unauthorized') return;
          intake.close(closeCodes.tryAgainLater, code);
        }
      };
      prove = (connectionParams) => {
        const credentials = { headers: request.headers, connectionParams };
        const verified = options.verify(credentials);
        if (!verified) return judge(credentials);
        void verified.then(() => webSocket.readyState === webSocket.OPEN && judge(credentials));
      };
    }
    webSocket.on('close', () => {
      open.delete(webSocket);
      place?.[Symbol.dispose]();
      fromAddress?.[Symbol.dispose]();
      waiting?.[Symbol.dispose]();
    });
    entry.retire = serveSocket({ webSocket, request, intake, prove: (params) => prove(params) }, options);
    if (retired) entry.retire();
  });

  // One timer for all sockets. The text 'PING' is tRPC's own heartbeat, and its clients answer 'PONG'. A client may take as long to
  // answer as a socket may take no bytes.
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
      // A client with unread bytes may be slow, which the listener judges. A socket that is paused can't bring an answer.
      if (webSocket.bufferedAmount > 0 || webSocket.isPaused) entry.heardAtMs = now;
      else if (now - entry.heardAtMs > heartbeatMs + flow.socketStallMs) webSocket.terminate();
      else webSocket.send('PING');
    }
  };
  beatLater();

  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    let caller: Caller | undefined;
    try {
      options.check(request);
      refuseBody(request);
      caller = places.admit(request);
    } catch (error) {
      return options.refuse(request, socket, LlmError.from(error));
    }
    server.handleUpgrade(request, socket, head, (webSocket) => server.emit('connection', webSocket, request, caller));
  };

  return {
    upgrade(request, socket, head) {
      const verified = options.verify({ headers: request.headers });
      if (!verified) return upgrade(request, socket, head);
      // Node has detached its own listeners, and an 'error' event without a listener would end the process.
      const cut = () => socket.destroy();
      socket.on('error', cut);
      void verified.then(() => {
        upgrade(request, socket, head);
        socket.off('error', cut);
      });
    },
    get sockets() {
      return open.size;
    },
    retire() {
      retired = true;
      for (const entry of open.values()) entry.retire();
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(heartbeat);
      const closed = new Promise((resolve) => server.close(resolve));
      // The close frame follows everything that was written before, so nobody misses a terminal event.
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
 * Refuses an upgrade request that has a body. `ws` would read the body as frames. And from Node 24 on, Node passes a stream around
 * the socket until the body has been read, so that the frames of this door could cut into those of `ws`.
 *
 * @throws LlmError `invalid_input`
 */
function refuseBody({ headers }: IncomingMessage): void {
  const length = headers['content-length'] ?? '0';
  if (Number(length) === 0 && headers['transfer-encoding'] === undefined) return;
  throw LlmError.invalidInput([{ path: '', message: 'A request for a WebSocket has no body' }]);
}

/**
 * Refuses an upgrade request by an HTTP response.
 *
 * @param requestId The id under which the refusal is logged.
 * @param status The HTTP status; by default the one that the table of errors has for the code.
 */
export function refuseUpgrade(
  socket: Duplex,
  error: LlmError,
  requestId: string,
  status: number = error.traits.status,
): void {
  const body = JSON.stringify({ error: { ...error.data, requestId } });
  // Node has detached its own listeners, and an 'error' event without a listener would end the process.
  socket.on('error', () => socket.destroy());
  // A client that never closes its side would keep the socket open.
  socket.once('finish', () => socket.destroy());
  // The code as the status text: some clients show that text and not the body.
  socket.end(
    `HTTP/1.1 ${status} ${error.code}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `x-request-id: ${requestId}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
