/**
 * How fast an answer goes out. Paced: each delta when it is due, with jitter. Unpaced: as fast as the socket takes it,
 * many deltas to a write. Back pressure is honoured either way, so nothing queues here.
 */
import type { Exchange } from './exchange.ts';
import type { Random } from './random.ts';
import { charsPerToken } from './tokens.ts';

/** Output tokens a second, or as fast as the socket takes them. */
export type TokensPerSecond = number | 'unpaced';

export interface Pacing {
  readonly tokensPerSecond: TokensPerSecond;
  readonly firstTokenMs: number;
  /** Where unpaced: each delta as a write of its own, rather than many. */
  readonly onePerWrite: boolean;
}

/** Unpaced deltas gather to about this much before they are written. */
const writeChars = 32 * 1024;

export class Pace {
  readonly firstTokenMs: number;
  readonly #charMs: number | undefined;
  readonly #onePerWrite: boolean;
  readonly #random: Random;
  #dueMs: number | undefined;

  constructor(pacing: Pacing, random: Random) {
    this.firstTokenMs = pacing.firstTokenMs;
    this.#charMs = pacing.tokensPerSecond === 'unpaced' ? undefined : 1000 / pacing.tokensPerSecond / charsPerToken;
    this.#onePerWrite = pacing.onePerWrite;
    this.#random = random;
  }

  /** To be called after each delta put, with its length; undefined if the next may follow at once. */
  step(exchange: Exchange, chars: number): Promise<void> | undefined {
    if (this.#charMs === undefined) {
      if (this.#onePerWrite) return exchange.written();
      return exchange.pendingChars < writeChars ? undefined : exchange.flush();
    }
    const now = performance.now();
    const jitter = 0.5 + this.#random() / 2 ** 32;
    this.#dueMs = (this.#dueMs ?? now) + chars * this.#charMs * jitter;
    // What falls due while the socket has no room is sent as soon as it has.
    const room = exchange.flush();
    if (room !== undefined) return room;
    return this.#dueMs - now < 1 ? undefined : exchange.pause(this.#dueMs - now);
  }
}
