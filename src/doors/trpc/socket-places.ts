/**
 * Whose the open WebSockets are, and how many each may have. A browser can't put a key into the head of a request for a
 * WebSocket, so a client may show it in a first message. Until then nobody knows it, and its socket is one of a few, for a
 * short time. Knows nothing of what is said on them.
 */
import { takePlace, type Credentials } from '../../access/access.ts';
import type { Caller } from '../../caller.ts';
import { LlmError } from '../../errors.ts';

export interface SocketPlacesLimits {
  /** Sockets of known callers. */
  readonly socketsMax: number;
  readonly socketsPerCallerMax: number;
  /** Sockets of whoever hasn't shown a key yet. */
  readonly unprovenSocketsMax: number;
}

export interface SocketPlacesOptions extends SocketPlacesLimits {
  /**
   * Who asks; undefined where the credentials hold no key yet.
   *
   * @throws LlmError `unauthorized`
   */
  readonly identify: (credentials: Credentials) => Caller | undefined;
}

const capacityRetryAfterMs = 1_000;

export class SocketPlaces {
  readonly #options: SocketPlacesOptions;
  readonly #callers = new Map<string, number>();
  #known = 0;
  /** Closes each, the oldest first. */
  readonly #strangers = new Set<() => void>();

  constructor(options: SocketPlacesOptions) {
    this.#options = options;
  }

  /**
   * Who asks for a socket, if its head says so, and whether there is a place.
   *
   * @throws LlmError `unauthorized`, `at_capacity`, `rate_limited`
   */
  admit(credentials: Credentials): Caller | undefined {
    const caller = this.#options.identify(credentials);
    if (caller) this.take(caller)[Symbol.dispose]();
    return caller;
  }

  /**
   * Takes a place for a socket whose caller is known; disposing it gives it back.
   *
   * @throws LlmError `at_capacity`, `rate_limited`
   */
  take(caller: Caller): Disposable {
    const { socketsMax, socketsPerCallerMax } = this.#options;
    if (this.#known >= socketsMax) {
      throw new LlmError('at_capacity', 'Too many sockets are open', { retryAfterMs: capacityRetryAfterMs });
    }
    const place = takePlace(this.#callers, caller, socketsPerCallerMax, 'sockets at once');
    this.#known += 1;
    return {
      [Symbol.dispose]: () => {
        this.#known -= 1;
        place[Symbol.dispose]();
      },
    };
  }

  /**
   * Takes a place for a socket whose caller isn't known yet. The oldest of them makes room: a client that has a key shows
   * it at once, so no crowd of others keeps it out.
   */
  takeUnproven(close: () => void): Disposable {
    const [oldest] = this.#strangers;
    if (oldest && this.#strangers.size >= this.#options.unprovenSocketsMax) {
      this.#strangers.delete(oldest);
      oldest();
    }
    this.#strangers.add(close);
    return { [Symbol.dispose]: () => void this.#strangers.delete(close) };
  }
}
