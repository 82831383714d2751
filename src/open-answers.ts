/**
 * Which answers are under way on which connection of a listener. Node tells of an answer that ends, and of a connection that
 * closes; of an answer that waited behind another on a connection which closed, it tells nothing.
 */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export class OpenAnswers {
  /** Of each connection that speaks HTTP; upgraded ones are none of these. */
  readonly #open = new Map<Socket, Set<ServerResponse>>();

  constructor(server: Server) {
    server.on('connection', (socket: Socket) => {
      this.#open.set(socket, new Set());
      socket.once('close', () => this.#open.delete(socket));
    });
    server.on('upgrade', ({ socket }: IncomingMessage) => this.#open.delete(socket));
    server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      const open = this.#open.get(socket);
      open?.add(response);
      response.once('close', () => open?.delete(response));
    });
  }

  /** How many there are. */
  get size(): number {
    let size = 0;
    for (const open of this.#open.values()) size += open.size;
    return size;
  }

  /** Whether a connection waits for a request. */
  isIdle(socket: Socket): boolean {
    return this.#open.get(socket)?.size === 0;
  }

  /** Settles when those that are under way have left, or their clients have, or the signal aborts. */
  async left(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#open].map(([socket, open]) => allLeft(socket, open, signal)));
  }
}

async function allLeft(socket: Socket, open: ReadonlySet<ServerResponse>, signal: AbortSignal): Promise<void> {
  for (let [first] = open; first && !socket.destroyed && !signal.aborted; [first] = open) {
    await firstOf([first, 'close'], [socket, 'close'], signal);
  }
}

type Event = readonly [emitter: Socket | ServerResponse, name: string];

/** Settles when one of two events comes, or the signal aborts. */
export async function firstOf(one: Event, other: Event, signal?: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const either = signal ? AbortSignal.any([signal, settled.signal]) : settled.signal;
  const [first, second] = [one, other].map(([emitter, name]) => once(emitter, name, { signal: either }));
  await Promise.race([first, second]).catch(() => {});
  settled.abort();
}
