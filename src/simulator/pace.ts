/**
 * How fast deltas are sent. Paced, each delta is sent when it is due, with jitter. Unpaced, deltas are sent as fast as
 * the socket takes them, as a rule many in one write. In both cases it waits for the socket, so nothing is queued here.
 */
import type { Exchange } from './exchange.ts';
import type { Random } from './random.ts';
import { charsPerToken } from './tokens.ts';

/** Output tokens per second; `unpaced` means as fast as the socket takes them. */
export type TokensPerSecond = number | 'unpaced';

export interface Pacing {
  readonly tokensPerSecond: TokensPerSecond;
  readonly firstTokenMs: number;
  /** Only without pacing: each delta is written to the socket separately, and not collected with others first. */
  readonly onePerWrite: boolean;
}

/** Unpaced deltas are collected until they have this many characters, and then written. */
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

  /**
   * To be called after each delta with its length. Returns undefined if the next delta may follow at once, else a
   * promise.
   */
  step(exchange: Exchange, chars: number): Promise<void> | undefined {
    if (this.#charMs === undefined) {
      if (this.#onePerWrite) return exchange.written();
      return exchange.pendingChars < writeChars ? undefined : exchange.flush();
    }
    const now = performance.now();
    const jitter = 0.5 + this.#random() / 2 ** 32;
    this.#dueMs = (this.#dueMs ?? now) + chars * this.#charMs * jitter;
    // Deltas that fall due while the socket has no room are sent as soon as it has some.
    const room = exchange.flush();
    if (room !== undefined) return room;
    return this.#dueMs - now < 1 ? undefined : exchange.pause(this.#dueMs - now);
  }
}
