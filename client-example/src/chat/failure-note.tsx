/** Shows a failure to the reader: what happened, whether trying again helps, and when. */
import { useEffect, useState } from 'react';
import { Icon } from '../page/icon.tsx';
import { explain, isInterruption, type Failure } from './failures.ts';

export interface FailureNoteProps {
  readonly failure: Failure;
  /** Whether some of the answer has arrived. */
  readonly begun: boolean;
  readonly canAskAgain: boolean;
  readonly onAskAgain: () => void;
  readonly onReopen: () => void;
}

export function FailureNote({ failure, begun, canAskAgain, onAskAgain, onReopen }: FailureNoteProps) {
  const { title, advice } = explain(failure, begun);
  const leftS = useCountdown(failure.retryAfterMs ?? 0);
  const interrupted = isInterruption(failure);
  return (
    <div className="failure" data-severe={!failure.retryable}>
      <Icon name="warning" />
      <div>
        <h3>{title}</h3>
        <p>
          {failure.message && <span className="message">{failure.message}. </span>}
          {advice}
        </p>
        <p className="code">
          <code>{failure.code}</code>
        </p>
      </div>
      {interrupted ? (
        <button type="button" className="button" onClick={onReopen}>
          Reconnect
        </button>
      ) : (
        canAskAgain && (
          <button type="button" className="button" onClick={onAskAgain} disabled={leftS > 0}>
            {leftS > 0 ? `Try again in ${leftS} s` : 'Try again'}
          </button>
        )
      )}
    </div>
  );
}

/** The whole seconds that remain of a wait, which began when this component was first shown. */
function useCountdown(ms: number): number {
  const [untilMs] = useState(() => performance.now() + ms);
  const [leftMs, setLeftMs] = useState(ms);
  const over = leftMs <= 0;
  useEffect(() => {
    if (over) return undefined;
    const timer = setInterval(() => setLeftMs(untilMs - performance.now()), 250);
    return () => clearInterval(timer);
  }, [over, untilMs]);
  return Math.max(0, Math.ceil(leftMs / 1_000));
}
