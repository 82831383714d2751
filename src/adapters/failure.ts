/** How a generation has ended that gave no whole answer, in the form of a refusal. */
import type { CancelledEvent, ErrorCode, ErrorData, ErrorEvent } from '../protocol.ts';

/** A refusal, or an unhappy end. `cancelled` is no code of a refusal: the service has an event for it, other APIs have none. */
export type Failure = Omit<ErrorData, 'code'> & { readonly code: ErrorCode | 'cancelled' };

export function failureOf(terminal: CancelledEvent | ErrorEvent): Failure {
  if (terminal.type === 'cancelled') {
    return { code: 'cancelled', message: `The answer was cancelled: ${terminal.reason}`, retryable: false };
  }
  const { code, message, retryable, retryAfterMs } = terminal;
  return { code, message, retryable, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}
