/**
 * The tRPC door over WebSocket: who may open a socket, how many there are, and which of them have died. Origin and Host
 * are checked before the upgrade. What is said on a socket is trpc-socket.ts's.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { LlmError } from '../errors.ts';
import { watchForStall } from '../flow-control.ts';
import { serveSocket, type TrpcSocketOptions } from './trpc-socket.ts';

export interface WebSocketDoorOptions extends TrpcSocketOptions {
  /** @throws LlmError if the page that a request comes from may not ask. */
  readonly check: (request: IncomingMessage) => void;
  /** Answers a request that may not come in. */
  readonly refuse: (socket: Duplex, error: LlmError) => void;
  /** Bytes of one message from a client. */
  readonly bodyBytesMax: number;
  readonly socketsMax: number;
}

export interface WebSocketDoor extends AsyncDisposable {
  /** Takes over the socket of an HTTP upgrade request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  readonly sockets: number;
}

/** How long a client may take to answer that its socket is to be closed. */
const closeMs = 1_000;

export function createWebSocketDoor(options: WebSocketDoorOptions): WebSocketDoor {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: options.bodyBytesMax,
    // Compressing each event costs six times what sending it does.
    perMessageDeflate: false,
  });
  const { liveness, flow } = options;
  const lastHeard = new Map<WebSocket, { readonly socket: Socket; atMs: number }>();

  server.on('connection', (webSocket: WebSocket, request: IncomingMessage) => {
    const { socket } = request;
    const heard = { socket, atMs: performance.now() };
    lastHeard.set(webSocket, heard);
    webSocket.on('message', () => (heard.atMs = performance.now()));
    webSocket.on('close', () => lastHeard.delete(webSocket));
    watchForStall(socket, flow);
    socket.on('timeout', () => {
      if (webSocket.bufferedAmount > 0) webSocket.terminate();
    });
    serveSocket(webSocket, request, options);
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
    for (const [webSocket, heard] of lastHeard) {
      // Whoever still has something to read is merely slow; the socket's timeout judges those.
      if (webSocket.bufferedAmount > 0) heard.atMs = now;
      else if (now - heard.atMs > heartbeatMs + flow.socketStallMs) webSocket.terminate();
      else webSocket.send('PING');
      watchForStall(heard.socket, flow);
    }
  };
  beatLater();

  return {
    upgrade(request, socket, head) {
      try {
        options.check(request);
        refuseBody(request);
        if (lastHeard.size >= options.socketsMax) throw new LlmError('at_capacity', 'Too many sockets are open');
      } catch (error) {
        return options.refuse(socket, LlmError.from(error));
      }
      server.handleUpgrade(request, socket, head, (webSocket) => server.emit('connection', webSocket, request));
    },
    get sockets() {
      return lastHeard.size;
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(heartbeat);
      const closed = new Promise((resolve) => server.close(resolve));
      // What was sent before goes out first, so that nobody misses the end of an answer.
      for (const webSocket of server.clients) webSocket.close(1001, 'shutting down');
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
