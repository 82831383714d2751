/**
 * One conversation: its turns, the running answer, and the composer. It stays mounted, but hidden, while its answer
 * runs, so that the answer goes on when the reader opens another conversation.
 */
import { useQuery } from '@tanstack/react-query';
import { LlmClientError } from 'llm-service/client';
import { useCallback, useEffect, useMemo, useState } from 'react';
import { Lab } from '../lab/lab.tsx';
import { Meter } from '../lab/meter.ts';
import type { Connection, Transport } from '../page/connection.ts';
import { Icon } from '../page/icon.tsx';
import { KeepingNote } from '../page/keeping-note.tsx';
import { useKeeping } from '../page/storage.ts';
import { useTRPC } from '../page/trpc.ts';
import { useStickToBottom } from '../page/use-stick-to-bottom.ts';
import { answerStore, type Link } from '../stream/answer-store.ts';
import { useLlmStream } from '../stream/use-llm-stream.ts';
import { Composer, type Draft } from './composer.tsx';
import { putConversation, titleOf, type Conversation } from './conversations.ts';
import { newId } from './new-id.ts';
import { requestOf } from './request.ts';
import { Start } from './start.tsx';
import { spokenStatus, TurnView } from './turn.tsx';

export interface ConversationViewProps {
  readonly conversation: Conversation;
  /** Whether the browser has stored the conversation in its current state. */
  readonly kept: boolean;
  readonly shown: boolean;
  readonly connection: Connection;
  readonly labOpen: boolean;
  readonly onLab: (open: boolean) => void;
  readonly onTransport: (transport: Transport) => void;
  readonly onMenu: () => void;
  readonly onRunning: (id: string, running: boolean) => void;
  readonly onKeyNeeded: () => void;
}

export function ConversationView(props: ConversationViewProps) {
  const { conversation, shown, connection, onRunning, onKeyNeeded } = props;
  const { id, turns } = conversation;
  const last = turns.at(-1);
  const trpc = useTRPC();
  const { data: configs = [] } = useQuery(trpc.llm.configs.queryOptions());
  const [chosen, setDraft] = useState<Draft>();
  const draft = chosen ?? last ?? { config: configs[0]?.name ?? '', variables: {} };
  const [meter] = useState(() => new Meter());
  const { ref: logRef, atBottom, toBottom } = useStickToBottom();

  // All answers before the last have ended, so the request stays the same while its answer arrives.
  const request = useMemo(() => requestOf(turns, (each) => answerStore(each).get().answer), [turns]);
  const { answer, link, running, stop, reopen, resolve } = useLlmStream(connection.llm, request, {
    askedAtMs: last?.askedAtMs,
    onEvent: (event) => meter.record(event),
  });

  const ask = useCallback(
    (prompt: string, { config, variables }: Draft, kept: Conversation['turns']) => {
      const generationId = newId();
      answerStore(generationId).ask();
      putConversation({ id, turns: [...kept, { generationId, prompt, config, variables, askedAtMs: Date.now() }] });
      toBottom();
    },
    [id, toBottom],
  );
  const askAgain = useCallback((prompt: string) => last && ask(prompt, last, turns.slice(0, -1)), [ask, last, turns]);
  // Send only the variables of this config, and none that were entered for another one.
  const send = (prompt: string, { config, variables }: Draft = draft) => {
    const names = configs.find(({ name }) => name === config)?.variables ?? Object.keys(variables);
    const own = Object.fromEntries(names.map((name) => [name, variables[name] ?? '']));
    ask(prompt, { config, variables: own }, turns);
  };

  useEffect(() => {
    if (running) meter.begin();
    else meter.end();
    onRunning(id, running);
  }, [id, running, meter, onRunning]);

  useEffect(() => {
    if (!running || !shown) return undefined;
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key === 'Escape' && !event.defaultPrevented) void stop();
    };
    addEventListener('keydown', onKeyDown);
    return () => removeEventListener('keydown', onKeyDown);
  }, [running, shown, stop]);

  const keyRefused = answer.error?.code === 'unauthorized';
  useEffect(() => {
    if (keyRefused) onKeyNeeded();
  }, [keyRefused, onKeyNeeded]);

  return (
    <div className="conversation" hidden={!shown}>
      <main>
        <header className="bar">
          <button type="button" className="icon-button menu" aria-label="Conversations" onClick={props.onMenu}>
            <Icon name="menu" />
          </button>
          <h1>{titleOf(conversation) ?? 'New chat'}</h1>
          <LinkBadge link={link} running={running} transport={connection.transport} />
          <button
            type="button"
            className="icon-button"
            aria-label="Instruments"
            aria-expanded={props.labOpen}
            title="Instruments"
            onClick={() => props.onLab(!props.labOpen)}
          >
            <Icon name="pulse" />
          </button>
        </header>
        <div
          className="log"
          // An empty conversation shows the start page, which is read from its top.
          ref={turns.length > 0 ? logRef : undefined}
          role="log"
          aria-live="off"
          aria-label="Conversation"
          tabIndex={0}
        >
          <div className="turns">
            {turns.length === 0 && (
              <Start
                onSuggest={({ prompt, config, variables }) => send(prompt, { config, variables: variables ?? {} })}
              />
            )}
            {turns.map((turn, at) => (
              <TurnView
                key={turn.generationId}
                turn={turn}
                last={at === turns.length - 1}
                running={running && at === turns.length - 1}
                onAskAgain={askAgain}
                onReopen={reopen}
                onResolve={resolve}
              />
            ))}
          </div>
        </div>
        <output className="visually-hidden">{spokenStatus(answer, running)}</output>
        <div className="dock">
          {!atBottom && (
            <button type="button" className="to-bottom" onClick={toBottom}>
              <Icon name="down" /> Latest
            </button>
          )}
          <KeepingNote />
          {!props.kept && <NoRoomNote />}
          <ServiceNote />
          <Composer
            configs={configs}
            draft={draft}
            onDraft={setDraft}
            transport={connection.transport}
            onTransport={props.onTransport}
            running={running}
            stopping={link.stopping}
            history={turns.map(({ prompt }) => prompt)}
            onSend={send}
            onStop={() => void stop()}
          />
        </div>
      </main>
      <Lab
        open={props.labOpen}
        meter={meter}
        running={running}
        resumes={link.resumes}
        simulated={answer.start?.simulated ?? true}
        onCut={connection.cut}
        onAsk={send}
        onClose={() => props.onLab(false)}
      />
    </div>
  );
}

/** Tells the reader that a reload would lose this conversation. */
function NoRoomNote() {
  const { possible } = useKeeping();
  if (!possible) return null;
  return (
    <p className="service-note" role="status">
      There is no room in your browser to keep this chat: it is here until you close or reload the page. Your other
      chats stay as they are. Deleting some you no longer need makes room.
    </p>
  );
}

/** Tells the reader that the service can't be reached, or refuses to list its configs. */
function ServiceNote() {
  const trpc = useTRPC();
  const { error, refetch, isFetching } = useQuery(trpc.llm.configs.queryOptions());
  const failure = error && LlmClientError.from(error);
  if (!failure || failure.code === 'unauthorized') return null;
  return (
    <p className="service-note">
      {failure.message}.{' '}
      <button type="button" onClick={() => void refetch()} disabled={isFetching}>
        Try again
      </button>
    </p>
  );
}

/** The state of the stream: live or reconnecting, and where it was resumed. */
function LinkBadge({ link, running, transport }: { link: Link; running: boolean; transport: Transport }) {
  const over = transport === 'sse' ? 'SSE' : 'WebSocket';
  const lost = running && link.state === 'reconnecting';
  const resumed =
    link.resumedAtChars === undefined || lost
      ? undefined
      : `resumed after ${link.resumedAtChars.toLocaleString('en')} characters${link.resumes > 1 ? `, ${link.resumes} times` : ''}`;
  return (
    <p className="badge" data-state={running ? link.state : 'idle'}>
      <i aria-hidden="true" />
      <span className="state">
        {lost ? 'reconnecting' : running && link.state === 'live' ? `live over ${over}` : over}
      </span>
      {resumed && <span className="resumed">{resumed}</span>}
    </p>
  );
}
