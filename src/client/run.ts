/**
 * One answer as its reader sees it: an async iterable of events, over a subscription that comes back by itself. Every
 * iteration is a viewer of its own, from the beginning; once an event has come, further ones only attach.
 */
import type { TRPCClient } from '@trpc/client';
import type { Unsubscribable } from '@trpc/server/observable';
import type { CancelOutcome, FollowRequest, LlmEvent, StreamRequest } from '../protocol.ts';
import type { LlmRouter } from '../doors/trpc/router.ts';
import { LlmClientError } from './error.ts';
import { EventQueue, type Arrived } from './event-queue.ts';

/**
 * Nothing is sent before it is iterated or `text()` is called, and each of those opens a subscription of its own.
 *
 * An iteration yields the events and ends after the terminal one; an `error` event is an event like any other. It
 * throws LlmClientError where the service refused the request, can't be reached, or has lost the answer.
 *
 * Leaving the loop, or aborting the signal, closes the subscription. That is a lost connection to the service, whose
 * config says what follows; to stop the answer, `cancel()`.
 */
export interface Run extends AsyncIterable<LlmEvent> {
  /** Known at once. With it, anyone with the same token can follow or cancel. */
  readonly generationId: string;
  /** The id of the event that an iteration yielded last: where `follow` goes on from. */
  readonly lastEventId: string | undefined;
  /**
   * Stops the answer and closes its connection to the model. Of an answer that hasn't begun, there will be none.
   *
   * @throws LlmClientError
   */
  cancel(): Promise<CancelOutcome>;
  /**
   * The whole text, of all text blocks; `done` with any stop reason makes it whole.
   *
   * @throws LlmClientError also for an answer that ends as `error` (with that one's code) or `cancelled`, for what
   *   there is of it is not its text. `error.event` is the terminal event. Throws the signal's reason if that aborts.
   */
  text(): Promise<string>;
}

export interface RunOptions {
  /** Closes the subscription; what awaits the run throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The client as a run sees it: that of no config in particular. */
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

/** With a `config` in the request the run begins the answer, without one it was begun elsewhere. */
export function createRun(
  procedures: Procedures,
  request: FollowRequest | (StreamRequest & FollowRequest),
  { signal }: RunOptions,
): Run {
  // As the service writes it in `start`.
  const generationId = request.generationId.toLowerCase();
  let lastEventId = request.lastEventId ?? undefined;
  let begun = !('config' in request);
  let cancelled = false;

  function subscribe(queue: EventQueue): Unsubscribable {
    const handlers = {
      onData: ({ id, data: event }: { id: string; data: LlmEvent }) => {
        begun = true;
        // A newer service may send more kinds than these.
        if (event.type in known) queue.push({ id, event });
      },
      onError: (error: unknown) => queue.fail(refusal(LlmClientError.from(error))),
      onComplete: () => queue.end(),
    };
    return begun
      ? procedures.follow.subscribe({ generationId, lastEventId: request.lastEventId }, handlers)
      : procedures.stream.subscribe(request as never, handlers);
  }

  /** A cancel that overtakes its start bars the id; the start is refused then, as it was meant to be. */
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
      // A cursor at the terminal event has nothing to follow it; anything else that just ends was cut short.
      if (last || !request.lastEventId) throw new LlmClientError('unreachable', 'The stream ended without its end');
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
