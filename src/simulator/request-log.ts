/**
 * The requests that arrived, for tests to look at and to wait for. Bounded in number and in bytes: the oldest go first.
 */
import type { SimulatorRequest } from './simulator-request.ts';

const requestsMax = 10_000;
/** Of raw bodies, over all requests that are kept. */
const bodyBytesMax = 64 * 1024 * 1024;

interface Waiter {
  take(request: SimulatorRequest): void;
  fail(reason: Error): void;
}

export class RequestLog {
  /** All that arrived, also those no longer kept. */
  count = 0;
  readonly requests: SimulatorRequest[] = [];
  readonly #bodyBytes: number[] = [];
  #bodyBytesSum = 0;
  /** How many of all that arrived `next` has given out, or passed over as they were dropped. */
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

  /** Nothing will arrive any more: whoever waits is told. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters) waiter.fail(disposed());
  }
}

function disposed(): Error {
  return new Error('The simulator was disposed; no request will arrive');
}
