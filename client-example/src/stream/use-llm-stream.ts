/**
 * One answer of the service as React state: the hook to copy, with answer.ts and answer-store.ts beside it.
 *
 * State is built from events alone. tRPC's own `data` and `status` would not do: `data` drops events when several come
 * in one turn and is emptied at the end, and `status` ends differently over SSE and WebSocket.
 */
import { skipToken, useMutation } from '@tanstack/react-query';
import { useSubscription } from '@trpc/tanstack-react-query';
import { LlmClientError, type LlmEvent } from 'llm-service/client';
import { useCallback, useSyncExternalStore } from 'react';
import { useTRPC, useTRPCClient, type StreamInput } from '../page/trpc.ts';
import { hasEnded } from './answer.ts';
import { AnswerStore, answerStore, type LiveAnswer } from './answer-store.ts';

/** What `llm.stream` takes, with the id that makes the request safe to repeat. */
export type LlmRequest = StreamInput & { readonly generationId: string };

export interface LlmStreamOptions {
  /** When it was asked for, here or in another tab, where that is known. */
  readonly askedAtMs?: number | undefined;
  /** Sees every event as it comes, before it is shown. */
  readonly onEvent?: (event: LlmEvent) => void;
}

export interface LlmStream extends LiveAnswer {
  /** Whether there is more to come. */
  readonly running: boolean;
  /** Stops the answer, and its cost. What was said stays. Never throws. */
  readonly stop: () => Promise<void>;
  /** Asks for the rest again, after the connection was given up. */
  readonly reopen: () => void;
}

/** Where there is no request, there is nothing to show. */
const nothing = new AnswerStore('none');

/**
 * The answer to a request: from what this browser has kept, at the cursor that was kept with it. It is started only where
 * `answerStore(generationId).ask()` was called, as the person asked; in all other cases it is followed, if the service
 * still has it. Unmounting leaves the answer running for as long as its config says; mounting again goes on.
 *
 * @param request May change at will; each generationId is asked for once.
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
    // In place of the whole conversation, which would be hashed at each render. On another client, it begins anew.
    queryKey: [
      ['llm', 'stream'],
      { input: [generationId, numberOf(client), shown.link.attempt], type: 'any' },
    ] as never,
    // As things are now. The cursor of the last render would bring what has come since a second time.
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
      // A stop that overtook its start holds: the subscription is refused then. It also tells of a lost connection.
      if (LlmClientError.from(error).code !== 'generation_not_found') store.setStopping(false);
    }
  }, [cancel, generationId, store]);

  return { ...shown, running, stop, reopen: useCallback(() => store.reopen(), [store]) };
}

const numbers = new WeakMap<object, number>();
let clients = 0;

/** Tells one client from another in a key, which holds plain values only. */
function numberOf(client: object): number {
  if (!numbers.has(client)) numbers.set(client, (clients += 1));
  return numbers.get(client)!;
}
