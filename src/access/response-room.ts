/**
 * Room for the answers to one request: taken before each is made, held until they have left. A snapshot repeats the whole of
 * a log, and a request may ask for many; whoever doesn't read them would have them all waiting in memory.
 */
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { HeldBytes, Hold } from './held-bytes.ts';
import { ownTurn } from '../flow/turns.ts';

/** What is longer takes a while to make, so that one of them is made in a turn of the event loop. */
const bytesAtOnceMax = 64 * 1_024;

export class ResponseRoom implements Disposable {
  readonly #held: HeldBytes;
  readonly #bytesMax: number;
  #bytes = 0;
  #hold: Hold | undefined;
  #over = false;

  /** @param bytesMax Of all answers together; a single one may be larger. */
  constructor(held: HeldBytes, bytesMax: number) {
    this.#held = held;
    this.#bytesMax = bytesMax;
  }

  /**
   * Settles when it is the answer's turn to be made; undefined where it is now.
   *
   * @throws LlmError `too_large`; `rate_limited` or `at_capacity` where too many answers wait, or too much else is held
   */
  take(caller: Caller, bytes: number): Promise<void> | undefined {
    if (this.#over) return undefined;
    const all = this.#bytes + bytes;
    if (this.#bytes > 0 && all > this.#bytesMax) {
      throw new LlmError('too_large', `The answers to one request hold more than ${this.#bytesMax} bytes together`);
    }
    this.#hold ??= this.#held.take(caller.name, 0);
    this.#hold.resize(all);
    this.#bytes = all;
    return bytes > bytesAtOnceMax ? ownTurn() : undefined;
  }

  /** To be called when all have left, or nobody waits for them any more. */
  [Symbol.dispose](): void {
    this.#over = true;
    this.#hold?.[Symbol.dispose]();
  }
}
