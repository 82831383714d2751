/**
 * Pauses a response body whose chunks arrive without a break. Chunks that arrive during a pause are handed over
 * together afterwards, which costs about as much as handing over one token. A body that arrives at the pace of a model
 * is never paused.
 */

const pauseMs = 4;
/** A read is rapid if it follows the one before within this time. */
const rapidMs = 2;
/**
 * How many rapid reads in a row are handed over without a pause: enough for a burst, or for the whole of a short
 * answer.
 */
const rapidMax = 16;

/** Decides for one body whether it is to be paused. */
export class ReadPace {
  #lastAtMs = 0;
  #rapid = 0;

  /**
   * To be called whenever chunks are handed over, with their number. Returns whether the body should pause before the
   * next ones.
   */
  tooFast(chunks: number): boolean {
    const nowMs = performance.now();
    const sinceMs = nowMs - this.#lastAtMs;
    // A pause makes the next read late, so after one a read counts as rapid by other signs: it brought several chunks,
    // so the pause has saved work, and upstream was not silent for long.
    const paused = this.#rapid > rapidMax;
    const rapid = paused ? chunks > 1 && sinceMs < 4 * pauseMs : sinceMs < rapidMs;
    this.#rapid = rapid ? this.#rapid + 1 : 0;
    this.#lastAtMs = nowMs;
    return this.#rapid > rapidMax;
  }
}

/** A body that can be paused for a moment. */
export interface BrieflyPaused {
  /**
   * Called at the end of the turn in which the pause begins, when all sockets have been read: stops reading the body's
   * socket.
   */
  pauseSocket(): void;
  /** Called when the pause is over. */
  resume(): void;
}

/** The paused bodies whose sockets are still read, until the end of this turn. */
let stillRead: BrieflyPaused[] = [];
/**
 * All paused bodies. One timer resumes them together, so a body that joins others is paused for less than `pauseMs`.
 */
let paused: BrieflyPaused[] = [];

export function pauseBriefly(body: BrieflyPaused): void {
  if (stillRead.length === 0) setImmediate(pauseSockets);
  stillRead.push(body);
  if (paused.length === 0) setTimeout(resumeAll, pauseMs);
  paused.push(body);
}

function pauseSockets(): void {
  const bodies = stillRead;
  stillRead = [];
  for (const body of bodies) body.pauseSocket();
}

function resumeAll(): void {
  const bodies = paused;
  paused = [];
  for (const body of bodies) body.resume();
}
