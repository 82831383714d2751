/**
 * Hands values from a source to a sink as they arrive, with back pressure. Each token passes from upstream to the log
 * and from the log to the doors this way. An iterator would cost two or three promises, and as many turns of the
 * microtask queue, for each value and each layer; a sink that has room costs one function call.
 */

/**
 * Takes one value at a time. Returns undefined if it is ready for the next value, or a promise that settles when it
 * will be.
 */
export type Sink<T> = (value: T) => Promise<void> | undefined;

/** A source returns this instead of a value when it will never have another one. */
export const exhausted = Symbol('exhausted');

export interface Pour {
  /**
   * To be called when the source may have a value. Does nothing while the sink is busy: when the sink is ready again,
   * the source is asked without being woken.
   */
  readonly wake: () => void;
  /**
   * Settles when the source is exhausted and the sink has its last value. Rejects with what the source or the sink
   * throws.
   */
  readonly done: Promise<void>;
}

/**
 * Connects a source to a sink. Each call of `wake` hands over, within the call, every value that the source has and the
 * sink has room for.
 *
 * @param take Returns the source's next value, or undefined if it has none now.
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
        // The end and an error are final. `busy` stays true, so that later calls of `wake` do nothing.
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
 * Turns a pipe, which pushes, into an iterable, which is pulled. The pipe starts at the first `next`. Its sink is busy
 * from one value until the reader asks for the next one.
 *
 * @param leave Called when the iteration is over, whether it was read to its end, left early or failed. It must make
 *   the pipe settle soon, if it hasn't settled.
 */
export async function* iterate<T>(
  pipe: (sink: Sink<T>) => Promise<void>,
  leave: () => void,
): AsyncGenerator<T, void, undefined> {
  const values: T[] = [];
  let settled = false;
  let left = false;
  let wake = () => {};
  let release = () => {};
  const piped = pipe((value) => {
    if (left) return undefined;
    values.push(value);
    wake();
    return new Promise<void>((resolve) => (release = resolve));
  }).finally(() => {
    settled = true;
    wake();
  });
  // If the pipe rejects before the `await piped` below, Node would report an unhandled rejection. The `await` throws
  // the error.
  piped.catch(() => {});
  try {
    for (;;) {
      if (values.length === 0 && !settled) await new Promise<void>((resolve) => (wake = resolve));
      const [value] = values.splice(0);
      if (value === undefined) break;
      yield value;
      release();
    }
  } finally {
    left = true;
    leave();
    release();
    await piped;
  }
}
