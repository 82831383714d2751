/**
 * Spreads work that can wait over the turns of the event loop, so that reads of sockets come first. Without this, two
 * hundred generations that end in the same turn would do all the work of their ends in that turn, and the tokens of
 * every other generation would wait about fifty milliseconds for it.
 */

/**
 * The share of the waiting calls that each turn releases, at least one. A longer queue is released faster, so no queue
 * grows for ever.
 */
const turnShare = 1 / 16;

const waiting: (() => void)[] = [];

/** How many calls of `soon` may go on at once in each turn; later calls in the same turn wait. */
const atOnceMax = 16;
let atOnce = 0;

/** Returns undefined to the first calls of a turn, which needn't wait. Later calls get the promise of `laterTurn`. */
export function soon(): Promise<void> | undefined {
  if (atOnce === 0) setImmediate(() => (atOnce = 0));
  atOnce += 1;
  return atOnce > atOnceMax ? laterTurn() : undefined;
}

/** Settles in a later turn, after the promises of earlier calls. */
export function laterTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(release);
  });
}

let lastOwn: Promise<void> = Promise.resolve();

/**
 * Settles in a later turn, and only one of these promises settles in each turn. For work that by itself takes a
 * noticeable time.
 */
export function ownTurn(): Promise<void> {
  lastOwn = lastOwn.then(() => new Promise((resolve) => setImmediate(resolve)));
  return lastOwn;
}

function release(): void {
  for (const resolve of waiting.splice(0, Math.ceil(waiting.length * turnShare))) resolve();
  if (waiting.length > 0) setImmediate(release);
}
