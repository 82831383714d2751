/**
 * Who may ask, and how much: credentials to a Caller, the page that a browser asks from, rates and numbers per caller.
 * Knows headers, not transports. What it refuses has cost nothing yet.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Caller } from '../caller.ts';
import { LlmError } from '../errors.ts';
import type { HeldBytes } from './held-bytes.ts';
import { canonicalOrigin, hostNameOf, isAddress, isSameHost } from './origin.ts';
import { isLoopback } from '../settings/settings.ts';
import { showsMoreThanUrl } from './web-pages.ts';

export interface AccessLimits {
  /** Generations that may run at once, of all callers. */
  readonly generationsMax: number;
  readonly generationsPerCallerMax: number;
  /** Viewers that may be there at once, of all callers. */
  readonly viewersMax: number;
  readonly viewersPerCallerMax: number;
  /** Generations that one caller may start in a minute. */
  readonly startsPerMinuteMax: number;
}

export interface AccessOptions {
  /** None: everyone is `anonymous`. */
  readonly keys: readonly { readonly name: string; readonly sha256: string }[];
  /** Origins of other sites whose pages may use the service. */
  readonly allowedOrigins: readonly string[];
  /** Host names to answer to beside the loopback ones. None: where it isn't `loopback`, any. */
  readonly allowedHosts: readonly string[];
  /** Whether the service listens on loopback only: then any foreign Host means a name that was rebound to it. */
  readonly loopback: boolean;
  readonly limits: AccessLimits;
  /** The account of what is held for callers. */
  readonly held: HeldBytes;
}

/** What a door knows of a request. */
export interface Credentials {
  /** Headers of the request, of which `authorization` may hold a key. */
  readonly headers: IncomingHttpHeaders;
  /** What a WebSocket's client sent first: `{token}`. */
  readonly connectionParams?: Readonly<Record<string, string | undefined>> | null | undefined;
}

/** The longest host name that a refusal repeats. */
const namedHostCharsMax = 100;
const capacityRetryAfterMs = 1_000;

export class Access {
  readonly #options: AccessOptions;
  readonly #keys: readonly { readonly name: string; readonly digest: Buffer }[];
  readonly #allowedOrigins: ReadonlySet<string>;
  readonly #hosts: ReadonlySet<string>;
  readonly #starts: RateLimiterMemory;
  readonly #generations = new Map<string, number>();
  readonly #viewers = new Map<string, number>();
  #running = 0;
  #watching = 0;

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#keys = options.keys.map(({ name, sha256 }) => ({ name, digest: Buffer.from(sha256, 'hex') }));
    this.#allowedOrigins = new Set(options.allowedOrigins.map((origin) => canonicalOrigin(origin)));
    this.#hosts = new Set(options.allowedHosts.map((host) => hostNameOf(host)));
    this.#starts = new RateLimiterMemory({ points: options.limits.startsPerMinuteMax, duration: 60 });
  }

  /**
   * Refuses a Host that isn't ours, where we are on loopback or our names are known: a page that has its own name resolve to
   * our address would otherwise pass for same-origin.
   *
   * @throws LlmError `forbidden`
   */
  checkHost({ host }: IncomingHttpHeaders): void {
    const { loopback } = this.#options;
    if (!loopback && this.#hosts.size === 0) return;
    const name = hostNameOf(host);
    if (this.#hosts.has(name) || isLoopback(name)) return;
    // An address can't be rebound, as a name can. Health checks ask by one, some of them without a Host, as no browser does.
    if (!loopback && (host === undefined || isAddress(name))) return;
    // Behind a proxy this is what its operator meets first, so it says which name arrived.
    const found = name !== '' && name.length <= namedHostCharsMax ? ` "${name}"` : '';
    throw new LlmError('forbidden', `The host name${found} is not allowed; LLM_ALLOWED_HOSTS can name it`);
  }

  /**
   * Refuses what another site's page asks for: it could spend tokens on behalf of whoever looks at it.
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
   * Refuses to start a generation for a request that shows no more than a URL, which any page could have a browser ask for. A
   * key is more: it never stands in a URL.
   *
   * @throws LlmError `forbidden`
   */
  checkStart({ method, headers }: Pick<IncomingMessage, 'method' | 'headers'>): void {
    if (method === 'POST' || this.#keys.length > 0 || showsMoreThanUrl(headers)) return;
    throw new LlmError(
      'forbidden',
      'A URL alone, which any web page could have a browser open, starts no generation: use POST, or send a header such as "x-llm-client: <name>"',
    );
  }

  /** The request's origin if it is another site's that is allowed, to be echoed in CORS headers. */
  allowedOrigin({ origin }: IncomingHttpHeaders): string | undefined {
    return origin !== undefined && this.#allowedOrigins.has(canonicalOrigin(origin)) ? origin : undefined;
  }

  /** Whether everyone is `anonymous`. */
  get keyless(): boolean {
    return this.#keys.length === 0;
  }

  /**
   * As `authenticate`; undefined where a key is needed and none was shown, which may still come.
   *
   * @throws LlmError `unauthorized`
   */
  identify(credentials: Credentials): Caller | undefined {
    return this.keyless || tokenIn(credentials) !== undefined ? this.authenticate(credentials) : undefined;
  }

  /** @throws LlmError `unauthorized` */
  authenticate(credentials: Credentials): Caller {
    if (this.keyless) return { name: 'anonymous' };
    const token = tokenIn(credentials);
    if (token === undefined) {
      throw new LlmError('unauthorized', 'A key is needed: send it as "Authorization: Bearer <key>"');
    }
    const digest = createHash('sha256').update(token).digest();
    let found: Caller | undefined;
    // Every key is compared, so that the time taken tells nothing of which one came near.
    for (const key of this.#keys) if (timingSafeEqual(digest, key.digest)) found = { name: key.name };
    if (!found) throw new LlmError('unauthorized', 'This key is not known here');
    return found;
  }

  /**
   * Takes a place among the running generations, and room for the request; disposing it gives both back.
   *
   * @param requestBytes What the request holds in memory while it runs.
   * @throws LlmError `rate_limited`, `at_capacity`
   */
  async admitGeneration(caller: Caller, requestBytes: number): Promise<Disposable> {
    const { limits, held } = this.#options;
    if (this.#running >= limits.generationsMax) {
      throw new LlmError('at_capacity', 'The service runs as many generations as it can; try again shortly', {
        retryAfterMs: capacityRetryAfterMs,
      });
    }
    const place = takePlace(this.#generations, caller, limits.generationsPerCallerMax, 'generations at once');
    this.#running += 1;
    let request: Disposable | undefined;
    const release = () => {
      this.#running -= 1;
      place[Symbol.dispose]();
      request?.[Symbol.dispose]();
    };
    try {
      request = held.take(caller.name, requestBytes);
      await this.#starts.consume(caller.name);
    } catch (refused) {
      release();
      if (!(refused instanceof RateLimiterRes)) throw refused;
      throw new LlmError(
        'rate_limited',
        `At most ${limits.startsPerMinuteMax} generations may be started in a minute`,
        {
          retryAfterMs: refused.msBeforeNext,
        },
      );
    }
    return { [Symbol.dispose]: release };
  }

  /**
   * Takes a place among the caller's viewers; disposing it gives it back.
   *
   * @throws LlmError `rate_limited`, `at_capacity`
   */
  admitViewer(caller: Caller): Disposable {
    const { viewersMax, viewersPerCallerMax } = this.#options.limits;
    if (this.#watching >= viewersMax) {
      throw new LlmError('at_capacity', 'The service has as many viewers as it can; try again shortly', {
        retryAfterMs: capacityRetryAfterMs,
      });
    }
    const place = takePlace(this.#viewers, caller, viewersPerCallerMax, 'viewers at once');
    this.#watching += 1;
    return {
      [Symbol.dispose]: () => {
        this.#watching -= 1;
        place[Symbol.dispose]();
      },
    };
  }

  /** Places taken, for tests and gauges. */
  get load(): { readonly generations: number; readonly viewers: number } {
    return { generations: this.#running, viewers: this.#watching };
  }
}

function tokenIn({ headers, connectionParams }: Credentials): string | undefined {
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1] ?? connectionParams?.['token'];
}

/**
 * Takes one of a caller's places; disposing it gives it back.
 *
 * @param places How many each caller has taken.
 * @param what As a refusal names them: "viewers at once".
 * @throws LlmError `rate_limited`
 */
export function takePlace(places: Map<string, number>, { name }: Caller, max: number, what: string): Disposable {
  const taken = places.get(name) ?? 0;
  if (taken >= max) {
    throw new LlmError('rate_limited', `At most ${max} ${what}`, { retryAfterMs: capacityRetryAfterMs });
  }
  places.set(name, taken + 1);
  return {
    [Symbol.dispose]() {
      const left = places.get(name)! - 1;
      if (left === 0) places.delete(name);
      else places.set(name, left);
    },
  };
}
