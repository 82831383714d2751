/**
 * Whose the open WebSockets are, and how many each may have. A browser can't put a key into the head of a request for a
 * WebSocket, so a client may show it in a first message. Until then nobody knows it, and its socket is one of a few, for a
 * short time. Knows nothing of what is said on them.
 */
import type { Credentials } from '../../access/access.ts';
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
    if (caller) this.#check(caller);
    return caller;
  }

  /**
   * Takes a place for a socket whose caller is known; disposing it gives it back.
   *
   * @throws LlmError `at_capacity`, `rate_limited`
   */
  take(caller: Caller): Disposable {
    const mine = this.#check(caller);
    this.#callers.set(caller.name, mine + 1);
    this.#known += 1;
    return {
      [Symbol.dispose]: () => {
        const left = this.#callers.get(caller.name)! - 1;
        if (left === 0) this.#callers.delete(caller.name);
        else this.#callers.set(caller.name, left);
        this.#known -= 1;
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

  #check({ name }: Caller): number {
    const { socketsMax, socketsPerCallerMax } = this.#options;
    const retry = { retryAfterMs: capacityRetryAfterMs };
    if (this.#known >= socketsMax) throw new LlmError('at_capacity', 'Too many sockets are open', retry);
    const mine = this.#callers.get(name) ?? 0;
    if (mine < socketsPerCallerMax) return mine;
    throw new LlmError('rate_limited', `At most ${socketsPerCallerMax} sockets at once`, retry);
  }
}
