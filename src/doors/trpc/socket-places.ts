/**
 * Counts the open WebSockets of each caller. A browser can't put a key into the head of a request for a WebSocket, so a client may
 * send its key in a first message. Until then its caller is not known, and only a few such sockets may be open, for a short time.
 * Knows nothing of the messages.
 */
import type { IncomingMessage } from 'node:http';
import { takePlace, type Credentials } from '../../access/access.ts';
import type { Caller } from '../../caller.ts';
import { LlmError } from '../../errors.ts';

export interface SocketPlacesLimits {
  /** Sockets of all known callers together. */
  readonly socketsMax: number;
  /** Sockets of one caller. */
  readonly socketsPerCallerMax: number;
  /** Sockets from one address. */
  readonly socketsPerAddressMax: number;
  /** Sockets whose clients have not shown a key yet. */
  readonly unprovenSocketsMax: number;
}

export interface SocketPlacesOptions extends SocketPlacesLimits {
  /** The address that a request is counted under; undefined where it isn't counted. */
  readonly addressOf: (request: IncomingMessage) => string | undefined;
  /**
   * The caller; undefined where the credentials hold no key yet.
   *
   * @throws LlmError `unauthorized`, `at_capacity`
   */
  readonly identify: (credentials: Credentials) => Caller | undefined;
}

const capacityRetryAfterMs = 1_000;

export class SocketPlaces {
  readonly #options: SocketPlacesOptions;
  readonly #callers = new Map<string, number>();
  readonly #addresses = new Map<string, number>();
  #known = 0;
  /** The functions that close the sockets of unknown callers, the oldest first. */
  readonly #strangers = new Set<() => void>();

  constructor(options: SocketPlacesOptions) {
    this.#options = options;
  }

  /**
   * The caller of a request for a socket; undefined if its head has no key. Takes no place, but throws if there is none.
   *
   * @throws LlmError `unauthorized`, `at_capacity`, `rate_limited`
   */
  admit(request: IncomingMessage): Caller | undefined {
    this.takeFrom(request)?.[Symbol.dispose]();
    const caller = this.#options.identify({ headers: request.headers });
    if (caller) this.take(caller)[Symbol.dispose]();
    return caller;
  }

  /**
   * Takes a place among the sockets from one address. Disposing the result gives it back; undefined where nobody counts them.
   *
   * @throws LlmError `rate_limited`
   */
  takeFrom(request: IncomingMessage): Disposable | undefined {
    const name = this.#options.addressOf(request);
    if (name === undefined) return undefined;
    const { socketsPerAddressMax } = this.#options;
    return takePlace(this.#addresses, { name }, socketsPerAddressMax, 'sockets from one address at once');
  }

  /**
   * Takes a place for a socket whose caller is known. Disposing the result gives it back.
   *
   * @throws LlmError `at_capacity`, `rate_limited`
   */
  take(caller: Caller): Disposable {
    const { socketsMax, socketsPerCallerMax } = this.#options;
    if (this.#known >= socketsMax) {
      throw new LlmError('at_capacity', 'Too many sockets are open', { retryAfterMs: capacityRetryAfterMs });
    }
    const max = caller.limits?.socketsPerCallerMax ?? socketsPerCallerMax;
    const place = takePlace(this.#callers, caller, max, 'sockets at once');
    this.#known += 1;
    return {
      [Symbol.dispose]: () => {
        this.#known -= 1;
        place[Symbol.dispose]();
      },
    };
  }

  /**
   * Takes a place for a socket whose caller isn't known yet. If all are taken, the oldest such socket is closed. A client that has a
   * key sends it at once, so a crowd of clients without a key can't keep it out.
   *
   * @param close Closes this socket.
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
