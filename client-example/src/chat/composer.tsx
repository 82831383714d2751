/**
 * The form that a message is written in: Enter sends, Shift+Enter breaks the line, ArrowUp brings back earlier
 * questions. Shows the configs that the service lists, and asks for the variables of their prompts.
 */
import { useEffect, useId, useRef, useState, type KeyboardEvent } from 'react';
import { Icon } from '../page/icon.tsx';
import type { Transport } from '../page/connection.ts';
import type { ConfigSummary } from '../page/trpc.ts';

export interface Draft {
  readonly config: string;
  readonly variables: Readonly<Record<string, string>>;
}

export interface ComposerProps {
  readonly configs: readonly ConfigSummary[];
  readonly draft: Draft;
  readonly onDraft: (draft: Draft) => void;
  readonly transport: Transport;
  readonly onTransport: (transport: Transport) => void;
  readonly running: boolean;
  readonly stopping: boolean;
  /** Questions that were asked here before, the newest last. */
  readonly history: readonly string[];
  readonly onSend: (prompt: string) => void;
  readonly onStop: () => void;
}

/**
 * From this length on the field no longer grows with its text: growing would make the browser lay out a pasted file
 * twice.
 */
const longChars = 20_000;

export function Composer(props: ComposerProps) {
  const { configs, draft, onDraft, running, stopping, history, onSend, onStop } = props;
  const [text, setText] = useState('');
  const [recalled, setRecalled] = useState<number>();
  const area = useRef<HTMLTextAreaElement>(null);
  const config = configs.find(({ name }) => name === draft.config);
  const missing = (config?.variables ?? []).filter((name) => !draft.variables[name]?.trim());
  const sendable = !running && config !== undefined && missing.length === 0 && text.trim() !== '';

  useEffect(() => area.current?.focus(), []);

  const send = () => {
    if (!sendable) return;
    onSend(text.trim());
    setText('');
    setRecalled(undefined);
  };
  const recall = (step: -1 | 1) => {
    const next = (recalled ?? history.length) + step;
    if (next < 0 || next > history.length) return;
    setRecalled(next === history.length ? undefined : next);
    setText(history[next] ?? '');
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // In Safari, 229 is the key code of the Enter that ends a composition.
    if (event.nativeEvent.isComposing || event.keyCode === 229) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      send();
    }
    const browsing = text === '' || recalled !== undefined;
    if (browsing && (event.key === 'ArrowUp' || (event.key === 'ArrowDown' && recalled !== undefined))) {
      event.preventDefault();
      recall(event.key === 'ArrowUp' ? -1 : 1);
    }
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {config && config.variables.length > 0 && (
        <div className="variables">
          {config.variables.map((name) => (
            <label key={name}>
              <span>{name}</span>
              <input
                value={draft.variables[name] ?? ''}
                placeholder={`What is “${name}” here?`}
                required
                onChange={({ target }) =>
                  onDraft({ ...draft, variables: { ...draft.variables, [name]: target.value } })
                }
              />
            </label>
          ))}
        </div>
      )}
      <textarea
        ref={area}
        value={text}
        rows={1}
        data-long={text.length > longChars}
        aria-label="Message"
        placeholder={missing.length > 0 ? `First say what “${missing[0]}” is` : 'Ask something'}
        onChange={({ target }) => {
          setText(target.value);
          setRecalled(undefined);
        }}
        onKeyDown={onKeyDown}
      />
      <div className="controls">
        <ConfigSelect configs={configs} draft={draft} onDraft={onDraft} />
        <TransportChoice transport={props.transport} onTransport={props.onTransport} />
        {running ? (
          <button
            type="button"
            className="send"
            onClick={onStop}
            disabled={stopping}
            aria-label="Stop"
            title="Stop (Esc)"
          >
            <Icon name="stop" />
          </button>
        ) : (
          <button type="submit" className="send" disabled={!sendable} aria-label="Send" title="Send (Enter)">
            <Icon name="send" />
          </button>
        )}
      </div>
    </form>
  );
}

function ConfigSelect({ configs, draft, onDraft }: Pick<ComposerProps, 'configs' | 'draft' | 'onDraft'>) {
  const config = configs.find(({ name }) => name === draft.config);
  return (
    <label className="config">
      <span className="visually-hidden">Config</span>
      <select
        value={draft.config}
        title={config?.description}
        onChange={({ target }) => onDraft({ ...draft, config: target.value })}
      >
        {!config && <option value={draft.config}>{draft.config || 'Loading…'}</option>}
        {configs.map(({ name }) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      {config && <small>{config.model}</small>}
    </label>
  );
}

const transports = [
  { value: 'ws', label: 'WebSocket' },
  { value: 'sse', label: 'SSE' },
] as const;

function TransportChoice({ transport, onTransport }: Pick<ComposerProps, 'transport' | 'onTransport'>) {
  const name = useId();
  return (
    <fieldset className="segmented" title="A running answer goes on over the other one">
      <legend className="visually-hidden">Transport</legend>
      {transports.map(({ value, label }) => (
        <label key={value}>
          <input type="radio" name={name} checked={transport === value} onChange={() => onTransport(value)} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}
