/**
 * What the course and the links share about one attempt. It travels through the links in the context of tRPC's
 * operation.
 */
import type { Operation } from '@trpc/client';

export interface AttemptContext {
  /** The input as JSON, as it is sent. */
  readonly body: string;
  /** The size of `body` in UTF-8. */
  readonly bodyBytes: number;
  /** Set by the link. Looks at once whether the connection has been silent for too long, and if so, gives it up. */
  look: () => void;
  /** Set by the link once the service has announced it: the longest silence of a living connection. */
  silenceMs: number | undefined;
  /**
   * Set by the link once the service has announced it: the shortest time for which the service keeps a generation running
   * without a viewer.
   */
  graceMs: number | undefined;
}

const key = 'llmClientAttempt';

export function withAttempt(op: Operation, attempt: AttemptContext): Operation {
  return { ...op, context: { ...op.context, [key]: attempt } };
}

/** The context of an operation that `reconnectLink` has passed on. */
export function attemptOf(op: Operation): AttemptContext {
  return op.context[key] as AttemptContext;
}
