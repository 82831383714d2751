/**
 * The bytes of one HTTP response: collects them, writes them with back pressure, and notes how the response went. Knows
 * nothing of events. When the connection closes, every promise that it has returned settles and its timer stops.
 */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';

/**
 * How a response went: `completed` was sent in full, `client_closed` was left by the client, `destroyed` was cut off by
 * the simulator.
 */
export type Outcome = 'completed' | 'client_closed' | 'destroyed';

export class Wire {
  /** Settles when the response is over: its connection is closed, or kept for another request. */
  readonly outcome: Promise<Outcome>;
  bytesSent = 0;
  /** When `outcome` settled, on the clock of `performance.now()`; undefined before that. */
  closedAt: number | undefined;
  /** Undefined once the response is over, so that a wire that is kept for a test keeps no socket. */
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
    // A socket that the client has left may emit errors. `close` follows, and settles `outcome`.
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

  /** Whether nothing more can be sent. */
  get over(): boolean {
    return this.#finished || this.#response === undefined;
  }

  get headSent(): boolean {
    return this.#response?.headersSent ?? true;
  }

  /** How many characters were added and not written yet. */
  get pendingChars(): number {
    return this.#pending.length;
  }

  /** Sends status and headers at once. */
  head(status: number, headers: OutgoingHttpHeaders): void {
    if (this.over || this.headSent) return;
    this.#response!.writeHead(status, headers);
    this.#response!.flushHeaders();
  }

  /** From now on compresses each write as a gzip member of its own, so that it can be decoded at once. */
  compress(): void {
    this.#encode = (bytes) => (bytes.length === 0 ? bytes : gzipSync(bytes));
  }

  /** Adds text to the next write. */
  put(text: string): void {
    if (!this.over) this.#pending += text;
  }

  /**
   * Writes what was added. Returns undefined if the socket has room for more, else a promise that settles when it has.
   */
  flush(): Promise<void> | undefined {
    if (this.over || this.#pending === '') return undefined;
    const response = this.#response!;
    if (response.write(this.#take())) return undefined;
    // Callers that don't wait for the promise share it. With a listener for each call, Node would warn of a leak.
    this.#drained ??= this.#until((wake) => response.once('drain', wake)).finally(() => (this.#drained = undefined));
    return this.#drained;
  }

  /** Writes what was added and then `bytes`, as one write. Settles when the operating system has it. */
  written(bytes?: Uint8Array): Promise<void> {
    const chunk = this.#take(bytes);
    if (this.over || chunk.length === 0) return Promise.resolve();
    return this.#until((wake) => this.#response!.write(chunk, wake));
  }

  /** Writes what was added, and ends the response. */
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

  /** Settles after this time, or when the connection closes. Only one pause may run at a time. */
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
