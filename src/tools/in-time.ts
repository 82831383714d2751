/** Runs what a config's author has written of a tool, for a bounded time. What takes longer is left behind, and its result dropped. */
import { failed, type CallResult } from './call-result.ts';

/** How long a tool may take after the signal has aborted: a viewer sees the end of a cancelled generation within a second. */
const lastWordsMs = 800;

export interface InTimeOptions {
  readonly timeoutMs: number;
  /** Cancels it. */
  readonly signal: AbortSignal;
  /** What becomes of an error, unless it follows from the signal. */
  readonly onThrow: (error: unknown) => CallResult;
}

/**
 * Settles with what the work settles with, or with why it doesn't: `timeout`, `cancelled`, or what `onThrow` makes of its error.
 * Never rejects. Work whose signal has aborted already doesn't begin.
 *
 * @param work Gets a signal of its own, which aborts in both cases.
 */
export function inTime<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { timeoutMs, signal, onThrow }: InTimeOptions,
): Promise<T | CallResult> {
  return new Promise((resolve) => {
    const cancelled = () => settle(failed('cancelled', 'The call was cancelled'));
    if (signal.aborted) return resolve(failed('cancelled', 'The call was cancelled'));
    const own = new AbortController();
    const expire = () => {
      own.abort(new DOMException('The tool took too long', 'TimeoutError'));
      settle(failed('timeout', `The tool took longer than ${timeoutMs} ms`));
    };
    let timer = setTimeout(expire, timeoutMs);
    const stop = () => {
      clearTimeout(timer);
      timer = setTimeout(cancelled, lastWordsMs);
      own.abort(signal.reason);
    };
    const settle = (outcome: T | CallResult) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      resolve(outcome);
    };
    signal.addEventListener('abort', stop, { once: true });
    work(own.signal).then(settle, (error: unknown) => (signal.aborted ? cancelled() : settle(onThrow(error))));
  });
}
