/**
 * An HTTP response as a stream of server-sent events: headers, frames, heartbeats, back pressure. Knows of the frames only
 * that whatever in them is beyond ASCII is JSON. https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 * Node writes the head; the chunks of the body go to the socket past it, which halves what a frame costs. Nothing in Node's
 * documents says that this is allowed. It holds on Node 20 to 26 for these reasons, and test/framing.test.ts fails where one
 * of them no longer does: `flushHeaders` writes the head to the socket in the same call, where `write` may keep it until the
 * next tick (as it does from Node 26.9 on); of several responses on one connection only the one whose turn it is has a
 * `socket`; `end` writes the last chunk after all that the socket was given before.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { leaveTogether, untilRoom, type FlowLimits } from './flow-control.ts';
import { escapeLineEnds } from '../json/json-line.ts';
import { soon } from '../flow/turns.ts';

export interface SseOptions extends FlowLimits {
  /** The longest silence: a heartbeat ends it, at the earliest after half of it. */
  readonly heartbeatMs: number;
  /** How long the client is told to wait before it reconnects; browsers wait three seconds if nobody tells them. */
  readonly reconnectMs: number;
}

export class SseResponse {
  /** Aborts when the client has left. */
  readonly signal: AbortSignal;
  readonly #response: ServerResponse;
  readonly #options: SseOptions;
  readonly #heartbeat: NodeJS.Timeout;
  #left = false;
  #opened = false;
  /** Takes the chunks of the body past node, once the head is out; undefined for a client of HTTP/1.0, which knows no chunks. */
  #socket: Socket | undefined;
  /** Set where many end in one turn: the tokens of others go first. */
  #endsLater: Promise<void> | undefined;
  /** Whether nothing was written since the timer last looked. */
  #silent = true;

  /** Takes the response over. Nothing is sent before the first `write`. `heartbeat` is the frame that says nothing. */
  constructor(response: ServerResponse, heartbeat: string, options: SseOptions) {
    this.#response = response;
    this.#options = options;
    const left = new AbortController();
    this.signal = left.signal;
    // Twice in its time, so that a write has only to leave a note: to wind the timer up anew at each is dearer.
    this.#heartbeat = setInterval(() => {
      // A full socket needs no sign of life, and must not be given more to hold.
      if (this.#silent && this.#opened && response.writableLength === 0) void this.write(heartbeat);
      else this.#silent = true;
    }, options.heartbeatMs / 2);
    response.once('close', () => {
      clearInterval(this.#heartbeat);
      this.#left = true;
      // A reason, for without one an exception is made, and its stack.
      left.abort('the client has left');
    });
  }

  /**
   * Sends whole frames, of which the first must hold data: it bears `retry` as well, for some readers take a block of that
   * alone for an event. Undefined if the client has room for more; else settles when it has, or has left.
   *
   * @param last Whether `finish` is to follow: as a rule they leave with the end then, in one piece.
   */
  write(frames: string, last = false): Promise<void> | undefined {
    if (this.#left) return undefined;
    this.#silent = false;
    if (!this.#opened) {
      this.#open();
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

  /** Ends it after an answer that is complete, with these frames as the last ones: at once, or when there is time for it. */
  async finish(frames?: string): Promise<void> {
    await this.#endsLater;
    this.end(frames);
  }

  /** Ends it at once, with these frames as the last ones. */
  end(frames = ''): void {
    clearInterval(this.#heartbeat);
    const socket = this.#socket;
    // Node takes the socket's timeout into its own hands when all has left.
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
      // nginx holds back what it proxies unless told not to.
      'x-accel-buffering': 'no',
    });
    if (!response.chunkedEncoding || !response.socket) return;
    this.#socket = response.socket;
    leaveTogether(this.#socket);
    // It may be quiet for as long as it likes.
    this.#socket.setTimeout(0);
    response.flushHeaders();
  }

  /** Gives the response back, unsent, to be answered in another way. */
  release(): void {
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
 * Frames as one HTTP chunk and one string, where node would hand the system three pieces. The viewers of one generation are
 * given the same frames one after the other, hence the memory for one.
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
