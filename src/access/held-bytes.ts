/**
 * The account of memory that is held for callers: bodies that are being read, requests that run, blocks that are open,
 * answers that wait in sockets. Each is taken here before it is held, against a bound per caller and one for the process.
 * Knows nothing of what the bytes are.
 */
import { LlmError } from '../errors.ts';

export interface HeldBytesLimits {
  /** Bytes held for all callers together. */
  readonly heldBytesMax: number;
  /** Bytes held for one caller. */
  readonly heldBytesPerCallerMax: number;
}

/** Some bytes that are held for a caller; dispose it when they no longer are. */
export interface Hold extends Disposable {
  /**
   * Changes how many they are.
   *
   * @throws LlmError `rate_limited` where the caller's bound is in the way, `at_capacity` where the process's is; what was
   *   held before is held still.
   */
  resize(bytes: number): void;
}

/** How long a client is asked to wait for others' requests to end. */
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

  /** @throws LlmError as `Hold.resize` does; nothing is held then. */
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
