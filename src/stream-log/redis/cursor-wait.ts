/** What becomes of a viewer whose cursor lies beyond the end of a log that goes on. */
import { setTimeout as delay } from 'node:timers/promises';
import { cursorBeyondEnd, type Replica } from '../replica.ts';
import type { RedisTiming } from './timing.ts';

/**
 * Waits a moment for a running log to be as long as the cursor says. A log that Redis rolled back is soon as long again. And an
 * instance may have an event from Redis, and its viewer may have moved here with it, before Redis has answered to the log's owner.
 *
 * @param refresh Reads what is missing. Called before each look but the first.
 * @throws LlmError `invalid_input` if the log does not become that long in time
 */
export async function untilReached(
  replica: Replica,
  after: number,
  signal: AbortSignal,
  { cursorWaitMs, retryMs }: Pick<RedisTiming, 'cursorWaitMs' | 'retryMs'>,
  refresh: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const until = performance.now() + cursorWaitMs;
  while (after >= replica.length && !replica.terminalType && !signal.aborted) {
    if (performance.now() >= until) throw cursorBeyondEnd();
    await delay(retryMs);
    await refresh();
  }
}
