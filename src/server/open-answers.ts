/**
 * Which answers are under way on which connection of a listener, how many of them there may be, and whose turn it is. Node tells of an answer that ends, and of a connection that
 * closes; of an answer that waited behind another on a connection which closed, it tells nothing.
 */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** What a connection that speaks HTTP has to answer. */
interface Connection {
  readonly answers: Set<ServerResponse>;
  /** Wakes those that wait for their turn on it. */
  readonly waiting: Set<() => void>;
}

export class OpenAnswers {
  readonly #open = new Map<Socket, Connection>();
  readonly #pipelinedMax: number;

  /** @param pipelinedMax A connection on which more requests wait is closed. */
  constructor(pipelinedMax: number) {
    this.#pipelinedMax = pipelinedMax;
  }

  /** To be called once, before the server listens. */
  watch(server: Server): void {
    server.on('connection', (socket: Socket) => {
      const connection: Connection = { answers: new Set(), waiting: new Set() };
      this.#open.set(socket, connection);
      socket.once('close', () => {
        this.#open.delete(socket);
        for (const wake of connection.waiting) wake();
      });
    });
    server.on('upgrade', ({ socket }: IncomingMessage) => this.#open.delete(socket));
  }

  /**
   * Takes a request in; false where its connection is closed, for it holds too many. What came with it in one piece is parsed
   * by then, and costs no more than that.
   */
  admit({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const answers = this.#open.get(socket)?.answers;
    if (socket.destroyed) return false;
    if (answers && answers.size >= this.#pipelinedMax) {
      socket.destroy();
      return false;
    }
    answers?.add(response);
    response.once('close', () => answers?.delete(response));
    return true;
  }

  /**
   * Settles when it is an answer's turn on its connection, or its client has left; undefined where it is its turn now. One of
   * several requests that were sent at once has no socket before: nothing could hold its answer back.
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

  /** Reads no connection until the promise is fulfilled, or its owner reads on by itself. Answers go out meanwhile. */
  pauseUntil(fulfilled: Promise<void>): void {
    const paused = [...this.#open.keys()].filter((socket) => !socket.isPaused());
    for (const socket of paused) socket.pause();
    void fulfilled.then(() => {
      for (const socket of paused) if (!socket.destroyed) socket.resume();
    });
  }

  /** How many there are. */
  get size(): number {
    let size = 0;
    for (const { answers } of this.#open.values()) size += answers.size;
    return size;
  }

  /** Whether a connection waits for a request. */
  isIdle(socket: Socket): boolean {
    return this.#open.get(socket)?.answers.size === 0;
  }

  /** Settles when those that are under way have left, or their clients have, or the signal aborts. */
  async left(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#open].map(([socket, { answers }]) => allLeft(socket, answers, signal)));
  }
}

async function allLeft(socket: Socket, open: ReadonlySet<ServerResponse>, signal: AbortSignal): Promise<void> {
  for (let [first] = open; first && !socket.destroyed && !signal.aborted; [first] = open) {
    await firstOf([first, 'close'], [socket, 'close'], signal);
  }
}

type Event = readonly [emitter: Socket | ServerResponse, name: string];

/** Settles when one of two events comes, or the signal aborts. */
async function firstOf(one: Event, other: Event, signal: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const either = AbortSignal.any([signal, settled.signal]);
  const [first, second] = [one, other].map(([emitter, name]) => once(emitter, name, { signal: either }));
  await Promise.race([first, second]).catch(() => {});
  settled.abort();
}
