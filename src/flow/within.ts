/** Waiting for something, but not for ever. */

/** Settles with the promise, as it does, or when the time is over. */
export async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  try {
    await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}
