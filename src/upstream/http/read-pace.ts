/**
 * Lets a body rest that brings something all the time: what comes meanwhile is passed on in one, for the price of one token.
 * What comes at the pace of a model isn't touched.
 */

const pauseMs = 4;
/** What follows as soon as this is rapid. */
const rapidMs = 2;
/** So many rapid ones in a row are let pass: a burst, or the whole of a short answer. */
const rapidMax = 16;

export class ReadPace {
  #lastAtMs = 0;
  #rapid = 0;

  /** To be told of all that is passed on, in how many chunks; says whether the next had better wait. */
  tooFast(chunks: number): boolean {
    const nowMs = performance.now();
    const sinceMs = nowMs - this.#lastAtMs;
    // After a rest nothing is rapid; there was good in it if it brought several chunks, and no long silence.
    const paused = this.#rapid > rapidMax;
    const goesOn = paused ? chunks > 1 && sinceMs < 4 * pauseMs : sinceMs < rapidMs;
    this.#rapid = goesOn ? this.#rapid + 1 : 0;
    this.#lastAtMs = nowMs;
    return this.#rapid > rapidMax;
  }
}

/** What can rest: `pause` comes once all reads of this turn are done, `goOn` ends the rest. */
export interface BrieflyPaused {
  pauseSocket(): void;
  resume(): void;
}

/** Those that are to be paused at the end of this turn. */
let stillRead: BrieflyPaused[] = [];
/** One timer for all: what joins others that rest already, rests for less. */
let paused: BrieflyPaused[] = [];

export function pauseBriefly(one: BrieflyPaused): void {
  if (stillRead.length === 0) setImmediate(pauseSockets);
  stillRead.push(one);
  if (paused.length === 0) setTimeout(resumeAll, pauseMs);
  paused.push(one);
}

function pauseSockets(): void {
  const all = stillRead;
  stillRead = [];
  for (const one of all) one.pauseSocket();
}

function resumeAll(): void {
  const all = paused;
  paused = [];
  for (const one of all) one.resume();
}
