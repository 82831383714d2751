/**
 * Where upstream's sockets read into, and the short way from there to a body: chunks that a read holds whole go past node's
 * HTTP parser, which would copy each of them and call out for it. The parser gets all else, and doesn't notice.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { ResponseBody } from './body.ts';
import { ChunkFraming } from './chunk-framing.ts';

/**
 * One for all sockets that are kept: node's parser is done with a read when the call that brought it returns, and so are
 * we. A buffer for each read, and the stream around it, would cost a token a tenth more.
 */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);
const headEnd = '\r\n\r\n';
const cr = 0x0d;
const lf = 0x0a;

interface ShortWay {
  readonly body: ResponseBody;
  readonly framing: ChunkFraming;
  /** Then one read of the system can come as many, one after the other. */
  readonly encrypted: boolean;
}

const shortWays = new WeakMap<Socket, ShortWay>();

/** An option of sockets. */
export const onread = {
  buffer: readBuffer,
  callback(this: Socket, bytes: number): boolean {
    const way = shortWays.get(this);
    if (way) takeBody(this, way, bytes);
    else takeHead(this, bytes);
    return true;
  },
};

/** To be called when node tells of a response: in the very read that its head ends in. */
export function openShortWay({ statusCode, headers, socket }: IncomingMessage, body: ResponseBody): void {
  // Some other answers have no body, whatever their headers say.
  if (statusCode !== 200 || headers['transfer-encoding'] !== 'chunked') return;
  shortWays.set(socket, { body, framing: new ChunkFraming(), encrypted: 'encrypted' in socket });
}

function takeHead(socket: Socket, bytes: number): void {
  toParser(socket, 0, bytes);
  const way = shortWays.get(socket);
  if (!way) return;
  // If the read before ended within the blank line, an end that is found here may be in the body.
  const at = readBuffer[0] === cr || readBuffer[0] === lf ? -1 : readBuffer.subarray(0, bytes).indexOf(headEnd);
  if (at !== -1) way.framing.follow(readBuffer, at + headEnd.length, bytes);
  if (at === -1 || way.framing.lost) shortWays.delete(socket);
}

function takeBody(socket: Socket, { body, framing, encrypted }: ShortWay, bytes: number): void {
  const { chunks, from, to } = framing.follow(readBuffer, 0, bytes);
  if (framing.lost) shortWays.delete(socket);
  toParser(socket, 0, from);
  // What the parser refused, it closed.
  if (socket.destroyed) return;
  if (body.flows) body.takeChunks(chunks, !encrypted);
  else toParser(socket, from, to);
  toParser(socket, to, bytes);
}

function toParser(socket: Socket, from: number, to: number): void {
  if (from < to && !socket.destroyed) socket.emit('data', readBuffer.subarray(from, to));
}
