/**
 * Answers as React state, for React 18 and 19: `useAnswer`. It needs a client of `llm-service/client` and no React package of
 * tRPC's. The state is folded from the events by `answer`, which apps with events from elsewhere can use by itself.
 */
import { useCallback, useInsertionEffect, useState, useSyncExternalStore } from 'react';
import type { AnyTRPCRouter } from '@trpc/server';
import type { LlmClient } from './client/llm-client.ts';
import type { ConnectionState } from './client/run.ts';
import type { ToolHandlers } from './client/tool-handlers.ts';
import type { ConfigsOf, EventsOf, InputFor, ObjectOf, ToolTypesOf } from './doors/trpc/router-answers.ts';
import type { CallAnswer, FollowRequest, LlmEvent } from './protocol.ts';
import type { Answer } from './react/answer.ts';
import { LiveAnswer, type AnswerClient, type AnswerRequest, type LiveAnswerOptions } from './react/live-answer.ts';
import { sameValue } from './react/same-value.ts';

export { answer, emptyAnswer } from './react/answer.ts';
export type {
  Answer,
  AnswerError,
  AnswerStatus,
  BlockPart,
  CallPart,
  CallState,
  OutputIn,
  Part,
  TextPart,
  ToolCallPart,
  TrackedEvent,
} from './react/answer.ts';
export type { ConnectionState } from './client/run.ts';

/** Options of `useAnswer`. They may be other objects at each render. */
export interface UseAnswerOptions<Event = LlmEvent, Handlers = object> {
  /** Answers the calls of the client's tools, each by its name. Calls without a handler are in `answer.pending`. */
  readonly tools?: Handlers | undefined;
  /**
   * The answer as it was kept, for instance in the browser's storage. It is shown at once, and the request goes on after its last
   * event. It is ignored unless the request has a `generationId` and this is that generation's.
   */
  readonly initial?: Answer | undefined;
  /** Called with each event when it arrives, before it is shown. */
  readonly onEvent?: ((event: Event) => void) | undefined;
}

/** What `useAnswer` returns. */
export interface LiveAnswerState<Event = LlmEvent, Object = unknown> {
  /** The answer so far. */
  readonly answer: Answer<Event, Object>;
  /** Whether more of it can arrive. */
  readonly running: boolean;
  /** The state of the connection, while `running`. The client reconnects by itself. */
  readonly connection: ConnectionState;
  /** Whether `stop` was called, and the answer has not ended yet. */
  readonly stopping: boolean;
  /**
   * Stops the answer, and its cost. The text so far stays. Resolves when the service has closed the call upstream.
   *
   * @throws LlmClientError where the service can't be reached. Then the answer goes on.
   */
  readonly stop: () => Promise<void>;
  /**
   * Without an argument: asks for the rest again, after the client has given up, or repeats a request that was refused. It never
   * starts a second generation. With one: follows that generation instead, for instance after a reload, until the request changes.
   */
  readonly reopen: (request?: FollowRequest) => void;
  /**
   * Answers calls that wait for this client, those of `answer.pending`: with a result, an error or an approval. Of several answers
   * the first counts, also of those from other tabs; then the result is among the events.
   *
   * @throws LlmClientError where the service takes no such answer, or can't be reached.
   */
  readonly resolve: (answers: CallAnswer | readonly CallAnswer[]) => Promise<void>;
}

/**
 * The answer to a request, as state.
 *
 * It asks once for each request, however often React mounts the component: in StrictMode, too. A request is compared by value. If
 * it changes, the hook asks anew, and leaves the answer before it to its config's `on_disconnect`, as it does when the component
 * unmounts. A request with a `generationId` is safe to repeat: a component that mounts again, or a second one, shows the same
 * answer, and nothing is paid twice.
 *
 * Rendering keeps pace with the screen: however many events arrive, the component renders once in a frame, and less often where its
 * frames take long.
 *
 * @param llm The client. With another one, for instance with a new token, the same answer goes on.
 * @param request What to ask; `{generationId}` alone to follow an answer that was begun elsewhere; undefined for nothing.
 */
export function useAnswer<TRouter extends AnyTRPCRouter, const Name extends ConfigsOf<TRouter> = ConfigsOf<TRouter>>(
  llm: LlmClient<TRouter>,
  request: ({ readonly config: Name } & InputFor<TRouter, Name>) | FollowRequest | undefined,
  options: UseAnswerOptions<EventsOf<TRouter, Name>, ToolHandlers<ToolTypesOf<TRouter, Name>>> = {},
): LiveAnswerState<EventsOf<TRouter, Name>, ObjectOf<TRouter, Name>> {
  const asked = request as AnswerRequest | undefined;
  const given = options as LiveAnswerOptions;
  const client = llm as unknown as AnswerClient;
  const [held, hold] = useState(() => new LiveAnswer(asked, given));
  let live = held;
  if (!sameValue(held.asked, asked)) {
    live = new LiveAnswer(asked, given);
    hold(live);
  }
  const subscribe = useCallback((listener: () => void) => live.subscribe(client, listener), [live, client]);
  const shown = useSyncExternalStore(subscribe, live.get, live.getFirst);
  // The first effect of a commit, and none on a server: from then on a handler sees what is on the screen.
  useInsertionEffect(() => {
    live.options = given;
  });
  const { stop, reopen, resolve } = live;
  return { ...shown, stop, reopen, resolve } as unknown as LiveAnswerState<
    EventsOf<TRouter, Name>,
    ObjectOf<TRouter, Name>
  >;
}
