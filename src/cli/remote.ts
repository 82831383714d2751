/** A service elsewhere, over the typed client. */
import { createLlmClient, LlmClientError } from '../client.ts';
import type { Configs } from '../configs/configs.ts';
import type { ConfigSummary, LlmEvent } from '../protocol.ts';
import type { LlmRouter } from '../doors/trpc/router.ts';
import type { Host } from './host.ts';
import type { Target } from './target.ts';

/** Beside what is asked for here, it has generations that others have started. */
export interface RemoteTarget extends Target {
  configs(): Promise<ConfigSummary[]>;
  /** As `stream`, of a generation that is there. */
  follow(generationId: string, signal: AbortSignal): AsyncIterable<LlmEvent>;
}

/** The router of a service whose configs are not known when this is compiled. */
type AnyRouter = LlmRouter<Configs<Record<string, string>>>;

/** About four seconds in which nothing comes. Whoever waits at a terminal would rather know. */
const attemptsMax = 5;

/** Connects when it is first asked something. */
export function openRemote(host: Host, { url, token }: { url: string; token?: string | undefined }): RemoteTarget {
  const client = createLlmClient<AnyRouter>({
    url,
    token,
    transport: 'sse',
    reconnect: { attemptsMax },
    onReconnect: ({ error }) => host.note(`${error.message}; trying again`),
  });
  return {
    async configs() {
      try {
        return await client.trpc.llm.configs.query();
      } catch (thrown) {
        throw LlmClientError.from(thrown);
      }
    },
    stream: (request, signal) => client.stream(request, { signal }),
    follow: (generationId, signal) => client.follow({ generationId }, { signal }),
    cancel: (generationId) => client.follow({ generationId }).cancel(),
    [Symbol.asyncDispose]: () => client.close(),
  };
}
