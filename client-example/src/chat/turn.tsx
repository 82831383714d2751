/** One question and its answer: what was said, how it ended, what it cost, and what can be done about it. */
import { memo, useEffect, useState, useSyncExternalStore, type KeyboardEvent } from 'react';
import { Markdown } from '../markdown/markdown.tsx';
import { CopyButton } from '../page/copy-button.tsx';
import { Icon } from '../page/icon.tsx';
import { textOf, type Answer, type Part } from '../stream/answer.ts';
import { answerStore, type Link } from '../stream/answer-store.ts';
import type { Turn } from './conversations.ts';
import { FailureNote } from './failure-note.tsx';
import { formatCount, statsOf } from './stats.ts';

export interface TurnViewProps {
  readonly turn: Turn;
  /** Only the last turn can be asked anew. */
  readonly last: boolean;
  readonly running: boolean;
  readonly onAskAgain: (prompt: string) => void;
  readonly onReopen: () => void;
}

export const TurnView = memo(function TurnView({ turn, last, running, onAskAgain, onReopen }: TurnViewProps) {
  const store = answerStore(turn.generationId);
  const { answer, link } = useSyncExternalStore(store.subscribe, store.get);
  const text = textOf(answer);
  return (
    <article className="turn">
      <Question turn={turn} editable={last && !running} onSave={onAskAgain} />
      <div className="answer" aria-busy={running}>
        {answer.parts.map((part, at) => (
          <PartView key={at} part={part} growing={running && at === answer.parts.length - 1} />
        ))}
        {running && <Waiting link={link} begun={answer.parts.length > 0} />}
        <Ending
          answer={answer}
          link={link}
          canAskAgain={last && !running}
          onAskAgain={() => onAskAgain(turn.prompt)}
          onReopen={onReopen}
        />
        {!running && answer.terminal && (
          <footer>
            <dl className="stats">
              {statsOf(answer.terminal, answer.start?.simulated ?? false).map(({ label, value, note }) => (
                <div key={label} title={note}>
                  <dt>{label}</dt>
                  <dd>{value}</dd>
                </div>
              ))}
            </dl>
            <div className="actions">
              {text !== '' && <CopyButton text={text} label="Copy answer" />}
              {last && answer.terminal.type !== 'error' && (
                <button
                  type="button"
                  className="icon-button"
                  aria-label="Regenerate"
                  title="Regenerate"
                  onClick={() => onAskAgain(turn.prompt)}
                >
                  <Icon name="again" />
                </button>
              )}
            </div>
          </footer>
        )}
      </div>
    </article>
  );
});

function Question({ turn, editable, onSave }: { turn: Turn; editable: boolean; onSave: (prompt: string) => void }) {
  const [draft, setDraft] = useState<string>();
  const save = () => {
    if (!draft?.trim()) return;
    setDraft(undefined);
    onSave(draft.trim());
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      save();
    }
    if (event.key === 'Escape') setDraft(undefined);
  };
  const variables = Object.entries(turn.variables);
  return (
    <div className="question">
      <h2 className="visually-hidden">Question</h2>
      {draft === undefined ? (
        <p>{turn.prompt}</p>
      ) : (
        <div className="edit">
          <textarea
            autoFocus
            aria-label="Edited message"
            value={draft}
            onChange={({ target }) => setDraft(target.value)}
            onKeyDown={onKeyDown}
          />
          <button type="button" className="button" onClick={() => setDraft(undefined)}>
            Leave it
          </button>
          <button type="button" className="button primary" onClick={save} disabled={!draft.trim()}>
            Ask this instead
          </button>
        </div>
      )}
      <div className="meta">
        <span>{turn.config}</span>
        {variables.map(([name, value]) => (
          <span key={name}>
            {name}: {value}
          </span>
        ))}
        {editable && draft === undefined && (
          <button
            type="button"
            className="icon-button"
            aria-label="Edit message"
            title="Edit message"
            onClick={() => setDraft(turn.prompt)}
          >
            <Icon name="edit" />
          </button>
        )}
      </div>
    </div>
  );
}

function PartView({ part, growing }: { part: Part; growing: boolean }) {
  if (part.kind === 'text') return <Markdown text={part.text} growing={growing} />;
  if (part.kind === 'block') {
    const { type, name } = part.block;
    return (
      <details className="aside">
        <summary>
          {String(type)} {typeof name === 'string' && <code>{name}</code>}
        </summary>
        <pre tabIndex={0}>{JSON.stringify(part.block, null, 2)}</pre>
      </details>
    );
  }
  return (
    <details className="aside" open={growing}>
      <summary>Thinking</summary>
      <p>{part.text}</p>
    </details>
  );
}

/** From when on silence is worth a word. */
const quietMs = 4_000;

function Waiting({ link, begun }: { link: Link; begun: boolean }) {
  const [nowMs, setNowMs] = useState(link.heardMs);
  useEffect(() => {
    const timer = setInterval(() => setNowMs(performance.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const quietForMs = nowMs - link.heardMs;
  const words = link.stopping
    ? 'Stopping…'
    : link.state === 'reconnecting'
      ? 'The connection is lost. Reconnecting…'
      : quietForMs >= quietMs
        ? `Nothing new for ${Math.round(quietForMs / 1_000)} s.`
        : undefined;
  return (
    <p className="waiting" data-begun={begun}>
      <span className="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {words}
    </p>
  );
}

interface EndingProps {
  readonly answer: Answer;
  readonly link: Link;
  readonly canAskAgain: boolean;
  readonly onAskAgain: () => void;
  readonly onReopen: () => void;
}

function Ending({ answer: { terminal, refusal, parts }, link, canAskAgain, onAskAgain, onReopen }: EndingProps) {
  if (refusal) {
    // A stop that came before its start: there was no answer to keep.
    const failure = link.stopping && refusal.code === 'generation_not_found' ? stoppedEarly : refusal;
    return <FailureNote failure={failure} canAskAgain={canAskAgain} onAskAgain={onAskAgain} onReopen={onReopen} />;
  }
  if (terminal?.type === 'error') {
    return <FailureNote failure={terminal} canAskAgain={canAskAgain} onAskAgain={onAskAgain} onReopen={onReopen} />;
  }
  const note =
    terminal?.type === 'cancelled'
      ? cancelNotes[terminal.reason]
      : terminal && (stopNotes[terminal.stopReason ?? ''] ?? (parts.length === 0 ? 'There was no answer.' : undefined));
  return note === undefined ? null : <p className="ending">{note}</p>;
}

const stoppedEarly = { code: 'cancelled', message: '', retryable: true } as const;

const cancelNotes = {
  requested: 'Stopped.',
  disconnected: 'Stopped by the service, since nobody was there to read on.',
  shutdown: 'Stopped, since the service went down.',
} as const;

const stopNotes: Readonly<Record<string, string>> = {
  max_tokens: 'It ends here because it reached the most tokens that this config allows.',
  refusal: 'The model declined to answer.',
  model_context_window_exceeded: 'It ends here because the conversation fills what the model can hold.',
  pause_turn: 'The model paused; a next message lets it go on.',
};

/** What a screen reader is told, politely, at the beginning and the end of an answer; never of each piece. */
export function spokenStatus({ terminal, refusal, start }: Answer, running: boolean): string {
  if (refusal) return `No answer: ${refusal.message}`;
  switch (terminal?.type) {
    case 'done':
      return `The answer is complete: ${formatCount(terminal.usage.outputTokens)} tokens.`;
    case 'cancelled':
      return 'The answer was stopped.';
    case 'error':
      return `The answer failed: ${terminal.message}`;
    default:
      return running && start ? 'The answer has begun.' : '';
  }
}
