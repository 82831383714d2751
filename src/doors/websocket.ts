/**
 * The tRPC door over WebSocket: tRPC's own connection handler, behind what it leaves open. Origin and Host are checked
 * before the upgrade, sockets and messages are bounded, a client that sends no connection params is let go, dead peers
 * are found. The pace of a slow reader is kept in the router, where events are yielded.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { AnyTRPCRouter } from '@trpc/server';
import { getWSConnectionHandler } from '@trpc/server/adapters/ws';
import { WebSocketServer, type WebSocket } from 'ws';
import { LlmError } from '../errors.ts';

export interface WebSocketDoorOptions {
  readonly router: AnyTRPCRouter;
  /** @throws LlmError if the request may not come in. */
  readonly check: (request: IncomingMessage) => void;
  /** Bytes of one message from a client. */
  readonly bodyBytesMax: number;
  readonly socketsMax: number;
  /** How long a client that announced connection params may take to send them. */
  readonly connectionParamsMs: number;
  readonly heartbeatMs: number;
  /** Silence after which a peer that doesn't answer heartbeats is taken for dead. */
  readonly socketStallMs: number;
}

export interface WebSocketDoor extends AsyncDisposable {
  /** Takes over the socket of an HTTP upgrade request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  readonly sockets: number;
}

export function createWebSocketDoor(options: WebSocketDoorOptions): WebSocketDoor {
  const { router } = options;
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: options.bodyBytesMax,
    // Compressing each event costs six times what sending it does.
    perMessageDeflate: false,
  });
  const connect = getWSConnectionHandler({
    wss: server,
    router,
    createContext: ({ req, res, info }) => ({ req, res, info }),
  });
  const lastHeardMs = new Map<WebSocket, number>();

  server.on('connection', (webSocket: WebSocket, request: IncomingMessage) => {
    const hear = () => lastHeardMs.set(webSocket, performance.now());
    hear();
    webSocket.on('message', hear);
    webSocket.on('close', () => lastHeardMs.delete(webSocket));
    if (new URL(request.url ?? '', 'http://localhost').searchParams.get('connectionParams') === '1') {
      const timer = setTimeout(() => webSocket.close(1008, 'no connection params came'), options.connectionParamsMs);
      webSocket.once('message', () => clearTimeout(timer));
      webSocket.once('close', () => clearTimeout(timer));
    }
    connect(webSocket, request);
  });

  // One timer for all sockets. 'PING' as text is tRPC's own word: its clients answer with 'PONG'.
  const heartbeat = setInterval(() => {
    const now = performance.now();
    for (const [webSocket, heardMs] of lastHeardMs) {
      // Whoever still has something to read is merely slow; `drained` judges those.
      if (webSocket.bufferedAmount > 0) lastHeardMs.set(webSocket, now);
      else if (now - heardMs > options.heartbeatMs + options.socketStallMs) webSocket.terminate();
      else webSocket.send('PING');
    }
  }, options.heartbeatMs);

  return {
    upgrade(request, socket, head) {
      try {
        options.check(request);
        if (lastHeardMs.size >= options.socketsMax) throw new LlmError('at_capacity', 'Too many sockets are open');
      } catch (error) {
        return refuse(socket, LlmError.from(error));
      }
      server.handleUpgrade(request, socket, head, (webSocket) => server.emit('connection', webSocket, request));
    },
    get sockets() {
      return lastHeardMs.size;
    },
    async [Symbol.asyncDispose]() {
      clearInterval(heartbeat);
      const closed = new Promise((resolve) => server.close(resolve));
      for (const webSocket of server.clients) webSocket.terminate();
      await closed;
    },
  };
}

function refuse(socket: Duplex, error: LlmError): void {
  const body = JSON.stringify({ error: error.data });
  // The status text is free; clients show it where they don't show the body.
  socket.on('error', () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${error.traits.status} ${error.code}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
