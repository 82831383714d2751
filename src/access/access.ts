/**
 * Who may use the service, and how much: it turns credentials into a Caller, refuses pages of other sites, and counts generations,
 * viewers and starts for each caller. Knows headers, not transports. It refuses a request before the request costs anything.
 */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes, type RateLimiterAbstract } from 'rate-limiter-flexible';
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { Budgets } from './budgets.ts';
import type { HeldBytes } from './held-bytes.ts';
import type { Keys } from './keys.ts';
import { canonicalOrigin, hostNameOf, isAddress, isSameHost } from './origin.ts';
import { isLoopback } from '../settings/loopback.ts';
import type { Tokens } from './tokens.ts';
import { showsMoreThanUrl } from './web-pages.ts';

export interface AccessLimits {
  /** Generations that may run at once, of all callers. */
  readonly generationsMax: number;
  /** Generations of one caller that may run at once. */
  readonly generationsPerCallerMax: number;
  /** Viewers that may be open at once, of all callers. */
  readonly viewersMax: number;
  /** Viewers of one caller that may be open at once. */
  readonly viewersPerCallerMax: number;
  /** Generations that may wait for clients at once, of all callers. */
  readonly waitingMax: number;
  /** Generations of one caller that may wait for clients at once. */
  readonly waitingPerCallerMax: number;
  /** Generations that one caller may start in a minute. */
  readonly startsPerMinuteMax: number;
}

export interface AccessOptions {
  /** The keys of callers. Undefined where everyone is the caller `anonymous`. */
  readonly keys: Keys | undefined;
  /** Judges the tokens of callers. Undefined where none are taken. */
  readonly tokens?: Tokens | undefined;
  /** What callers may use up in a day. Unless given, as much as they like. */
  readonly budgets?: Budgets | undefined;
  /** Origins of other sites whose pages may use the service. */
  readonly allowedOrigins: readonly string[];
  /** Host names that requests may name beside the loopback ones. Without any, and not on loopback, they may name every host. */
  readonly allowedHosts: readonly string[];
  /** Whether the service listens on loopback only. Then another name in `Host` is one that somebody rebound to loopback. */
  readonly loopback: boolean;
  readonly limits: AccessLimits;
  /** The account of memory that is held for callers. */
  readonly held: HeldBytes;
  /** What each caller does on all instances together. Unless given, what it does here is counted. */
  readonly shared?: SharedCounts | undefined;
}

/** Counts that all instances share. */
export interface SharedCounts {
  /** Counts one more generation of a caller, if all instances together then run at most `max`. Returns whether it did. Never rejects. */
  take(caller: string, max: number): Promise<boolean>;
  /** Counts one generation less. */
  give(caller: string): void;
  /** Runs a script of rate-limiter-flexible. Rejects where the counts are out of reach. */
  eval(
    lua: string,
    options: { readonly keys: readonly string[]; readonly arguments: readonly string[] },
  ): Promise<unknown>;
}

/** What a door knows of who sent a request. */
export interface Credentials {
  /** Headers of the request, of which `authorization` may hold a key or a token. */
  readonly headers: IncomingHttpHeaders;
  /** The first message of a WebSocket's client, which may hold a key or a token as `token`. */
  readonly connectionParams?: Readonly<Record<string, string | undefined>> | null | undefined;
}

/** A refusal repeats a host name of at most this length. */
const namedHostCharsMax = 100;
const capacityRetryAfterMs = 1_000;
const lineBreakHint =
  'but its digest with a line break behind it, which echo adds, is: `printf %s "$KEY" | sha256sum` makes the right one';
/** The words for a caller's generations in a refusal. */
const generationsAtOnce = 'generations at once';

export class Access {
  readonly #options: AccessOptions;
  readonly #allowedOrigins: ReadonlySet<string>;
  readonly #hosts: ReadonlySet<string>;
  readonly #starts: RateLimiterAbstract;
  readonly #generations = new Map<string, number>();
  readonly #viewers = new Map<string, number>();
  readonly #waiters = new Map<string, number>();
  /** The `Host` that was let through last, by its name. Nearly all requests repeat it, and to read its name costs more than to compare it. */
  #lastHost: string | undefined;
  #running = 0;
  #watching = 0;
  #waiting = 0;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#allowedOrigins = new Set(options.allowedOrigins.map((origin) => canonicalOrigin(origin)));
    this.#hosts = new Set(options.allowedHosts.map((host) => hostNameOf(host)));
    this.#starts = startsLimiter(options);
  }

  /**
   * Refuses a `Host` that isn't the service's. Only a service on loopback, or one whose names are set, can know. Without this check
   * a page whose own name resolves to the service's address (DNS rebinding) would pass for a page of the same origin.
   *
   * @param loopback Whether the listener that the request came to is on loopback. Unless given: whether the service is.
   * @throws LlmError `forbidden`
   */
  checkHost({ host }: IncomingHttpHeaders, { loopback }: { readonly loopback: boolean } = this.#options): void {
    if (!loopback && this.#hosts.size === 0) return;
    if (host !== undefined && host === this.#lastHost) return;
    const name = hostNameOf(host);
    if (this.#hosts.has(name) || isLoopback(name)) {
      this.#lastHost = host;
      return;
    }
    // Nobody can rebind an address. Health checks use an address, and some of them send no Host, as no browser does.
    if (!loopback && (host === undefined || isAddress(name))) return;
    // The operator of a proxy meets this refusal first, so it names the host that arrived.
    const found = name !== '' && name.length <= namedHostCharsMax ? ` "${name}"` : '';
    throw new LlmError('forbidden', `The host name${found} is not allowed; LLM_ALLOWED_HOSTS can name it`);
  }

  /**
   * Refuses a request that a page of another site made the browser send: that page could spend tokens of whoever looks at it.
   *
   * @throws LlmError `forbidden`
   */
  checkOrigin(headers: IncomingHttpHeaders): void {
    const { origin } = headers;
    if (origin !== undefined) {
      if (this.#allowedOrigins.has(canonicalOrigin(origin))) return;
      if (!isSameHost(origin, headers.host)) {
        throw new LlmError('forbidden', 'Requests from this origin are not allowed; LLM_ALLOWED_ORIGINS can name it');
      }
    }
    const site = headers['sec-fetch-site'];
    if (site === 'cross-site' || site === 'same-site') {
      throw new LlmError('forbidden', 'Requests from other sites are not allowed; LLM_ALLOWED_ORIGINS can name them');
    }
  }

  /**
   * Refuses to start a generation for a request that shows no more than a URL: any page can make a browser request any URL. A
   * request with a key shows more, since no key stands in a URL.
   *
   * @throws LlmError `forbidden`
   */
  checkStart({ method, headers }: Pick<IncomingMessage, 'method' | 'headers'>): void {
    if (method === 'POST' || !this.keyless || showsMoreThanUrl(headers)) return;
    throw new LlmError(
      'forbidden',
      'A URL alone, which any web page could have a browser open, starts no generation: use POST, or send a header such as "x-llm-client: <name>"',
    );
  }

  /** The request's `Origin` if the settings allow it, for CORS headers to echo; undefined for every other origin. */
  allowedOrigin({ origin }: IncomingHttpHeaders): string | undefined {
    return origin !== undefined && this.#allowedOrigins.has(canonicalOrigin(origin)) ? origin : undefined;
  }

  /** Whether callers show neither keys nor tokens, so that everyone is the caller `anonymous`. */
  get keyless(): boolean {
    return this.#options.keys === undefined;
  }

  /**
   * Settles when `authenticate` and `identify` can judge the credentials; undefined where they can now, as they can all but tokens.
   * A token is verified once for the head, or the params of a socket, that it was found in. Never rejects.
   */
  verify(credentials: Credentials): Promise<void> | undefined {
    const { tokens } = this.#options;
    const shown = tokens && shownIn(credentials);
    return shown && isToken(shown.token) ? tokens.verify(shown.token, shown.holder) : undefined;
  }

  /**
   * As `authenticate`, but undefined where a key is needed and the credentials hold none: a WebSocket's client may send it later.
   *
   * @throws LlmError `unauthorized`, `at_capacity`
   */
  identify(credentials: Credentials): Caller | undefined {
    return this.keyless || shownIn(credentials) !== undefined ? this.authenticate(credentials) : undefined;
  }

  /** @throws LlmError `unauthorized`; `at_capacity` for a token that can't be judged, since the issuer's keys can't be read. */
  authenticate(credentials: Credentials): Caller {
    const { keys, tokens } = this.#options;
    if (!keys) return { name: 'anonymous' };
    const shown = shownIn(credentials);
    if (shown === undefined) {
      throw new LlmError('unauthorized', 'A key is needed: send it as "Authorization: Bearer <key>"');
    }
    const caller = keys.find(shown.token);
    if (caller) return caller;
    if (tokens && isToken(shown.token)) return tokens.judge(shown.token, shown.holder);
    // Only whoever has the key can learn this.
    const hint = keys.knowsWithLineBreak(shown.token) ? `, ${lineBreakHint}` : '';
    throw new LlmError('unauthorized', `This key is not known here${hint}`);
  }

  /**
   * Has `close` called when the key of a caller is no longer taken. Disposing the result prevents that; undefined where it can't happen.
   *
   * @throws LlmError `unauthorized` if the key is no longer taken.
   */
  onKeyGone(caller: Caller, close: () => void): Disposable | undefined {
    return this.#options.keys?.onGone(caller, close);
  }

  /**
   * Takes a place among the running generations, and memory for the request. Disposing the result gives both back. Where the caller
   * has used up what it may in a day, it gets none.
   *
   * @param requestBytes Bytes that the request holds in memory while its generation runs.
   * @throws LlmError `rate_limited`, `at_capacity`
   */
  async admitGeneration(caller: Caller, requestBytes: number): Promise<Disposable> {
    const { limits, held, budgets } = this.#options;
    budgets?.check(caller);
    if (this.#running >= limits.generationsMax) {
      throw new LlmError('at_capacity', 'The service runs as many generations as it can; try again shortly', {
        retryAfterMs: capacityRetryAfterMs,
      });
    }
    this.#running += 1;
    let place: Disposable | undefined;
    let request: Disposable | undefined;
    const release = () => {
      this.#running -= 1;
      place?.[Symbol.dispose]();
      request?.[Symbol.dispose]();
    };
    try {
      const taken = this.#takeGenerationPlace(caller);
      place = taken instanceof Promise ? await taken : taken;
      request = held.take(caller.name, requestBytes);
      // While it has its place: only as many generations as there are places can then overrun a budget.
      const checked = budgets?.checkAll(caller);
      if (checked) await checked;
      await this.#countStart(caller);
    } catch (refused) {
      release();
      throw refused;
    }
    return { [Symbol.dispose]: release };
  }

  /** @throws LlmError `rate_limited`; the promise, where all instances count together, rejects with the same */
  #takeGenerationPlace(caller: Caller): Disposable | Promise<Disposable> {
    const { shared, limits } = this.#options;
    const max = caller.limits?.generationsPerCallerMax ?? limits.generationsPerCallerMax;
    if (!shared) return takePlace(this.#generations, caller, max, generationsAtOnce);
    return shared.take(caller.name, max).then((took) => {
      if (!took) throw noPlace(max, generationsAtOnce);
      return { [Symbol.dispose]: () => shared.give(caller.name) };
    });
  }

  /** @throws LlmError `rate_limited` */
  async #countStart({ name, limits }: Caller): Promise<void> {
    const max = limits?.startsPerMinuteMax ?? this.#options.limits.startsPerMinuteMax;
    let counted: RateLimiterRes;
    try {
      counted = await this.#starts.consume(name);
    } catch (refused) {
      // The limiter refuses by the limit of the service, and says the number too. The caller may have another limit.
      if (!(refused instanceof RateLimiterRes)) throw refused;
      counted = refused;
    }
    if (counted.consumedPoints <= max) return;
    throw new LlmError('rate_limited', `At most ${max} generations may be started in a minute`, {
      retryAfterMs: counted.msBeforeNext,
    });
  }

  /**
   * Takes a place among the caller's viewers. Disposing the result gives it back.
   *
   * @param close Called when the caller's key is no longer taken.
   * @throws LlmError `rate_limited`, `at_capacity`; `unauthorized` if the key is no longer taken
   */
  admitViewer(caller: Caller, close: () => void): Disposable {
    const { viewersMax, viewersPerCallerMax } = this.#options.limits;
    if (this.#watching >= viewersMax) {
      throw new LlmError('at_capacity', 'The service has as many viewers as it can; try again shortly', {
        retryAfterMs: capacityRetryAfterMs,
      });
    }
    const max = caller.limits?.viewersPerCallerMax ?? viewersPerCallerMax;
    const place = takePlace(this.#viewers, caller, max, 'viewers at once');
    this.#watching += 1;
    let waiting: Disposable | undefined;
    const release = () => {
      this.#watching -= 1;
      waiting?.[Symbol.dispose]();
      place[Symbol.dispose]();
    };
    try {
      waiting = this.onKeyGone(caller, close);
    } catch (gone) {
      release();
      throw gone;
    }
    return { [Symbol.dispose]: release };
  }

  /**
   * Takes a place among the generations that wait for their clients. Disposing the result gives it back.
   *
   * @throws LlmError `rate_limited`, `at_capacity`
   */
  admitWaiting(caller: Caller): Disposable {
    const { waitingMax, waitingPerCallerMax } = this.#options.limits;
    if (this.#waiting >= waitingMax) {
      throw new LlmError('at_capacity', 'As many generations wait for clients as may', {
        retryAfterMs: capacityRetryAfterMs,
      });
    }
    const place = takePlace(this.#waiters, caller, waitingPerCallerMax, 'generations that wait at once');
    this.#waiting += 1;
    return {
      [Symbol.dispose]: () => {
        this.#waiting -= 1;
        place[Symbol.dispose]();
      },
    };
  }

  /** Places that are taken now. */
  get load(): { readonly generations: number; readonly viewers: number; readonly waiting: number } {
    return { generations: this.#running, viewers: this.#watching, waiting: this.#waiting };
  }
}

/** A key or a token, and the object that it was found in. */
interface Shown {
  readonly token: string;
  readonly holder: object;
}

/** Whether a text has the three parts of a signed token. */
function isToken(text: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(text);
}

function shownIn({ headers, connectionParams }: Credentials): Shown | undefined {
  const inHead = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  if (inHead !== undefined) return { token: inHead, holder: headers };
  const inParams = connectionParams?.['token'];
  return inParams === undefined ? undefined : { token: inParams, holder: connectionParams! };
}

/**
 * Takes one of a caller's places. Disposing the result gives it back.
 *
 * @param places The number of places that each caller has taken, by the caller's name.
 * @param max The places that one caller may take.
 * @param what The refusal's words for the places: "viewers at once".
 * @throws LlmError `rate_limited`
 */
export function takePlace(places: Map<string, number>, { name }: Caller, max: number, what: string): Disposable {
  const taken = places.get(name) ?? 0;
  if (taken >= max) throw noPlace(max, what);
  places.set(name, taken + 1);
  return {
    [Symbol.dispose]() {
      const remaining = places.get(name)! - 1;
      if (remaining === 0) places.delete(name);
      else places.set(name, remaining);
    },
  };
}

function noPlace(max: number, what: string): LlmError {
  return new LlmError('rate_limited', `At most ${max} ${what}`, { retryAfterMs: capacityRetryAfterMs });
}

function startsLimiter({ limits, shared }: AccessOptions): RateLimiterAbstract {
  const rate = { points: limits.startsPerMinuteMax, duration: 60 };
  const here = new RateLimiterMemory(rate);
  if (!shared) return here;
  // Without `useRedisPackage` each call would throw a TypeError, and the insurance would hide it: this instance alone would be counted.
  const redis = { storeClient: shared, useRedisPackage: true, keyPrefix: 'starts' };
  return new RateLimiterRedis({ ...rate, ...redis, insuranceLimiter: here });
}
