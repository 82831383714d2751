/**
 * Values handed on as they come, with back pressure: what stands between upstream, the log and the doors where each token
 * passes. An iterator costs two or three promises and as many turns of the microtask queue for each value and layer; a
 * sink that has room costs a call.
 */

/** Takes one value at a time. Undefined says that it is ready for the next one, a promise when it will be. */
export type Sink<T> = (value: T) => Promise<void> | undefined;

/** Given in place of a value: none will come any more. */
export const exhausted = Symbol('exhausted');

export interface Pour {
  /** To be called when there may be something to take. Does nothing while the sink is busy: it asks by itself afterwards. */
  readonly wake: () => void;
  /** Settles when all was taken. Rejects with what the sink throws. */
  readonly done: Promise<void>;
}

/**
 * Hands a sink all that there is to take whenever it is woken, in that very call.
 *
 * @param take Gives the next value, or undefined if there is none now.
 */
export function pour<T>(take: () => T | undefined | typeof exhausted, sink: Sink<T>): Pour {
  let resolve!: () => void;
  let fail!: (error: unknown) => void;
  const done = new Promise<void>((...settle) => ([resolve, fail] = settle));
  let busy = false;
  const wake = () => {
    if (busy) return;
    busy = true;
    try {
      for (let value = take(); value !== undefined; value = take()) {
        // Both are final: what is left busy isn't woken again.
        if (value === exhausted) return resolve();
        const full = sink(value);
        if (full) return void full.then(goOn, fail);
      }
    } catch (error) {
      return fail(error);
    }
    busy = false;
  };
  const goOn = () => {
    busy = false;
    wake();
  };
  return { wake, done };
}

/**
 * A pipe as an iterable, which pulls: a value is asked for when the one before was taken, and none before the first `next`.
 *
 * @param leave Called when the iteration is over, however it ended: makes the pipe end soon, if it hasn't.
 */
export async function* iterate<T>(
  pipe: (sink: Sink<T>) => Promise<void>,
  leave: () => void,
): AsyncGenerator<T, void, undefined> {
  const values: T[] = [];
  let finished = false;
  let over = false;
  let wake = () => {};
  let release = () => {};
  const piped = pipe((value) => {
    if (over) return undefined;
    values.push(value);
    wake();
    return new Promise<void>((resolve) => (release = resolve));
  }).finally(() => {
    finished = true;
    wake();
  });
  // Told by the `await` at the end; until then, it isn't unheard.
  piped.catch(() => {});
  try {
    for (;;) {
      if (values.length === 0 && !finished) await new Promise<void>((resolve) => (wake = resolve));
      const [value] = values.splice(0);
      if (value === undefined) break;
      yield value;
      release();
    }
  } finally {
    over = true;
    leave();
    release();
    await piped;
  }
}
