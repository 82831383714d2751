/**
 * An HTTP response as a stream of server-sent events: headers, frames, heartbeats, back pressure. Knows nothing of what
 * the frames hold. https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import type { ServerResponse } from 'node:http';
import { untilRoom, type FlowLimits } from './flow-control.ts';

export interface SseOptions extends FlowLimits {
  /** Silence after which a heartbeat goes out. */
  readonly heartbeatMs: number;
  /** The frame that says nothing. */
  readonly heartbeat: string;
  /** How long the client is told to wait before it reconnects; browsers wait three seconds if nobody tells them. */
  readonly reconnectMs: number;
}

export class SseResponse {
  /** Aborts when the client has left. */
  readonly signal: AbortSignal;
  readonly #response: ServerResponse;
  readonly #options: SseOptions;
  readonly #heartbeat: NodeJS.Timeout;
  #opened = false;

  /** Takes the response over. Nothing is sent before the first `write`. */
  constructor(response: ServerResponse, options: SseOptions) {
    this.#response = response;
    this.#options = options;
    const left = new AbortController();
    this.signal = left.signal;
    this.#heartbeat = setInterval(() => {
      // A full socket needs no sign of life, and must not be given more to hold.
      if (this.#opened && response.writableLength === 0) response.write(options.heartbeat);
    }, options.heartbeatMs);
    response.once('close', () => {
      clearInterval(this.#heartbeat);
      left.abort();
    });
  }

  #open(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.#response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      // nginx holds back what it proxies unless told not to.
      'x-accel-buffering': 'no',
    });
    this.#response.write(`retry: ${this.#options.reconnectMs}\n\n`);
  }

  /** Sends whole frames. Frames written in one turn of the event loop leave as one packet: node corks the socket. */
  write(frames: string): void {
    if (this.signal.aborted) return;
    this.#open();
    this.#response.write(frames);
    this.#heartbeat.refresh();
  }

  /** Undefined if the client has room for more; else settles when it has, or has left. */
  ready(): Promise<void> | undefined {
    return untilRoom(this.#response, () => this.#response.writableLength, this.signal, this.#options);
  }

  end(): void {
    clearInterval(this.#heartbeat);
    this.#response.end();
  }

  /** Gives the response back, unsent, to be answered in another way. */
  release(): void {
    clearInterval(this.#heartbeat);
  }
}
