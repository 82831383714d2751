/** Waits that are bounded in time. */

/** The longest delay of a timer. JavaScript runtimes fire a timer with a longer delay at once. */
export const timerMsMax = 2 ** 31 - 1;

/**
 * Waits for the promise, but not longer than this. Settles as the promise does. Where the time is over first it rejects with
 * the error of `late`, or without `late` it resolves to undefined.
 */
export async function within<Value>(
  ms: number,
  promise: Promise<Value>,
  late?: () => Error,
): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<undefined>((resolve, reject) => {
    timer = setTimeout(() => (late ? reject(late()) : resolve(undefined)), ms);
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}
