/** Waits that are bounded in time. */

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
