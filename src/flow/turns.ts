/**
 * Work that can wait a moment, a little each turn of the event loop: what sockets have brought goes first, so that two hundred
 * answers which end at once don't keep the tokens of others waiting, for some fifty milliseconds else.
 */

/** Each turn lets go this share of those who wait, and one at least: a queue that grows is let go faster, so none grows on. */
const turnShare = 1 / 16;

const waiting: (() => void)[] = [];

/** So many may do in one turn what others have to do later. */
const atOnceMax = 16;
let atOnce = 0;

/** Undefined for the first few of a turn, which needn't wait; for the others as `laterTurn`. */
export function soon(): Promise<void> | undefined {
  if (atOnce === 0) setImmediate(() => (atOnce = 0));
  atOnce += 1;
  return atOnce > atOnceMax ? laterTurn() : undefined;
}

/** Settles in a later turn, after those who asked before. */
export function laterTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(letGo);
  });
}

let lastOwn: Promise<void> = Promise.resolve();

/** Settles in a later turn, and for one only in each: for work that takes a while by itself. */
export function ownTurn(): Promise<void> {
  lastOwn = lastOwn.then(() => new Promise((resolve) => setImmediate(resolve)));
  return lastOwn;
}

function letGo(): void {
  for (const resolve of waiting.splice(0, Math.ceil(waiting.length * turnShare))) resolve();
  if (waiting.length > 0) setImmediate(letGo);
}
