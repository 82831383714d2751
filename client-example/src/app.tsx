/** The whole page: chooses the conversation that is shown, the connection and the key. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { LlmClientError } from 'llm-service/client';
import { useCallback, useEffect, useState } from 'react';
import { ConversationView } from './chat/conversation-view.tsx';
import { useConversations } from './chat/conversations.ts';
import { newId } from './chat/new-id.ts';
import { Sidebar } from './chat/sidebar.tsx';
import { connect, type Connection, type Transport } from './page/connection.ts';
import { KeyForm } from './page/key-form.tsx';
import { useSettings, type Settings } from './page/settings.ts';
import { readStored, writeStored } from './page/storage.ts';
import { TRPCProvider, useTRPC } from './page/trpc.ts';
import { showConversation, useConversationId } from './page/use-location.ts';

const keyName = 'key';

export function App() {
  const queryClient = useQueryClient();
  const [settings, setSettings] = useSettings();
  const begin = (transport: Transport, token: string | undefined): Connection => {
    const onNoWebSocket = () => setConnection((current) => (current === begun ? begin('sse', token) : current));
    const begun = connect({ transport, token, onNoWebSocket });
    return begun;
  };
  const [connection, setConnection] = useState(() => begin(settings.transport, readStored(keyName, keyFrom, 'tab')));
  return (
    <TRPCProvider trpcClient={connection.trpc} queryClient={queryClient}>
      <Shell
        connection={connection}
        settings={settings}
        onSettings={setSettings}
        onTransport={(transport) => {
          setSettings({ transport });
          setConnection(begin(transport, connection.token));
        }}
        onKey={(key) => {
          writeStored(keyName, key, 'tab');
          setConnection(begin(connection.transport, key));
        }}
      />
    </TRPCProvider>
  );
}

/** Accepts only a text that a header can carry. */
function keyFrom(value: unknown): string | undefined {
  return typeof value === 'string' && /^[\x21-\x7e]{1,4096}$/.test(value) ? value : undefined;
}

interface ShellProps {
  readonly connection: Connection;
  readonly settings: Settings;
  readonly onSettings: (change: Partial<Settings>) => void;
  readonly onTransport: (transport: Transport) => void;
  readonly onKey: (key: string) => void;
}

function Shell({ connection, settings, onSettings, onTransport, onKey }: ShellProps) {
  const { all: conversations, unkept } = useConversations();
  const named = useConversationId();
  // A new conversation has its id before it is stored, so that React doesn't mount it anew when it is stored.
  const [freshId, setFreshId] = useState(newId);
  const currentId = named ?? freshId;
  const [running, setRunning] = useState<ReadonlySet<string>>(new Set());
  const [menuOpen, setMenuOpen] = useState(false);
  const [refusedKey, setRefusedKey] = useState<string | undefined | null>(null);

  const trpc = useTRPC();
  const { error, refetch } = useQuery(trpc.llm.configs.queryOptions());
  const keyNeeded = error !== null && LlmClientError.from(error).code === 'unauthorized';

  const { token } = connection;
  useEffect(() => {
    if (token !== undefined) void refetch();
  }, [token, refetch]);

  const onRunning = useCallback((id: string, isRunning: boolean) => {
    setRunning((before) => {
      if (before.has(id) === isRunning) return before;
      const after = new Set(before);
      if (isRunning) after.add(id);
      else after.delete(id);
      return after;
    });
  }, []);
  const onKeyNeeded = useCallback(() => setRefusedKey(token), [token]);

  useEffect(() => {
    // After the first message, the address names the conversation.
    if (named === undefined && conversations.some(({ id }) => id === freshId)) {
      showConversation(freshId, { replace: true });
    }
  }, [named, conversations, freshId]);

  if (keyNeeded || refusedKey === token) return <KeyForm refused={token !== undefined} onKey={onKey} />;

  const open = (id: string | undefined) => {
    if (id === undefined) setFreshId(newId());
    showConversation(id);
    setMenuOpen(false);
  };
  const mounted = [currentId, ...[...running].filter((id) => id !== currentId)].toSorted();
  return (
    <div className="shell" data-lab={settings.labOpen}>
      <Sidebar
        open={menuOpen}
        conversations={conversations}
        currentId={currentId}
        running={running}
        theme={settings.theme}
        onTheme={(theme) => onSettings({ theme })}
        onOpen={open}
        onClose={() => setMenuOpen(false)}
      />
      {mounted.map((id) => (
        <ConversationView
          key={id}
          conversation={conversations.find((each) => each.id === id) ?? { id, turns: [] }}
          kept={!unkept.has(id)}
          shown={id === currentId}
          connection={connection}
          labOpen={settings.labOpen}
          onLab={(labOpen) => onSettings({ labOpen })}
          onTransport={onTransport}
          onMenu={() => setMenuOpen(true)}
          onRunning={onRunning}
          onKeyNeeded={onKeyNeeded}
        />
      ))}
    </div>
  );
}
