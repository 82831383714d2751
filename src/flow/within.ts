/** Waits that are bounded in time. */

/** The longest delay of a timer. JavaScript runtimes fire a timer with a longer delay at once. */
export const timerMsMax = 2 ** 31 - 1;

/**
 * Resolves when the promise resolves or the time is over, whichever comes first; rejects if the promise rejects before
 * that.
 */
export async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeOver = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  try {
    await Promise.race([promise, timeOver]);
  } finally {
    clearTimeout(timer);
  }
}
