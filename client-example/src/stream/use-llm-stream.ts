/**
 * One answer of the service as React state. This is the hook to copy, together with answer.ts and answer-store.ts.
 *
 * The state comes from events alone. tRPC's own `data` and `status` would not do: if several events arrive in one turn,
 * `data` drops some of them, and it is empty at the end; `status` ends differently over SSE and WebSocket.
 */
import { skipToken, useMutation } from '@tanstack/react-query';
import { useSubscription } from '@trpc/tanstack-react-query';
import { LlmClientError, type LlmEvent } from 'llm-service/client';
import { useCallback, useSyncExternalStore } from 'react';
import { useTRPC, useTRPCClient, type StreamInput, type ToolAnswer } from '../page/trpc.ts';
import { hasEnded } from './answer.ts';
import { AnswerStore, answerStore, type LiveAnswer } from './answer-store.ts';

/** The input of `llm.stream`, with the id that makes the request safe to repeat. */
export type LlmRequest = StreamInput & { readonly generationId: string };

export interface LlmStreamOptions {
  /** When somebody asked for it, in this tab or another one; undefined if that is not known. */
  readonly askedAtMs?: number | undefined;
  /** Called with every event when it arrives, before the page shows it. */
  readonly onEvent?: (event: LlmEvent) => void;
}

export interface LlmStream extends LiveAnswer {
  /** Whether more events will arrive. */
  readonly running: boolean;
  /** Stops the answer, and its cost. The text so far stays. Never throws. */
  readonly stop: () => Promise<void>;
  /** Asks for the remaining events again, after the client has given up the connection. */
  readonly reopen: () => void;
  /**
   * Answers a call that waits for an approval or for this client. Of several answers the first counts, also of those from
   * other tabs; then the result is among the events.
   *
   * @throws LlmClientError if the service takes no such answer.
   */
  readonly resolve: (answer: ToolAnswer) => Promise<void>;
}

/** Used without a request: there is nothing to show. */
const nothing = new AnswerStore('none');

/**
 * The answer to a request. The hook continues the answer that this browser has stored, from the cursor stored with it.
 * It starts a new answer only if `answerStore(generationId).ask()` was called because the person asked; in all other
 * cases it follows the answer, if the service still has it. If the component unmounts, the answer goes on for as long
 * as its config says, and mounting again continues it.
 *
 * @param request May change at any time. The hook asks for each generationId once.
 */
export function useLlmStream(
  request: LlmRequest | undefined,
  { askedAtMs, onEvent }: LlmStreamOptions = {},
): LlmStream {
  const trpc = useTRPC();
  const client = useTRPCClient();
  const generationId = request?.generationId;
  const store = generationId === undefined ? nothing : answerStore(generationId);
  const shown = useSyncExternalStore(store.subscribe, store.get);
  const running = request !== undefined && !hasEnded(shown.answer);

  const options = trpc.llm.stream.subscriptionOptions(request ?? skipToken, {
    enabled: running,
    onData: ({ id, data: event }) => {
      onEvent?.(event);
      store.push(id, event);
    },
    onError: (error) => {
      const { code, message, retryable, retryAfterMs } = LlmClientError.from(error);
      if (code === 'generation_not_found' && store.awaitStart(askedAtMs)) return;
      store.refuse({ code, message, retryable, retryAfterMs });
    },
    onConnectionStateChange: ({ state, error }) => {
      if (state === 'pending') store.linked();
      if (state === 'connecting' && error) store.lost();
    },
  });
  useSubscription({
    ...options,
    // The key holds the id in place of the conversation, which React Query would hash at each render. With another
    // client, the subscription begins anew.
    queryKey: [
      ['llm', 'stream'],
      { input: [generationId, numberOf(client), shown.link.attempt], type: 'any' },
    ] as never,
    // Read when the subscription begins: the cursor of the last render would bring events that have already arrived a
    // second time.
    subscribe: (given) => {
      const handlers = { ...given, onComplete: () => store.completed() };
      store.seek();
      if (store.mayStart) return client.llm.stream.subscribe(request!, handlers);
      return client.llm.follow.subscribe({ generationId: generationId!, lastEventId: store.cursor }, handlers);
    },
  });

  const { mutateAsync: cancel } = useMutation(trpc.llm.cancel.mutationOptions());
  const stop = useCallback(async () => {
    if (generationId === undefined) return;
    store.setStopping(true);
    try {
      await cancel({ generationId });
    } catch (error) {
      // After `generation_not_found` the stop has overtaken its start: the service has barred the id and will refuse
      // the subscription. So the answer still counts as stopping. After any other error it goes on.
      if (LlmClientError.from(error).code !== 'generation_not_found') store.setStopping(false);
    }
  }, [cancel, generationId, store]);

  const { mutateAsync: resolveCalls } = useMutation(trpc.llm.resolve.mutationOptions());
  const resolve = useCallback(
    async (result: ToolAnswer) => {
      if (generationId === undefined) return;
      try {
        await resolveCalls({ generationId, results: [result] });
      } catch (error) {
        const failure = LlmClientError.from(error);
        // Another tab was faster, or the generation has ended: its events say so.
        if (failure.code !== 'conflict') throw failure;
      }
    },
    [generationId, resolveCalls],
  );

  return { ...shown, running, stop, resolve, reopen: useCallback(() => store.reopen(), [store]) };
}

const numbers = new WeakMap<object, number>();
let clients = 0;

/** Distinguishes clients in a query key, which holds only plain values. */
function numberOf(client: object): number {
  if (!numbers.has(client)) numbers.set(client, (clients += 1));
  return numbers.get(client)!;
}
