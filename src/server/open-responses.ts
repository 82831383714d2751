/**
 * The responses that each connection of a listener still owes: how many, and which one's turn it is. Node emits an event when a
 * response closes and when a connection closes. It emits none for a response that waited behind another one on a connection that
 * closed, so this file keeps both together.
 */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** What one connection owes. */
interface Connection {
  readonly responses: Set<ServerResponse>;
  /** Wakes those that wait for the turn of their response. */
  readonly waiting: Set<() => void>;
}

export class OpenResponses {
  readonly #open = new Map<Socket, Connection>();
  readonly #pipelinedMax: number;
  readonly #onFlood: () => void;

  /**
   * @param pipelinedMax Responses that one connection may owe; a connection that asks for more is closed.
   * @param onFlood Called when a connection is closed for that. It stops all reading in this turn: Node frees what it has parsed of
   *   a closed connection only after the turn, and a thousand such connections would fill the heap in one.
   */
  constructor(pipelinedMax: number, onFlood: () => void) {
    this.#pipelinedMax = pipelinedMax;
    this.#onFlood = onFlood;
  }

  /** Watches the server's connections. To be called once, before the server listens. */
  watch(server: Server): void {
    server.on('connection', (socket: Socket) => {
      const connection: Connection = { responses: new Set(), waiting: new Set() };
      this.#open.set(socket, connection);
      socket.once('close', () => {
        this.#open.delete(socket);
        for (const wake of connection.waiting) wake();
      });
    });
    server.on('upgrade', ({ socket }: IncomingMessage) => this.#open.delete(socket));
  }

  /**
   * Adds the response to a request. Returns false, and closes the connection, where it owes too many. Node has parsed all requests
   * that came in the same read by then; those after the closing cost the parsing and nothing else.
   */
  admit({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const responses = this.#open.get(socket)?.responses;
    if (socket.destroyed) return false;
    if (responses && responses.size >= this.#pipelinedMax) {
      socket.destroy();
      this.#onFlood();
      return false;
    }
    responses?.add(response);
    response.once('close', () => responses?.delete(response));
    return true;
  }

  /**
   * Settles when it is the response's turn on its connection, or its client has left; undefined where it is its turn already.
   * Of several requests that were sent at once, only the first one's response has a socket. The others must wait before they do
   * any work, since Node buffers without bound what is written to a response that has no socket.
   */
  turnOf(response: ServerResponse, socket: Socket): Promise<void> | undefined {
    if (response.socket) return undefined;
    const waiting = this.#open.get(socket)?.waiting;
    if (!waiting || socket.destroyed) return undefined;
    return new Promise((resolve) => {
      const wake = () => {
        waiting.delete(wake);
        resolve();
      };
      waiting.add(wake);
      response.once('socket', wake);
    });
  }

  /** The connections that are open and speak HTTP. */
  get connections(): Iterable<Socket> {
    return this.#open.keys();
  }

  /** Responses that all connections owe. */
  get size(): number {
    let size = 0;
    for (const { responses } of this.#open.values()) size += responses.size;
    return size;
  }

  /** Whether a connection owes nothing and waits for a request. */
  isIdle(socket: Socket): boolean {
    return this.#open.get(socket)?.responses.size === 0;
  }

  /** Settles when every response has left, or its client has, or the signal aborts. */
  async allLeft(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#open].map(([socket, { responses }]) => leftFrom(socket, responses, signal)));
  }
}

async function leftFrom(socket: Socket, responses: ReadonlySet<ServerResponse>, signal: AbortSignal): Promise<void> {
  for (let [first] = responses; first && !socket.destroyed && !signal.aborted; [first] = responses) {
    await firstOf([first, 'close'], [socket, 'close'], signal);
  }
}

type Event = readonly [emitter: Socket | ServerResponse, name: string];

/** Settles when either event is emitted, or the signal aborts. Leaves no listener behind. */
async function firstOf(one: Event, other: Event, signal: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const either = AbortSignal.any([signal, settled.signal]);
  const [first, second] = [one, other].map(([emitter, name]) => once(emitter, name, { signal: either }));
  await Promise.race([first, second]).catch(() => {});
  settled.abort();
}
