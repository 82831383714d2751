/**
 * The buffer that upstream's sockets read into, and the short way from there to a body. Where a read holds whole chunks
 * of a chunked body, their data goes to the body directly. Node's HTTP parser would copy each chunk and call a listener
 * for it. The parser gets all other bytes; since it gets no part of a chunk that took the short way, its view of the
 * response stays consistent.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { ResponseBody } from './body.ts';
import { ChunkFraming } from './chunk-framing.ts';

/**
 * One buffer for all kept sockets. Node's parser and the bodies have used or copied a read before `callback` returns,
 * so the next read may overwrite it. With a new buffer for each read, as Node's streams allocate it, a token would cost a
 * tenth more CPU time.
 */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);
const headEnd = '\r\n\r\n';
const cr = 0x0d;
const lf = 0x0a;

interface ShortWay {
  readonly body: ResponseBody;
  readonly framing: ChunkFraming;
  /**
   * Whether the socket is behind TLS. Node then splits one read of the operating system into several calls of
   * `callback`.
   */
  readonly encrypted: boolean;
}

const shortWays = new WeakMap<Socket, ShortWay>();

/** The `onread` option of Node's sockets. */
export const onread = {
  buffer: readBuffer,
  callback(this: Socket, bytes: number): boolean {
    const way = shortWays.get(this);
    if (way) takeBody(this, way, bytes);
    else takeHead(this, bytes);
    return true;
  },
};

/** To be called when Node emits the response, which it does during the read in which the response's head ends. */
export function openShortWay({ statusCode, headers, socket }: IncomingMessage, body: ResponseBody): void {
  // Responses with some other statuses, such as 204, have no body, whatever their headers say.
  if (statusCode !== 200 || headers['transfer-encoding'] !== 'chunked') return;
  shortWays.set(socket, { body, framing: new ChunkFraming(), encrypted: 'encrypted' in socket });
}

function takeHead(socket: Socket, bytes: number): void {
  toParser(socket, 0, bytes);
  const way = shortWays.get(socket);
  if (!way) return;
  // The short way needs to know where the head ends. If an earlier read ended within the blank line after the head, a
  // blank line found in this read could be part of the body, so the body takes the way through the parser.
  const at = readBuffer[0] === cr || readBuffer[0] === lf ? -1 : readBuffer.subarray(0, bytes).indexOf(headEnd);
  if (at !== -1) way.framing.follow(readBuffer, at + headEnd.length, bytes);
  if (at === -1 || way.framing.lost) shortWays.delete(socket);
}

function takeBody(socket: Socket, { body, framing, encrypted }: ShortWay, bytes: number): void {
  const { chunks, from, to } = framing.follow(readBuffer, 0, bytes);
  if (framing.lost) shortWays.delete(socket);
  toParser(socket, 0, from);
  // The parser closes a socket whose bytes are not valid HTTP.
  if (socket.destroyed) return;
  if (body.flows) body.takeChunks(chunks, !encrypted);
  else toParser(socket, from, to);
  toParser(socket, to, bytes);
}

function toParser(socket: Socket, from: number, to: number): void {
  if (from < to && !socket.destroyed) socket.emit('data', readBuffer.subarray(from, to));
}
