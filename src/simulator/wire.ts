/**
 * The bytes of one HTTP answer: a small buffer, back pressure, waits, and how it ended.
 * Knows nothing of events. Every wait it hands out ends, at the latest when the connection does, and no timer
 * outlives that.
 */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';

/** How an answer ended: sent in full, left by the client, or cut off by the simulator. */
export type Outcome = 'completed' | 'client_closed' | 'destroyed';

export class Wire {
  /** Settles when the answer has ended, and the connection with it unless that is kept for another request. */
  readonly outcome: Promise<Outcome>;
  bytesSent = 0;
  /** `performance.now()` at the moment that `outcome` tells of. */
  closedAt: number | undefined;
  /** Gone once the answer has ended, so that whoever keeps the wire keeps no socket. */
  #response: ServerResponse | undefined;
  #pending = '';
  #encode = (bytes: Buffer): Buffer => bytes;
  #finished = false;
  #destroyed = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #waiting = new Set<() => void>();
  #drained: Promise<void> | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
    // Errors of a socket that the client has left; `close` follows and tells it all.
    response.on('error', () => {});
    this.outcome = new Promise((resolve) => {
      response.once('close', () => {
        this.closedAt = performance.now();
        this.#response = undefined;
        this.#pending = '';
        clearTimeout(this.#timer);
        resolve(this.#destroyed ? 'destroyed' : response.writableFinished ? 'completed' : 'client_closed');
        for (const wake of this.#waiting) wake();
      });
    });
  }

  /** Nothing can be sent any more. */
  get over(): boolean {
    return this.#finished || this.#response === undefined;
  }

  get headSent(): boolean {
    return this.#response?.headersSent ?? true;
  }

  /** Characters put and not sent yet. */
  get pendingChars(): number {
    return this.#pending.length;
  }

  /** Sends status and headers at once. */
  head(status: number, headers: OutgoingHttpHeaders): void {
    if (this.over || this.headSent) return;
    this.#response!.writeHead(status, headers);
    this.#response!.flushHeaders();
  }

  /** Compresses all that is sent from now on by gzip, each write as a member of its own. */
  compress(): void {
    this.#encode = (bytes) => (bytes.length === 0 ? bytes : gzipSync(bytes));
  }

  /** Adds to what the next write sends. */
  put(text: string): void {
    if (!this.over) this.#pending += text;
  }

  /** Sends what was put. Undefined if there is room for more, otherwise settles when there is. */
  flush(): Promise<void> | undefined {
    if (this.over || this.#pending === '') return undefined;
    const response = this.#response!;
    if (response.write(this.#take())) return undefined;
    // One wait for all that were not waited for: a listener each would be a leak to Node.
    this.#drained ??= this.#until((wake) => response.once('drain', wake)).finally(() => (this.#drained = undefined));
    return this.#drained;
  }

  /** Sends what was put, and then `bytes`, as one write; settles when the operating system has it. */
  written(bytes?: Uint8Array): Promise<void> {
    const chunk = this.#take(bytes);
    if (this.over || chunk.length === 0) return Promise.resolve();
    return this.#until((wake) => this.#response!.write(chunk, wake));
  }

  /** Sends what was put and ends the answer. */
  end(): void {
    if (this.over) return;
    this.#response!.end(this.#take());
    this.#finished = true;
  }

  /** Cuts the connection. */
  destroy(): void {
    if (this.#response === undefined) return;
    this.#destroyed = true;
    this.#response.destroy();
  }

  /** Waits so long, or until the connection ends. One pause at a time. */
  pause(durationMs: number): Promise<void> {
    return this.#until((wake) => {
      this.#timer = setTimeout(wake, durationMs);
    });
  }

  #take(more: Uint8Array = Buffer.of()): Buffer {
    const bytes = this.#encode(Buffer.concat([Buffer.from(this.#pending), more]));
    if (!this.over) this.bytesSent += bytes.length;
    this.#pending = '';
    return bytes;
  }

  #until(register: (wake: () => void) => void): Promise<void> {
    if (this.#response === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
      register(wake);
    });
  }
}
