/**
 * An upstream that follows no rule: it answers a request with any bytes that a test wants, on sockets that the test
 * controls.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { frameOf } from './upstream-frames.ts';

export interface Exchange {
  /** Counted from 0. */
  readonly number: number;
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
  readonly response: ServerResponse;
  readonly socket: Socket;
  readonly isClosed: boolean;
  /** Writes a piece of an event stream once the service takes it. False if the service has closed the connection. */
  write(piece: string | Buffer): Promise<boolean>;
  /** Writes all events unless the service closes the connection first. Returns how many bytes it wrote. */
  pour(events: Iterable<UpstreamEvent | string>): Promise<number>;
}

export interface UpstreamEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface HandUpstream extends AsyncDisposable {
  readonly url: string;
  /** Sets the answer to the next requests. */
  script: (exchange: Exchange) => unknown;
  readonly requests: readonly Exchange[];
  readonly openSockets: number;
}

/** Events smaller than this are written together. */
const writeChars = 8 * 1_024;

export async function startHandUpstream(): Promise<HandUpstream> {
  const requests: Exchange[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
    void receive(request).then((body) => {
      if (body === undefined) return;
      const exchange = exchangeOf(requests.length, request, response, body);
      requests.push(exchange);
      upstream.script(exchange);
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const upstream: HandUpstream = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    script: ({ pour }) => pour(answer('hello')),
    requests,
    get openSockets() {
      return sockets.size;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return upstream;
}

function exchangeOf(number: number, request: IncomingMessage, response: ServerResponse, body: string): Exchange {
  const { socket, headers } = request;
  let isClosed = false;
  const closed = once(response, 'close').then(() => (isClosed = true));
  const write = async (piece: string | Buffer) => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (isClosed) return false;
    if (!response.write(piece)) await Promise.race([once(response, 'drain'), closed]);
    return !isClosed;
  };
  return {
    number,
    body,
    headers,
    response,
    socket,
    get isClosed() {
      return isClosed;
    },
    write,
    async pour(events) {
      let bytes = 0;
      let batch = '';
      const leave = () => {
        bytes += batch.length;
        const left = write(batch);
        batch = '';
        // Waits one turn, so that an endless script doesn't prevent this process from noticing that the service has
        // closed.
        return left.then((open) => new Promise<boolean>((resolve) => setImmediate(() => resolve(open && !isClosed))));
      };
      for (const event of events) {
        batch += typeof event === 'string' ? event : frameOf(event);
        if (batch.length >= writeChars && !(await leave())) return bytes;
      }
      if (batch !== '') await leave();
      response.end();
      return bytes;
    },
  };
}

async function receive(request: IncomingMessage): Promise<string | undefined> {
  let body = '';
  try {
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    return body;
  } catch {
    return undefined;
  }
}

// --------------------------------------------------------------------------------------------------------- streams

export const messageStart: UpstreamEvent = {
  type: 'message_start',
  message: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    content: [],
    model: 'claude-sonnet-5-5',
    usage: { input_tokens: 8, output_tokens: 1 },
  },
};

export const textStart: UpstreamEvent = blockStart({ type: 'text', text: '' });

export function blockStart(block: unknown, index: unknown = 0): UpstreamEvent {
  return { type: 'content_block_start', index, content_block: block };
}

export function blockDelta(delta: unknown, index: unknown = 0): UpstreamEvent {
  return { type: 'content_block_delta', index, delta };
}

export function blockStop(index: unknown = 0): UpstreamEvent {
  return { type: 'content_block_stop', index };
}

export function textDelta(text: string): UpstreamEvent {
  return blockDelta({ type: 'text_delta', text });
}

export function messageDelta(delta: unknown, usage: unknown = { output_tokens: 5 }): UpstreamEvent {
  return { type: 'message_delta', delta, usage };
}

export const messageStop: UpstreamEvent = { type: 'message_stop' };

/** A good answer, with extra events of the test before its end. */
export function answer(text: string, ...more: (UpstreamEvent | string)[]): (UpstreamEvent | string)[] {
  return [
    messageStart,
    textStart,
    textDelta(text),
    blockStop(),
    ...more,
    messageDelta({ stop_reason: 'end_turn' }),
    messageStop,
  ];
}
