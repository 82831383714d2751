/** Repeats calls of Redis that fail, for a while. Every script may be repeated: it finds what the one before did. */
import { setTimeout as delay } from 'node:timers/promises';
import { LlmError } from '../../errors.ts';
import { startsWith } from './connection.ts';
import type { Incidents } from './incidents.ts';
import type { RedisTiming } from './timing.ts';

/** Repeats a call, and rejects with `at_capacity` if none has succeeded within `patienceMs`. An LlmError is passed on. */
export type Retry = <T>(call: () => Promise<T>) => Promise<T>;

/** What is asked for while Redis is out of reach is refused with this. */
export function outOfReach(cause: unknown): LlmError {
  return new LlmError('at_capacity', 'The stream logs are out of reach; try again shortly', {
    retryAfterMs: 1_000,
    cause,
  });
}

/** @param signal Nothing is repeated after it has aborted. */
export function createRetry({ retryMs, patienceMs }: RedisTiming, incidents: Incidents, signal: AbortSignal): Retry {
  return async (call) => {
    const until = performance.now() + patienceMs;
    for (;;) {
      try {
        return await call();
      } catch (error) {
        if (error instanceof LlmError) throw error;
        if (startsWith(error, 'OOM')) {
          throw new LlmError('at_capacity', 'There is no room for another answer; try again shortly', {
            retryAfterMs: 1_000,
            cause: error,
          });
        }
        if (performance.now() >= until || signal.aborted) throw outOfReach(error);
        incidents.retried(error);
        await delay(retryMs);
      }
    }
  };
}
