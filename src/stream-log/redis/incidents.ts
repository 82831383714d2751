/**
 * Counts what should be rare on the log on Redis, and has it logged: what fails with Redis once for each kind, all else as a
 * number for each time between two beats. So an outage under a thousand generations is a few lines.
 */
import type { Telemetry } from '../../telemetry/telemetry.ts';
import type { RedisTiming } from './timing.ts';

/** How often something happened that should be rare. */
export interface RedisCounts {
  /** Logs of this instance that Redis had lost a part of. */
  gaps: number;
  /** Logs of this instance that Redis had lost altogether. */
  reopened: number;
  /** Generations of instances that are gone, which this one has ended. */
  reaped: number;
  /** Generations of this instance that another has ended. */
  fenced: number;
  /** Calls that failed, and were repeated. */
  retried: number;
}

/** The lines that are written of it. */
export type RedisLines = Pick<
  Telemetry,
  'redisLost' | 'redisBack' | 'redisFails' | 'redisWorks' | 'logsRestored' | 'logsReaped' | 'logsFenced'
>;

/** A kind of failure, while it goes on. */
interface Failure {
  count: number;
  /** Whether it has happened since the last report. */
  recent: boolean;
}

/** Kinds of failures that are told apart. There are about ten. */
const kindsMax = 20;

export class Incidents {
  readonly counts: RedisCounts = { gaps: 0, reopened: 0, reaped: 0, fenced: 0, retried: 0 };
  readonly #lines: RedisLines | undefined;
  readonly #lostAfterMs: number;
  readonly #failures = new Map<string, Failure>();
  #reported: Readonly<RedisCounts> = { ...this.counts };
  /** Since when Redis has been out of reach, by `performance.now()`; undefined while it can be reached. */
  #lostSince: number | undefined;

  constructor(lines: RedisLines | undefined, { patienceMs }: RedisTiming) {
    this.#lines = lines;
    this.#lostAfterMs = patienceMs;
  }

  /** A call failed, and is repeated. */
  retried(error: unknown): void {
    this.counts.retried += 1;
    this.failed(error);
  }

  /** A call or a connection failed. Logged at once if it is the first of its kind. */
  failed(error: unknown): void {
    const kind = kindOf(error);
    const known = this.#failures.get(kind);
    if (known) {
      known.count += 1;
      known.recent = true;
    } else if (this.#failures.size < kindsMax) {
      this.#failures.set(kind, { count: 1, recent: true });
      this.#lines?.redisFails(kind);
    }
  }

  /**
   * To be called at each beat.
   *
   * @param silentMs How long Redis has been owing an answer.
   */
  report(silentMs: number): void {
    this.#reportReach(silentMs);
    const { gaps, reopened, reaped, fenced } = this.counts;
    const before = this.#reported;
    this.#reported = { ...this.counts };
    const restored = { gaps: gaps - before.gaps, reopened: reopened - before.reopened };
    if (restored.gaps + restored.reopened > 0) this.#lines?.logsRestored(restored);
    if (reaped > before.reaped) this.#lines?.logsReaped(reaped - before.reaped);
    if (fenced > before.fenced) this.#lines?.logsFenced(fenced - before.fenced);
    for (const [kind, failure] of this.#failures) {
      if (!failure.recent) {
        this.#failures.delete(kind);
        this.#lines?.redisWorks(kind, failure.count);
      }
      failure.recent = false;
    }
  }

  #reportReach(silentMs: number): void {
    const now = performance.now();
    if (silentMs >= this.#lostAfterMs) {
      if (this.#lostSince === undefined) this.#lines?.redisLost();
      this.#lostSince ??= now - silentMs;
    } else if (this.#lostSince !== undefined) {
      this.#lines?.redisBack(now - this.#lostSince);
      this.#lostSince = undefined;
    }
  }
}

/** The word by which Redis, Node or the client names an error. Messages stay out of logs, since they can quote keys and addresses. */
function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const { code } = error as { readonly code?: unknown };
  return /^[A-Z]{2,}\b/.exec(error.message)?.[0] ?? (typeof code === 'string' ? code : error.constructor.name);
}
