/** A service at a URL, over the typed client. */
import { createLlmClient, LlmClientError } from '../client.ts';
import type { Configs } from '../configs/configs.ts';
import type { ConfigSummary, LlmEvent } from '../protocol.ts';
import type { LlmRouter } from '../doors/trpc/router.ts';
import type { Host } from './host.ts';
import type { Target } from './target.ts';

/** A service at a URL also has generations that other clients started. */
export interface RemoteTarget extends Target {
  configs(): Promise<ConfigSummary[]>;
  /** The events of a generation that was started before. */
  follow(generationId: string, signal: AbortSignal): AsyncIterable<LlmEvent>;
}

/** The router of a service whose configs are not known when this is compiled. */
type AnyRouter = LlmRouter<Configs<Record<string, string>>>;

/** Makes about four seconds without a connection. Somebody who waits at a terminal wants to see the error soon. */
const attemptsMax = 5;

/** Connects at the first call. */
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
    resolve: (generationId, results) => client.resolve({ generationId, results }),
    [Symbol.asyncDispose]: () => client.close(),
  };
}
