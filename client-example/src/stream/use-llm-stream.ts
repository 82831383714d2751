/**
 * One answer on this page: `useAnswer` of `llm-service/react`, with the answers that this browser keeps, and with the rule that
 * only a person starts one.
 */
import type { LlmClient } from 'llm-service/client';
import { useAnswer, type LiveAnswerState, type UseAnswerOptions } from 'llm-service/react';
import { useCallback, useLayoutEffect, useSyncExternalStore } from 'react';
import type { AppRouter } from '../../../llm.config.ts';
import type { StreamInput } from '../page/trpc.ts';
import { hasEnded } from './answer.ts';
import { AnswerStore, answerStore, type LiveAnswer } from './answer-store.ts';

/** The input of `llm.stream`, with the id that makes the request safe to repeat. */
export type LlmRequest = StreamInput & { readonly generationId: string };

export interface LlmStreamOptions extends Pick<UseAnswerOptions, 'onEvent'> {
  /** When somebody asked for it, in this tab or another one; undefined if that is not known. */
  readonly askedAtMs?: number | undefined;
}

export interface LlmStream extends LiveAnswer, Pick<LiveAnswerState, 'running' | 'stop' | 'resolve'> {
  /** Asks for the remaining events again, after the client has given up the connection. */
  readonly reopen: () => void;
}

/** Used without a request: there is nothing to show. */
const nothing = new AnswerStore('none');

/**
 * The answer to a request. It continues the answer that this browser has stored, from the cursor stored with it, and starts a new
 * one only if `answerStore(generationId).ask()` was called because the person asked. In all other cases it follows the answer, if
 * the service still has it.
 *
 * @param request May change at any time. Each generationId is asked for once.
 */
export function useLlmStream(
  llm: LlmClient<AppRouter>,
  request: LlmRequest | undefined,
  { askedAtMs, onEvent }: LlmStreamOptions = {},
): LlmStream {
  const generationId = request?.generationId;
  const store = generationId === undefined ? nothing : answerStore(generationId);
  const shown = useSyncExternalStore(store.subscribe, store.get);
  const running = request !== undefined && !hasEnded(shown.answer);

  const follow = running ? { generationId: request.generationId } : undefined;
  const live = useAnswer(llm, running && store.starts ? request : follow, { initial: store.get().answer, onEvent });
  const { answer, connection, stopping, stop, reopen, resolve } = live as LiveAnswerState;
  useLayoutEffect(() => {
    if (!running) return;
    if (answer.error?.code === 'generation_not_found' && store.awaitStart(askedAtMs, reopen)) return;
    store.take({ answer, connection, stopping });
  }, [running, store, answer, connection, stopping, askedAtMs, reopen]);

  return {
    ...shown,
    running,
    // The client has tried for long to reach the service: the answer goes on, and the button can be pressed again.
    stop: useCallback(() => stop().catch(() => {}), [stop]),
    resolve,
    reopen: useCallback(() => store.reopen(), [store]),
  };
}
