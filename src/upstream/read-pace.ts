/**
 * Lets a socket rest that brings something all the time: what comes meanwhile is read in one go, and passed on in one, for
 * the price of one token. What comes at the pace of a model isn't touched.
 */
import type { Socket } from 'node:net';

const restMs = 4;
/** A read that follows another as soon as this is rapid. */
const rapidMs = 2;
/** So many rapid reads in a row are let pass: a burst, or the whole of a short answer. */
const rapidReadsMax = 16;

/** One timer wakes them all. */
const resting = new Set<Socket>();

export class ReadPace {
  #lastAtMs = 0;
  #rapid = 0;

  /** To be told of each read, and how many chunks it brought; says whether the next one had better wait. */
  tooFast(chunks: number): boolean {
    const nowMs = performance.now();
    // A read after a rest can't be rapid; there was good in the rest if it brings several chunks.
    const rested = this.#rapid > rapidReadsMax;
    const goesOn = rested ? chunks > 1 : nowMs - this.#lastAtMs < rapidMs;
    this.#rapid = goesOn ? this.#rapid + 1 : 0;
    this.#lastAtMs = nowMs;
    return this.#rapid > rapidReadsMax;
  }
}

/** Has a socket read again in a while. To stop reading it is the caller's. */
export function rest(socket: Socket): void {
  resting.add(socket);
  if (resting.size === 1) setTimeout(wakeAll, restMs);
}

function wakeAll(): void {
  for (const socket of resting) if (!socket.destroyed) socket.resume();
  resting.clear();
}
