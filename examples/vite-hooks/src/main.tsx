/** A question and its answer. A reload in mid-answer goes on where it was, since the address keeps the answer's id. */
import { createLlmClient } from '@llm-service/client';
import { useAnswer } from '@llm-service/client/react';
import { QueryClient, QueryClientProvider, useQuery } from '@tanstack/react-query';
import { createTRPCContext } from '@trpc/tanstack-react-query';
import { StrictMode, useEffect, useState, type FormEvent } from 'react';
import { createRoot } from 'react-dom/client';
import type { AppRouter } from '../llm.config.ts';

type Question = { config: 'default' | 'brief'; generationId: string; messages: { role: 'user'; content: string }[] };

const llm = createLlmClient<AppRouter>({ url: new URL('/trpc', location.href), transport: 'ws' });
const { TRPCProvider, useTRPC } = createTRPCContext<AppRouter>();
const queryClient = new QueryClient();

function Chat() {
  const trpc = useTRPC();
  const { data: configs = [] } = useQuery(trpc.llm.configs.queryOptions());
  const [question, setQuestion] = useState<Question>();
  const { answer, running, connection, stop, reopen } = useAnswer(llm, question);

  useEffect(() => {
    if (location.hash.length > 1) reopen({ generationId: location.hash.slice(1) });
  }, [reopen]);

  const ask = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const generationId = crypto.randomUUID();
    history.replaceState(null, '', `#${generationId}`);
    const messages = [{ role: 'user' as const, content: String(form.get('content')) }];
    setQuestion({ config: form.get('config') as Question['config'], generationId, messages });
  };

  return (
    <main>
      <form onSubmit={ask}>
        <select name="config">
          {configs.map(({ name, description }) => (
            <option key={name} value={name}>
              {description ?? name}
            </option>
          ))}
        </select>
        <input name="content" required placeholder="Your question" />
        <button>Ask</button>
        {running && (
          <button type="button" onClick={stop}>
            Stop
          </button>
        )}
      </form>
      <p style={{ whiteSpace: 'pre-wrap' }}>{answer.text}</p>
      {running && connection === 'reconnecting' && <p>Reconnecting…</p>}
      {answer.error && <p role="alert">{answer.error.message}</p>}
      {answer.usage && <p>{answer.usage.outputTokens} tokens</p>}
    </main>
  );
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <TRPCProvider trpcClient={llm.trpc} queryClient={queryClient}>
        <Chat />
      </TRPCProvider>
    </QueryClientProvider>
  </StrictMode>,
);
