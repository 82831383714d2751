/**
 * The account of memory that the service holds for callers: bodies that it reads, requests that run, content blocks that are not
 * whole yet, responses that wait in sockets. Whoever holds bytes takes them here first, against a limit for each caller and a limit
 * for the process. Knows nothing of what the bytes are.
 */
import { LlmError } from '../errors.ts';

export interface HeldBytesLimits {
  /** Bytes held for all callers together. */
  readonly heldBytesMax: number;
  /** Bytes held for one caller. */
  readonly heldBytesPerCallerMax: number;
}

/** Some bytes that are held for a caller. Whoever took them disposes it when they are no longer held. */
export interface Hold extends Disposable {
  /**
   * Changes the number of bytes.
   *
   * @throws LlmError `rate_limited` at the caller's limit, `at_capacity` at the limit of the process. The bytes from before stay
   *   held then.
   */
  resize(bytes: number): void;
}

/** How long a refusal asks the client to wait. */
const retryAfterMs = 1_000;

export class HeldBytes {
  readonly #limits: HeldBytesLimits;
  readonly #callers = new Map<string, number>();
  #total = 0;

  constructor(limits: HeldBytesLimits) {
    this.#limits = limits;
  }

  /** Bytes that are held now. */
  get total(): number {
    return this.#total;
  }

  /** @throws LlmError as `Hold.resize` does. Nothing is held then. */
  take(caller: string, bytes: number): Hold {
    let held = 0;
    const resize = (wanted: number) => {
      this.#change(caller, wanted - held);
      held = wanted;
    };
    resize(bytes);
    return { resize, [Symbol.dispose]: () => resize(0) };
  }

  #change(caller: string, bytes: number): void {
    const mine = (this.#callers.get(caller) ?? 0) + bytes;
    if (bytes > 0) {
      if (mine > this.#limits.heldBytesPerCallerMax) throw refusal('rate_limited', 'for one caller');
      if (this.#total + bytes > this.#limits.heldBytesMax) throw refusal('at_capacity', 'at all');
    }
    this.#total += bytes;
    if (mine === 0) this.#callers.delete(caller);
    else this.#callers.set(caller, mine);
  }
}

function refusal(code: 'rate_limited' | 'at_capacity', whose: string): LlmError {
  return new LlmError(
    code,
    `The service holds as many bytes of requests and answers as it can ${whose}; try again shortly`,
    {
      retryAfterMs,
    },
  );
}
