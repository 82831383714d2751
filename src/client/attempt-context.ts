/**
 * What one attempt at a subscription or a call carries through the chain of links, in tRPC's context of the operation.
 */
import type { Operation } from '@trpc/client';

export interface AttemptContext {
  /** The input as it goes over the wire. */
  readonly body: string;
  readonly bodyBytes: number;
  /** Set by the link: looks at once whether the connection has been silent for too long. */
  look: () => void;
  /** The longest silence of a connection that lives, once the service has announced it. */
  silenceMs: number | undefined;
  /** For how long the answer goes on without a viewer, at the least, once the service has announced it. */
  graceMs: number | undefined;
}

const key = 'llmClientAttempt';

export function withAttempt(op: Operation, attempt: AttemptContext): Operation {
  return { ...op, context: { ...op.context, [key]: attempt } };
}

/** Of an operation that has come through `reconnectLink`. */
export function attemptOf(op: Operation): AttemptContext {
  return op.context[key] as AttemptContext;
}
