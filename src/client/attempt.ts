/** What one attempt at a subscription or a call carries through the chain of links, in tRPC's context of the operation. */
import type { Operation } from '@trpc/client';
import type { LlmClientError } from './error.ts';

export interface Attempt {
  /** The input as it goes over the wire. */
  readonly body: string;
  readonly bodyBytes: number;
  /** Whether the request of this attempt has been made. */
  requested: boolean;
  /** Why there was no connection, where the stock link would keep no more than a text of it. */
  failure: LlmClientError | undefined;
}

const key = 'llmClientAttempt';

export function withAttempt(op: Operation, attempt: Attempt): Operation {
  return { ...op, context: { ...op.context, [key]: attempt } };
}

/** Of an operation that has come through `reconnectLink`. */
export function attemptOf(op: Operation): Attempt {
  return op.context[key] as Attempt;
}
