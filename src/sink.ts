/**
 * Values handed on as they come, with back pressure: what stands between upstream, the log and the doors where each token
 * passes. An iterator costs two or three promises and as many turns of the microtask queue for each value and layer; a
 * sink that has room costs a call.
 */

/** Takes one value at a time. Undefined says that it is ready for the next one, a promise when it will be. */
export type Sink<T> = (value: T) => Promise<void> | undefined;

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
  let ended = false;
  let over = false;
  let wake = () => {};
  let release = () => {};
  const piped = pipe((value) => {
    if (over) return undefined;
    values.push(value);
    wake();
    return new Promise<void>((resolve) => (release = resolve));
  }).finally(() => {
    ended = true;
    wake();
  });
  // Told by the `await` at the end; until then, it isn't unheard.
  piped.catch(() => {});
  try {
    for (;;) {
      if (values.length === 0 && !ended) await new Promise<void>((resolve) => (wake = resolve));
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
