/**
 * Stops the reading of connections when one turn of the event loop has brought too much, and resumes it a few connections at a time.
 * The order is that of the pausing, so a connection that brings too much in every turn can't keep the others from being read. Knows
 * sockets, and not what they bring.
 */
import type { Socket } from 'node:net';

/** Connections that are resumed in one turn, as long as every turn brings too much. */
const resumedPerTurn = 8;

export class ReadingTurns implements Disposable {
  readonly #connections: () => Iterable<Socket>;
  /** In the order of their pausing. */
  readonly #paused = new Set<Socket>();
  #next: NodeJS.Immediate | undefined;
  #cut = false;

  /** @param connections All connections that may be paused. */
  constructor(connections: () => Iterable<Socket>) {
    this.#connections = connections;
  }

  /** Ends the reading of this turn. Node still parses the bytes that it has read. Writing goes on. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#connections()) {
      if (socket.isPaused()) continue;
      socket.pause();
      this.#paused.add(socket);
    }
    this.#next ??= setImmediate(() => this.#resume());
  }

  #resume(): void {
    let resumed = 0;
    for (const socket of this.#paused) {
      if (this.#cut && resumed >= resumedPerTurn) break;
      this.#paused.delete(socket);
      if (socket.destroyed) continue;
      socket.resume();
      resumed += 1;
    }
    this.#cut = false;
    this.#next = this.#paused.size > 0 ? setImmediate(() => this.#resume()) : undefined;
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#next);
    this.#cut = false;
    this.#resume();
  }
}
