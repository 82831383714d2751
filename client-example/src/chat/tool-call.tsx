/** The call of a tool: its name, input and result, and what the reader can answer where it waits for them. */
import { LlmClientError } from 'llm-service/client';
import { useState, type SyntheticEvent } from 'react';
import type { ToolAnswer } from '../page/trpc.ts';
import { waitsForReader, type CallPart } from '../stream/answer.ts';

export interface ToolCallProps {
  readonly part: CallPart;
  readonly running: boolean;
  readonly onResolve: (answer: ToolAnswer) => Promise<void>;
}

export function ToolCall({ part, running, onResolve }: ToolCallProps) {
  const { id, name, draft, input, output, error } = part;
  const waits = running && waitsForReader(part);
  return (
    <details className="aside tool" open={waits}>
      <summary>
        <code>{name}</code> {stateOf(part, running)}
      </summary>
      {(input !== undefined || draft !== undefined) && <Json label="Input" value={input ?? draft} />}
      {output !== undefined && <Json label="Result" value={output} />}
      {error !== undefined && <p>{error.message}</p>}
      {waits &&
        (part.approval ? (
          <Approval onAnswer={(answer) => onResolve({ id, ...answer })} />
        ) : (
          <Reply onAnswer={(answer) => onResolve({ id, ...answer })} />
        ))}
    </details>
  );
}

function stateOf({ state, approval, error }: CallPart, running: boolean): string {
  if (error !== undefined) return errorWords[error.code] ?? 'failed';
  if (state === 'done') return 'done';
  if (!running) return 'without a result';
  if (state === 'writing') return 'is being called…';
  if (state === 'running') return 'runs…';
  return approval ? 'waits for your approval' : 'waits for your answer';
}

const errorWords: Readonly<Record<string, string>> = {
  timeout: 'took too long',
  invalid_input: 'was called wrongly',
  unknown_tool: 'does not exist',
  cancelled: 'was stopped',
  denied: 'was denied',
  too_large: 'gave too much',
};

function Json({ label, value }: { label: string; value: unknown }) {
  return (
    <pre role="group" tabIndex={0} aria-label={label}>
      {typeof value === 'string' ? value : JSON.stringify(value, null, 2)}
    </pre>
  );
}

/** Sends an answer once. While it is on its way, and after it has been taken, nothing can be pressed. */
function useAnswer<Answer>(onAnswer: (answer: Answer) => Promise<void>) {
  const [sent, setSent] = useState(false);
  const [problem, setProblem] = useState<string>();
  const send = (answer: Answer) => {
    setSent(true);
    setProblem(undefined);
    onAnswer(answer).catch((error: unknown) => {
      setSent(false);
      setProblem(LlmClientError.from(error).message);
    });
  };
  return { sent, problem, send };
}

type ApprovalAnswer = { readonly approved: true } | { readonly approved: false; readonly reason: string };

function Approval({ onAnswer }: { onAnswer: (answer: ApprovalAnswer) => Promise<void> }) {
  const { sent, problem, send } = useAnswer(onAnswer);
  return (
    <>
      <div className="choices">
        <button type="button" className="button primary" disabled={sent} onClick={() => send({ approved: true })}>
          Allow
        </button>
        <button
          type="button"
          className="button"
          disabled={sent}
          onClick={() => send({ approved: false, reason: 'The user said no.' })}
        >
          Deny
        </button>
      </div>
      {problem !== undefined && <p role="alert">{problem}</p>}
    </>
  );
}

type ReplyAnswer = { readonly output: unknown } | { readonly error: string };

function Reply({ onAnswer }: { onAnswer: (answer: ReplyAnswer) => Promise<void> }) {
  const { sent, problem, send } = useAnswer(onAnswer);
  const [text, setText] = useState('');
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    send({ output: valueOf(text) });
  };
  return (
    <form className="choices" onSubmit={submit}>
      <input aria-label="Your answer, as JSON or text" value={text} onChange={({ target }) => setText(target.value)} />
      <button type="submit" className="button primary" disabled={sent || text.trim() === ''}>
        Answer
      </button>
      <button
        type="button"
        className="button"
        disabled={sent}
        onClick={() => send({ error: 'The user gave no answer.' })}
      >
        Decline
      </button>
      {problem !== undefined && <p role="alert">{problem}</p>}
    </form>
  );
}

/** What the reader typed: JSON where it is, else a text. */
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text.trim();
  }
}
