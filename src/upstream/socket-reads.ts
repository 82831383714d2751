/**
 * Where upstream's sockets read into, and the short way from there to a body: chunks that a read holds whole go past node's
 * HTTP parser, which would copy each of them and call out for it. The parser gets all else, and doesn't notice.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { ResponseBody } from './body.ts';
import { ChunkFraming } from './chunk-framing.ts';
import { ReadPace, rest } from './read-pace.ts';

/**
 * One for all sockets: node's parser is done with a read when the call that brought it returns, and so are we. A buffer for
 * each read, and the stream around it, would cost a token a tenth more.
 */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);
const headEnd = '\r\n\r\n';
const cr = 0x0d;
const lf = 0x0a;

interface ShortWay {
  readonly body: ResponseBody;
  readonly framing: ChunkFraming;
  readonly pace: ReadPace;
}

const shortWays = new WeakMap<Socket, ShortWay>();

/** An option of sockets. */
export const onread = {
  buffer: readBuffer,
  callback(this: Socket, bytes: number): boolean {
    const way = shortWays.get(this);
    if (way) return takeBody(this, way, bytes);
    takeHead(this, bytes);
    return true;
  },
};

/** To be called when node tells of a response: in the very read that its head ends in. */
export function openShortWay({ headers, socket }: IncomingMessage, body: ResponseBody): void {
  if (headers['transfer-encoding'] === 'chunked')
    shortWays.set(socket, { body, framing: new ChunkFraming(), pace: new ReadPace() });
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

/** Whether the socket is to be read on at once. */
function takeBody(socket: Socket, { body, framing, pace }: ShortWay, bytes: number): boolean {
  const { chunks, from, to } = framing.follow(readBuffer, 0, bytes);
  if (framing.lost) shortWays.delete(socket);
  toParser(socket, 0, from);
  if (body.flows) body.takeChunks(chunks);
  else toParser(socket, from, to);
  toParser(socket, to, bytes);
  // A body that is full stops the socket by itself, and knows when to go on.
  if (!pace.tooFast(chunks.length) || !body.flows) return true;
  rest(socket);
  return false;
}

function toParser(socket: Socket, from: number, to: number): void {
  if (from < to && !socket.destroyed) socket.emit('data', readBuffer.subarray(from, to));
}
