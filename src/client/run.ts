/**
 * One answer as its reader sees it: an async iterable of events, over a subscription that reconnects by itself. Each
 * iteration is a viewer of its own, and reads from the beginning. Once an event has arrived, further iterations only
 * follow the generation.
 */
import type { TRPCClient } from '@trpc/client';
import type { Unsubscribable } from '@trpc/server/observable';
import type { CancelOutcome, FollowRequest, LlmEvent, Message, StreamRequest } from '../protocol.ts';
import type { LlmRouter } from '../doors/trpc/router.ts';
import { readObject, readPartials, type DeepPartial } from './answer-object.ts';
import { LlmClientError } from './error.ts';
import { EventQueue, type Arrived } from './event-queue.ts';
import { readMessages } from './history.ts';
import { ToolAnswers, type ToolHandler } from './tool-handlers.ts';

/**
 * An answer. Nothing is sent until it is iterated or one of `text()`, `object()`, `partials()` and `messages()` is called, and each
 * of these opens a subscription of its own.
 *
 * An iteration yields the events, and ends after the terminal one. An `error` event is yielded like any other. The
 * iteration throws an LlmClientError where the service refuses the request, can't be reached, or has lost the answer.
 *
 * Leaving the loop, or aborting the signal, closes the subscription. The service treats that as a lost connection, and
 * does what the config's `on_disconnect` says. To stop the answer, call `cancel()`.
 */
export interface Run<Event = LlmEvent, Object = unknown> extends AsyncIterable<Event> {
  /**
   * The answer's id, in lower case. It is known before anything is sent, unless a thread is followed: then it is empty
   * until the first event has come. Anyone with the same token can follow or cancel by it.
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
  /**
   * Resolves to the object that answers, as the model wrote it and the service judged it, whatever event the request begins after;
   * to undefined where the config has no `output`.
   *
   * @throws LlmClientError as `text()` does; and `output_invalid` where the model refused, where the answer was cut short, and
   *   where it doesn't fit the schema. `error.issues` then says what is wrong, and `error.event` is the `done` event.
   */
  object(): Promise<Object>;
  /**
   * Yields the object as far as it has been written, from its beginning: each time the newest, and at most a hundred in a second;
   * fewer where it is long.
   * A text may be a part of itself, and other values are whole. None of them was judged, and they end with the answer, whatever
   * became of the object: `object()` has the judged one. A yielded value doesn't change; the next one shares with it what stayed
   * the same.
   *
   * @throws LlmClientError as `text()` does.
   */
  partials(): AsyncIterable<DeepPartial<Object>>;
  /**
   * Resolves to the answer as messages, to be appended to those of the request for the next one: the model's, its calls of tools
   * and their results. Calls whose result clients don't get are left out, with the thinking of the answer. A call that still waits
   * for a client is the last block: the next request's message begins with its `tool_result`.
   *
   * @throws LlmClientError as `text()` does.
   */
  messages(): Promise<Message[]>;
}

/**
 * The state of a connection: `connecting` before the service has answered, `live` since, `reconnecting` after it was lost, until the
 * service has answered again.
 */
export type ConnectionState = 'connecting' | 'live' | 'reconnecting';

/** Options of one answer. */
export interface RunOptions<Handlers = object> {
  /** When it aborts, the subscription is closed, and iterations, `text()` and its like throw its reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Answers the calls of the client's tools, each by its name, while the run is iterated. A call is handed to its handler once.
   * Calls that need an approval have no handler: see `resolve`.
   */
  readonly tools?: Handlers | undefined;
  /** Called when the state of the connection changes over which the run is iterated. */
  readonly onConnection?: ((state: ConnectionState) => void) | undefined;
}

/** The procedures that a run calls, with types that fit the configs of any service. */
export type Procedures = TRPCClient<LlmRouter<never>>['llm'];

const known: Readonly<Record<LlmEvent['type'], true>> = {
  start: true,
  text: true,
  thinking: true,
  block: true,
  tool_start: true,
  tool_input: true,
  tool_call: true,
  tool_result: true,
  step: true,
  done: true,
  cancelled: true,
  error: true,
};

/** A request with a `config` begins the answer. One without a `config` follows an answer that was begun elsewhere. */
export function createRun(
  procedures: Procedures,
  request: FollowRequest | (StreamRequest & { readonly generationId: string }),
  { signal, tools = {}, onConnection }: RunOptions,
): Run {
  const cursor = request.lastEventId ?? undefined;
  // In lower case, as the service writes it in `start`. Empty for a thread of which nothing is known yet.
  let generationId = request.generationId?.toLowerCase() ?? (cursor ? generationOf(cursor) : '');
  let lastEventId = cursor;
  let begun = !('config' in request);
  let cancelled = false;
  const answers = new ToolAnswers(tools as Readonly<Record<string, ToolHandler>>, (answer) =>
    procedures.resolve.mutate({ generationId, results: [answer] }),
  );

  function subscribe(queue: EventQueue, after: string | undefined): Unsubscribable {
    const handlers = {
      onData: ({ id, data: event }: { id: string; data: LlmEvent }) => {
        begun = true;
        generationId ||= generationOf(id);
        // A newer service may send kinds of events that this client's types don't have. They are dropped.
        if (!(event.type in known)) return;
        queue.push({ id, event });
        answers.take(event, (error) => queue.fail(error));
      },
      onError: (error: unknown) => queue.fail(refusal(LlmClientError.from(error))),
      onComplete: () => queue.end(),
      onConnectionStateChange: ({ state, error }: { readonly state: string; readonly error: unknown }) => {
        if (state === 'pending') onConnection?.('live');
        else if (state === 'connecting') onConnection?.(error ? 'reconnecting' : 'connecting');
      },
    };
    // A request that names an event is for an answer that has begun.
    if (!begun && after === cursor) return procedures.stream.subscribe(request as never, handlers);
    const followed = generationId === '' ? { thread: request.thread! } : { generationId };
    return procedures.follow.subscribe({ ...followed, lastEventId: after }, handlers);
  }

  /** The id of the answer; of a thread that was not read yet, of its newest one. */
  async function idOf(): Promise<string> {
    if (generationId !== '') return generationId;
    const [newest] = await procedures.generations.query({ thread: request.thread, limit: 1 });
    if (!newest) throw new LlmClientError('generation_not_found', 'The thread has no generation that is kept');
    return newest.generationId;
  }

  /**
   * Where a cancel reaches the service before the start, the service bars the id and then refuses the start. To the
   * reader that is a cancel.
   */
  function refusal(error: LlmClientError): LlmClientError {
    if (!cancelled || begun || error.code !== 'generation_not_found') return error;
    return new LlmClientError('cancelled', 'The answer was cancelled before it began', { cause: error });
  }

  async function* iterate(from: 'cursor' | 'start', queue = new EventQueue()): AsyncGenerator<LlmEvent> {
    const after = from === 'cursor' ? cursor : undefined;
    // `throwIfAborted` is missing in React Native.
    if (signal?.aborted) throw signal.reason;
    const abort = () => queue.abort(signal?.reason);
    signal?.addEventListener('abort', abort);
    const leave = answers.enter();
    const subscription = subscribe(queue, after);
    try {
      let last: Arrived | undefined;
      for await (last of queue.read()) {
        lastEventId = last.id;
        yield last.event;
        if (isTerminal(last.event)) return;
      }
      // After a cursor at the terminal event there are no events. Any other stream without a terminal event was cut
      // off.
      if (last || !after) throw new LlmClientError('unreachable', 'The events stopped before the terminal event');
    } finally {
      signal?.removeEventListener('abort', abort);
      subscription.unsubscribe();
      leave();
    }
  }

  return {
    get generationId() {
      return generationId;
    },
    get lastEventId() {
      return lastEventId;
    },
    [Symbol.asyncIterator]: () => iterate('cursor'),
    async cancel() {
      cancelled = true;
      try {
        return (await procedures.cancel.mutate({ generationId: await idOf() })).outcome;
      } catch (thrown) {
        const error = LlmClientError.from(thrown);
        if (error.code === 'generation_not_found' && !begun) return 'cancelled';
        throw error;
      }
    },
    async text() {
      let text = '';
      for await (const event of iterate('cursor')) {
        if (event.type === 'text') text += event.text;
        else if (event.type === 'error' || event.type === 'cancelled') throw LlmClientError.fromEvent(event);
      }
      return text;
    },
    object: () => readObject(iterate('start')),
    partials() {
      const queue = new EventQueue();
      return readPartials(iterate('start', queue), queue);
    },
    messages: () => readMessages(iterate('start')),
  };
}

/** The generation of an event. For everyone but this client, which is released with the service, an event id is opaque. */
function generationOf(eventId: string): string {
  return eventId.slice(0, eventId.lastIndexOf(':')).toLowerCase();
}

function isTerminal({ type }: LlmEvent): boolean {
  return type === 'done' || type === 'cancelled' || type === 'error';
}
