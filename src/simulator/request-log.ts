/**
 * Keeps the requests that arrived, so that tests can look at them and wait for them. Drops the oldest beyond a number
 * or a size.
 */
import type { SimulatorRequest } from './simulator-request.ts';

const requestsMax = 10_000;
/** The most bytes of raw bodies, of all requests that are kept. */
const bodyBytesMax = 64 * 1024 * 1024;

interface Waiter {
  take(request: SimulatorRequest): void;
  fail(reason: Error): void;
}

export class RequestLog {
  /** The number of all requests that arrived, including dropped ones. */
  count = 0;
  readonly requests: SimulatorRequest[] = [];
  readonly #bodyBytes: number[] = [];
  #bodyBytesSum = 0;
  /** How many of these requests `next` has returned, or has skipped since they were dropped. */
  #taken = 0;
  readonly #waiters = new Set<Waiter>();
  #closed = false;

  add(request: SimulatorRequest, bodyBytes: number): void {
    this.count++;
    this.requests.push(request);
    this.#bodyBytes.push(bodyBytes);
    this.#bodyBytesSum += bodyBytes;
    while (this.requests.length > requestsMax || (this.#bodyBytesSum > bodyBytesMax && this.requests.length > 1)) {
      this.requests.shift();
      this.#bodyBytesSum -= this.#bodyBytes.shift()!;
    }
    const [waiter] = this.#waiters;
    if (waiter === undefined) return;
    this.#taken = this.count;
    waiter.take(request);
  }

  async next(signal: AbortSignal | undefined): Promise<SimulatorRequest> {
    signal?.throwIfAborted();
    const dropped = this.count - this.requests.length;
    this.#taken = Math.max(this.#taken, dropped);
    const untaken = this.requests[this.#taken - dropped];
    if (untaken !== undefined) {
      this.#taken++;
      return untaken;
    }
    if (this.#closed) throw disposed();
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', abort);
      };
      const waiter: Waiter = {
        take(request) {
          settle();
          resolve(request);
        },
        fail(reason) {
          settle();
          reject(reason);
        },
      };
      const abort = () => waiter.fail(signal!.reason as Error);
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', abort);
    });
  }

  /** No request will arrive any more: every wait is rejected. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters) waiter.fail(disposed());
  }
}

function disposed(): Error {
  return new Error('The simulator was disposed; no request will arrive');
}
