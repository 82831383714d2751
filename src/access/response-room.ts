/**
 * Memory for the responses to one request. A procedure takes it before it makes a response, and the door gives all of it back when
 * the responses have left the socket. A snapshot repeats a whole log, and a batch may ask for a hundred: a client that doesn't read
 * would have the service hold them all.
 */
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { HeldBytes, Hold } from './held-bytes.ts';
import { ownTurn } from '../flow/turns.ts';

/** A response of more bytes takes a while to make, so it gets a turn of the event loop for itself. */
const bytesAtOnceMax = 64 * 1_024;

export class ResponseRoom implements Disposable {
  readonly #held: HeldBytes;
  readonly #bytesMax: number;
  #bytes = 0;
  #hold: Hold | undefined;
  #disposed = false;

  /** @param bytesMax Bytes of all responses to the request together. A single response may be larger. */
  constructor(held: HeldBytes, bytesMax: number) {
    this.#held = held;
    this.#bytesMax = bytesMax;
  }

  /**
   * Settles when the response may be made; undefined where it may be made now.
   *
   * @throws LlmError `too_large`; `rate_limited` or `at_capacity` where the caller, or the process, holds too many bytes
   */
  take(caller: Caller, bytes: number): Promise<void> | undefined {
    if (this.#disposed) return undefined;
    const all = this.#bytes + bytes;
    if (this.#bytes > 0 && all > this.#bytesMax) {
      throw new LlmError('too_large', `The answers to one request hold more than ${this.#bytesMax} bytes together`);
    }
    this.#hold ??= this.#held.take(caller.name, 0);
    this.#hold.resize(all);
    this.#bytes = all;
    return bytes > bytesAtOnceMax ? ownTurn() : undefined;
  }

  /** Gives the memory back, when all responses have left or their client has. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#hold?.[Symbol.dispose]();
  }
}
