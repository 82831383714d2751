/**
 * The clockwork of the log on Redis. No settings: the instances of a rolling deploy must agree on them. Only tests shorten them.
 */

export interface RedisTiming {
  /** Between two beats of an instance. */
  readonly beatMs: number;
  /** After so many beats of its own without a change in another instance's counter, an instance takes the other for dead. */
  readonly beatsMissedMax: number;
  /** How long an instance keeps the log of a generation that it ran after its end, to write it again if Redis forgot it. */
  readonly keepEndedMs: number;
  /** Between two tries of a call that failed. */
  readonly retryMs: number;
  /** How long a request repeats a call of Redis that fails before it is refused; after the same time the service isn't ready. */
  readonly patienceMs: number;
  /** How long a call of Redis may wait for its answer, before its connection is made anew. */
  readonly callMs: number;
  /** How long a cursor beyond the end of a running log is given for the log to reach it: a log that Redis rolled back grows again. */
  readonly cursorWaitMs: number;
}

export const defaultTiming: RedisTiming = {
  beatMs: 2_500,
  beatsMissedMax: 4,
  keepEndedMs: 10_000,
  retryMs: 30,
  patienceMs: 2_000,
  callMs: 5_000,
  cursorWaitMs: 1_000,
};

/** How long an instance may be silent before others end what it ran. */
export function leaseMs({ beatMs, beatsMissedMax }: RedisTiming): number {
  return beatMs * beatsMissedMax;
}
