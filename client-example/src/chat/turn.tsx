/** One question and its answer: the text, how it ended, what it cost, and buttons to ask again. */
import { memo, useEffect, useState, useSyncExternalStore, type KeyboardEvent } from 'react';
import { Markdown, pieces, PlainText } from '../markdown/markdown.tsx';
import { CopyButton } from '../page/copy-button.tsx';
import { ErrorBoundary } from '../page/error-boundary.tsx';
import { Icon } from '../page/icon.tsx';
import { useKeeping } from '../page/storage.ts';
import { textOf, type Answer, type Part } from '../stream/answer.ts';
import { answerStore, type Link } from '../stream/answer-store.ts';
import type { ToolAnswer } from '../page/trpc.ts';
import type { Turn } from './conversations.ts';
import { FailureNote } from './failure-note.tsx';
import { formatCount, statsOf } from './stats.ts';
import { JsonAnswer, looksLikeJson } from './json-answer.tsx';
import { ToolCall } from './tool-call.tsx';

export interface TurnViewProps {
  readonly turn: Turn;
  /** Only the last turn can be asked again. */
  readonly last: boolean;
  readonly running: boolean;
  readonly onAskAgain: (prompt: string) => void;
  readonly onReopen: () => void;
  readonly onResolve: (answer: ToolAnswer) => Promise<void>;
}

export const TurnView = memo(function TurnView(props: TurnViewProps) {
  const { turn, last, running, onAskAgain } = props;
  return (
    <article className="turn">
      <Question turn={turn} editable={last && !running} onSave={onAskAgain} />
      <ErrorBoundary fallback={<BareAnswer turn={turn} />}>
        <AnswerView {...props} />
      </ErrorBoundary>
    </article>
  );
});

/** The plain text of the answer, shown if the full view of it throws. */
function BareAnswer({ turn }: { turn: Turn }) {
  const store = answerStore(turn.generationId);
  const { answer } = useSyncExternalStore(store.subscribe, store.get);
  return (
    <div className="answer">
      <div className="markdown">
        <PlainText text={textOf(answer)} />
      </div>
    </div>
  );
}

function AnswerView({ turn, last, running, onAskAgain, onReopen, onResolve }: TurnViewProps) {
  const store = answerStore(turn.generationId);
  const { answer, link, kept } = useSyncExternalStore(store.subscribe, store.get);
  const { possible } = useKeeping();
  const text = textOf(answer);
  // The service says at the end whether the answer is an object. Until then the first letter of a text decides.
  const mayBeJson = answer.terminal?.type !== 'done' || answer.terminal.object !== undefined;
  return (
    <div className="answer" aria-busy={running}>
      {answer.parts.map((part, at) => (
        <ErrorBoundary key={at} fallback={<BarePart part={part} />}>
          <PartView
            part={part}
            running={running}
            growing={running && at === answer.parts.length - 1}
            mayBeJson={mayBeJson}
            onResolve={onResolve}
          />
        </ErrorBoundary>
      ))}
      {running && <Waiting link={link} begun={answer.parts.length > 0} />}
      <Ending
        answer={answer}
        canAskAgain={last && !running}
        onAskAgain={() => onAskAgain(turn.prompt)}
        onReopen={onReopen}
      />
      {possible && !kept && (
        <p className="ending">
          There is no room in your browser to keep this answer. Copy it before you close or reload the page.
        </p>
      )}
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
  );
}

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
        <Prompt text={turn.prompt} />
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

/**
 * Only this many characters of a question are shown at first: a pasted file would take long to lay out, and to scroll
 * past.
 */
const promptCharsShown = 10_000;

function Prompt({ text }: { text: string }) {
  const [whole, setWhole] = useState(text.length <= promptCharsShown);
  if (whole) return <p>{pieces(text)}</p>;
  return (
    <p>
      {pieces(text.slice(0, promptCharsShown))}…{' '}
      <button type="button" className="link-button" onClick={() => setWhole(true)}>
        Show all {formatCount(text.length)} characters
      </button>
    </p>
  );
}

interface PartViewProps {
  readonly part: Part;
  readonly running: boolean;
  readonly growing: boolean;
  readonly mayBeJson: boolean;
  readonly onResolve: TurnViewProps['onResolve'];
}

function PartView({ part, running, growing, mayBeJson, onResolve }: PartViewProps) {
  if (part.kind === 'text') {
    if (mayBeJson && looksLikeJson(part.text)) return <JsonAnswer text={part.text} />;
    return <Markdown text={part.text} growing={growing} />;
  }
  if (part.kind === 'call') return <ToolCall part={part} running={running} onResolve={onResolve} />;
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

/** Shown in place of a part whose view throws. */
function BarePart({ part }: { part: Part }) {
  return (
    <div className="markdown">
      <PlainText text={'text' in part ? part.text : 'A part of the answer can’t be shown here.'} />
    </div>
  );
}

/** After this much silence the page says how long nothing has arrived. */
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
  readonly canAskAgain: boolean;
  readonly onAskAgain: () => void;
  readonly onReopen: () => void;
}

function Ending({ answer: { status, terminal, error, parts }, canAskAgain, onAskAgain, onReopen }: EndingProps) {
  const told = { begun: parts.length > 0, canAskAgain, onAskAgain, onReopen };
  // The stop came before the start, so there is no answer.
  if (status === 'cancelled' && !terminal) return <FailureNote failure={stoppedEarly} {...told} />;
  // The message would only name an id, which means nothing to the reader.
  if (error?.code === 'generation_not_found') return <FailureNote failure={{ ...error, message: '' }} {...told} />;
  if (error) return <FailureNote failure={error} {...told} />;
  let note: string | undefined;
  if (terminal?.type === 'cancelled') note = cancelNotes[terminal.reason];
  else if (terminal?.type === 'done') {
    note =
      stopNotes[terminal.stopReason ?? ''] ??
      (terminal.object === 'invalid' ? 'The answer does not have the form that this config promises.' : undefined) ??
      (terminal.limit === undefined ? undefined : limitNotes[terminal.limit]) ??
      (parts.length === 0 ? 'There was no answer.' : undefined);
  }
  return note === undefined ? null : <p className="ending">{note}</p>;
}

const stoppedEarly = { code: 'cancelled', message: '', retryable: true } as const;

const cancelNotes = {
  requested: 'Stopped.',
  disconnected: 'Stopped by the service, because no page was connected.',
  shutdown: 'Stopped, because the service was shut down.',
} as const;

const stopNotes: Readonly<Record<string, string>> = {
  max_tokens: 'It ends here because it reached the token limit of this config.',
  refusal: 'The model declined to answer.',
  model_context_window_exceeded: 'It ends here because the conversation fills the context window of the model.',
  pause_turn: 'The model paused; send another message to let it continue.',
  tool_use: 'It ends here because nobody answered what the model asked for.',
};

const limitNotes: Readonly<Record<string, string>> = {
  steps: 'The model called no more tools, because it reached the most steps of this config.',
  cost: 'The model called no more tools, because it reached the cost limit of this config.',
};

/** The text for screen readers, announced politely when an answer begins and ends, and never for each piece. */
export function spokenStatus({ terminal, error, start, pending }: Answer, running: boolean): string {
  if (error && !terminal) return `No answer: ${error.message}`;
  switch (terminal?.type) {
    case 'done':
      return `The answer is complete: ${formatCount(terminal.usage.outputTokens)} tokens.`;
    case 'cancelled':
      return 'The answer was stopped.';
    case 'error':
      return `The answer failed: ${terminal.message}`;
    default: {
      const [waiting] = pending;
      if (running && waiting) return `${waiting.name} waits for you.`;
      return running && start ? 'The answer has begun.' : '';
    }
  }
}
