/**
 * One answer as its reader sees it: an async iterable of events, over a subscription that reconnects by itself. Each
 * iteration is a viewer of its own, and reads from the beginning. Once an event has arrived, further iterations only
 * follow the generation.
 */
import type { TRPCClient } from '@trpc/client';
import type { Unsubscribable } from '@trpc/server/observable';
import type { CancelOutcome, FollowRequest, LlmEvent, StreamRequest } from '../protocol.ts';
import type { LlmRouter } from '../doors/trpc/router.ts';
import { LlmClientError } from './error.ts';
import { EventQueue, type Arrived } from './event-queue.ts';

/**
 * An answer. Nothing is sent until it is iterated or `text()` is called, and each of these opens a subscription of its
 * own.
 *
 * An iteration yields the events, and ends after the terminal one. An `error` event is yielded like any other. The
 * iteration throws an LlmClientError where the service refuses the request, can't be reached, or has lost the answer.
 *
 * Leaving the loop, or aborting the signal, closes the subscription. The service treats that as a lost connection, and
 * does what the config's `on_disconnect` says. To stop the answer, call `cancel()`.
 */
export interface Run extends AsyncIterable<LlmEvent> {
  /**
   * The answer's id, in lower case. It is known before anything is sent. Anyone with the same token can follow or
   * cancel by it.
   */
  readonly generationId: string;
  /**
   * The id of the event that an iteration yielded last; before the first one, the `lastEventId` of the request.
   * `follow` continues after it.
   */
  readonly lastEventId: string | undefined;
  /**
   * Stops the answer, and closes its connection to the model. An answer that hasn't begun will never begin.
   *
   * @returns `cancelled`; or `already_ended` where the answer had ended before, in any way.
   * @throws LlmClientError
   */
  cancel(): Promise<CancelOutcome>;
  /**
   * Resolves to the text of all text blocks, when the answer is `done` with any stop reason.
   *
   * @throws LlmClientError also where the answer ends as `error`, with its code, or as `cancelled`, since a part of a
   *   text is not the text. `error.event` is the terminal event. The signal's reason where that aborts.
   */
  text(): Promise<string>;
}

/** Options of one answer. */
export interface RunOptions {
  /** When it aborts, the subscription is closed, and iterations and `text()` throw its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The procedures that a run calls, with types that fit the configs of any service. */
export type Procedures = TRPCClient<LlmRouter<never>>['llm'];

const known: Readonly<Record<LlmEvent['type'], true>> = {
  start: true,
  text: true,
  thinking: true,
  block: true,
  done: true,
  cancelled: true,
  error: true,
};

/** A request with a `config` begins the answer. One without a `config` follows an answer that was begun elsewhere. */
export function createRun(
  procedures: Procedures,
  request: FollowRequest | (StreamRequest & FollowRequest),
  { signal }: RunOptions,
): Run {
  // In lower case, as the service writes it in `start`.
  const generationId = request.generationId.toLowerCase();
  let lastEventId = request.lastEventId ?? undefined;
  let begun = !('config' in request);
  let cancelled = false;

  function subscribe(queue: EventQueue): Unsubscribable {
    const handlers = {
      onData: ({ id, data: event }: { id: string; data: LlmEvent }) => {
        begun = true;
        // A newer service may send kinds of events that this client's types don't have. They are dropped.
        if (event.type in known) queue.push({ id, event });
      },
      onError: (error: unknown) => queue.fail(refusal(LlmClientError.from(error))),
      onComplete: () => queue.end(),
    };
    return begun
      ? procedures.follow.subscribe({ generationId, lastEventId: request.lastEventId }, handlers)
      : procedures.stream.subscribe(request as never, handlers);
  }

  /**
   * Where a cancel reaches the service before the start, the service bars the id and then refuses the start. To the
   * reader that is a cancel.
   */
  function refusal(error: LlmClientError): LlmClientError {
    if (!cancelled || begun || error.code !== 'generation_not_found') return error;
    return new LlmClientError('cancelled', 'The answer was cancelled before it began', { cause: error });
  }

  async function* iterate(): AsyncGenerator<LlmEvent> {
    // `throwIfAborted` is missing in React Native.
    if (signal?.aborted) throw signal.reason;
    const queue = new EventQueue();
    const abort = () => queue.abort(signal?.reason);
    signal?.addEventListener('abort', abort);
    const subscription = subscribe(queue);
    try {
      let last: Arrived | undefined;
      for await (last of queue.read()) {
        lastEventId = last.id;
        yield last.event;
        if (isTerminal(last.event)) return;
      }
      // After a cursor at the terminal event there are no events. Any other stream without a terminal event was cut
      // off.
      if (last || !request.lastEventId)
        throw new LlmClientError('unreachable', 'The events stopped before the terminal event');
    } finally {
      signal?.removeEventListener('abort', abort);
      subscription.unsubscribe();
    }
  }

  return {
    generationId,
    get lastEventId() {
      return lastEventId;
    },
    [Symbol.asyncIterator]: iterate,
    async cancel() {
      cancelled = true;
      try {
        return (await procedures.cancel.mutate({ generationId })).outcome;
      } catch (thrown) {
        const error = LlmClientError.from(thrown);
        if (error.code === 'generation_not_found' && !begun) return 'cancelled';
        throw error;
      }
    },
    async text() {
      let text = '';
      for await (const event of iterate()) {
        if (event.type === 'text') text += event.text;
        else if (event.type === 'error' || event.type === 'cancelled') throw LlmClientError.fromEvent(event);
      }
      return text;
    },
  };
}

function isTerminal({ type }: LlmEvent): boolean {
  return type === 'done' || type === 'cancelled' || type === 'error';
}
