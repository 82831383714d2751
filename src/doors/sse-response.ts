/**
 * An HTTP response as a stream of server-sent events: head, frames, heartbeats, back pressure. Knows two things of the frames: the
 * first one has data, and every character beyond ASCII is inside JSON. https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 * Node writes the head. The chunks of the body bypass Node's response and go straight to the socket, which halves the cost of a frame.
 * Node's documentation doesn't allow it. It works on Node 20 to 26 for three reasons, and test/framing.test.ts fails when one of them
 * no longer holds. First, `flushHeaders` writes the head to the socket in the same call, while `write` may keep it until the next tick
 * (as it does from Node 26.9 on). Second, of several responses on one connection only the one whose turn it is has a `socket`. Third,
 * `end` writes the last chunk after everything that was written to the socket before.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { leaveTogether, untilRoom, type FlowLimits } from './flow-control.ts';
import { escapeLineEnds } from '../json/json-line.ts';
import { soon } from '../flow/turns.ts';

export interface SseOptions extends FlowLimits {
  /** The longest silence in milliseconds. A heartbeat ends it, at the earliest after half of it. */
  readonly heartbeatMs: number;
  /** Milliseconds that the stream asks the client to wait before it reconnects. Without it, browsers wait three seconds. */
  readonly reconnectMs: number;
  /** Headers beside those of every event stream. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export class SseResponse {
  /** Aborts when the client has left. */
  readonly signal: AbortSignal;
  readonly #response: ServerResponse;
  readonly #options: SseOptions;
  readonly #heartbeat: NodeJS.Timeout;
  #left = false;
  #released = false;
  #opened = false;
  #retrySent = false;
  /** Takes the chunks of the body, once the head is out. Undefined for a client of HTTP/1.0, which knows no chunks. */
  #socket: Socket | undefined;
  /** Set where many streams end in one turn: the tokens of other streams go first. */
  #endsLater: Promise<void> | undefined;
  /** Whether nothing was written since the heartbeat's timer last looked. */
  #silent = true;

  /**
   * Takes the response over. Nothing is sent before `open` or the first `write`.
   *
   * @param heartbeat The frame that is sent as a sign of life.
   */
  constructor(response: ServerResponse, heartbeat: string, options: SseOptions) {
    this.#response = response;
    this.#options = options;
    const left = new AbortController();
    this.signal = left.signal;
    // The timer looks twice in the longest silence, and a write only clears a flag. Restarting a timer at each write would cost more.
    this.#heartbeat = setInterval(() => {
      // A client that doesn't read needs no sign of life, and its socket must not hold more.
      if (this.#silent && this.#opened && response.writableLength === 0) void this.write(heartbeat);
      else this.#silent = true;
    }, options.heartbeatMs / 2);
    const leave = () => {
      clearInterval(this.#heartbeat);
      this.#left = true;
      // With a reason, since without one `abort` makes an exception, and captures its stack.
      left.abort('the client has left');
    };
    response.once('close', leave);
    // The client may have left while the door looked for what to send.
    if (response.destroyed) leave();
  }

  /**
   * Sends the head, so that the client knows that it is connected while there is no frame yet. Heartbeats follow from then on.
   * Does nothing where the head was sent, or the response was given back.
   */
  open(): void {
    if (!this.#opened && !this.#left && !this.#released) this.#open();
  }

  /** Whether the head was sent: from then on no status can refuse the request. */
  get opened(): boolean {
    return this.#opened;
  }

  /**
   * Sends whole frames. The first frame must hold data: `retry` is put in front of it, and some parsers would take `retry` in a block
   * of its own for an event. Returns undefined if the client has room for more. Otherwise the promise settles when it has, or has left.
   *
   * @param last Whether `finish` follows. Then, as a rule, these frames and the end leave in one write.
   */
  write(frames: string, last = false): Promise<void> | undefined {
    if (this.#left) return undefined;
    this.#silent = false;
    if (!this.#retrySent) {
      this.open();
      this.#retrySent = true;
      frames = `retry: ${this.#options.reconnectMs}\n${frames}`;
    }
    const socket = this.#socket;
    if (last) {
      this.#endsLater = soon();
      if (socket && !this.#endsLater) leaveTogether(socket);
    }
    if (!socket) {
      this.#response.write(escapeLineEnds(frames));
      return untilRoom(this.#response, this.signal, this.#options);
    }
    const { text, encoding } = chunkOf(frames);
    socket.write(text, encoding);
    return untilRoom(socket, this.signal, this.#options);
  }

  /** Ends the stream of a generation that has ended, with these last frames. Where many streams end in one turn, it waits its turn. */
  async finish(frames?: string): Promise<void> {
    await this.#endsLater;
    this.end(frames);
  }

  /** Ends the stream at once, with these last frames. */
  end(frames = ''): void {
    clearInterval(this.#heartbeat);
    const socket = this.#socket;
    // For a client that doesn't read the end. Node sets a timeout of its own when everything has left.
    socket?.setTimeout(this.#options.socketStallMs);
    socket?.cork();
    if (frames !== '') void this.write(frames);
    this.#response.end();
    socket?.uncork();
  }

  #open(): void {
    this.#opened = true;
    const response = this.#response;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      // Without it, nginx buffers a response that it proxies.
      'x-accel-buffering': 'no',
      ...this.#options.headers,
    });
    if (response.chunkedEncoding && response.socket) {
      this.#socket = response.socket;
      leaveTogether(this.#socket);
      // A stream may be quiet for any time.
      this.#socket.setTimeout(0);
    }
    response.flushHeaders();
  }

  /** Closes the connection of a stream that is not whole. Ended properly, it would look whole to clients that expect no terminal event. */
  cut(): void {
    clearInterval(this.#heartbeat);
    this.#response.destroy();
  }

  /** Gives the response back before anything was sent, so that somebody else can write it. */
  release(): void {
    this.#released = true;
    clearInterval(this.#heartbeat);
  }
}

interface Chunk {
  readonly frames: string;
  readonly text: string;
  readonly encoding: 'latin1' | 'utf8';
}

let lastChunk: Chunk = { frames: '', text: '', encoding: 'latin1' };

/**
 * Frames as one HTTP chunk, in one string. `response.write` would hand the system several pieces: size, line ends and data. The
 * viewers of one generation are sent the same frames one after the other, so the last chunk is kept.
 */
function chunkOf(frames: string): Chunk {
  if (frames !== lastChunk.frames) {
    const bytes = Buffer.byteLength(frames);
    lastChunk = bytes === frames.length ? asciiChunk(frames) : unicodeChunk(frames);
  }
  return lastChunk;
}

function asciiChunk(frames: string): Chunk {
  return { frames, text: `${frames.length.toString(16)}\r\n${frames}\r\n`, encoding: 'latin1' };
}

function unicodeChunk(frames: string): Chunk {
  const body = escapeLineEnds(frames);
  return { frames, text: `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n`, encoding: 'utf8' };
}
