/**
 * What a subscription procedure returns. A tRPC adapter iterates it and receives tracked events. The service's own doors pipe its
 * `view` instead, and write a batch of the log in one piece. Nothing that it throws has the number -32603.
 */
import { tracked, type TrackedEnvelope, type TRPCError } from '@trpc/server';
import type { LlmEvent } from '../../protocol.ts';
import { movedAway, type LogView } from '../../generations/view.ts';

export interface EventBatchesOptions {
  /** Turns what the view throws into an error that a client may see. */
  readonly refusal: (thrown: unknown) => TRPCError;
  /** Waits until an adapter's socket has room. Called before each event, since tRPC's WebSocket adapter never looks. */
  readonly ready: () => Promise<void> | undefined;
}

export class EventBatches implements AsyncIterable<TrackedEnvelope<LlmEvent>, void, unknown> {
  /** The batches of the log. Whoever pipes them sends what they throw through `refusal` first. */
  readonly view: LogView;
  readonly refusal: (thrown: unknown) => TRPCError;
  readonly #ready: EventBatchesOptions['ready'];

  constructor(view: LogView, options: EventBatchesOptions) {
    this.view = view;
    this.refusal = options.refusal;
    this.#ready = options.ready;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TrackedEnvelope<LlmEvent>, void, unknown> {
    try {
      for await (const batch of this.view) {
        for (const event of batch) {
          await this.#ready();
          // A copy, since a caller within the process may change the object that it receives.
          yield envelope(event.id, forAnyTransformer(event.copy()));
        }
      }
    } catch (error) {
      throw this.refusal(error);
    }
    // At an error of this name tRPC's SSE adapter ends the response as if it were cut, so that an EventSource comes back. Its
    // WebSocket adapter, and callers within the process, pass the error on.
    if (this.view.moved) throw Object.assign(this.refusal(movedAway()), { name: 'AbortError' });
  }
}

/**
 * tRPC's tuple of an event and its id. Adapters unpack the tuple. A caller within the process receives the tuple itself, and tRPC's
 * types promise such a caller the properties `id` and `data`, so they are added.
 */
function envelope(id: string, data: LlmEvent): TrackedEnvelope<LlmEvent> {
  return Object.assign(tracked(id, data), { id, data });
}

/** superjson refuses to encode plain objects with these keys. The input of a tool may have them. */
const refusedKeys = new Set(['__proto__', 'constructor', 'prototype']);
/** With this prototype an object is not plain to superjson, which then passes it on without looking at its keys. JSON is the same. */
const foreignPrototype: object = Object.create(null) as object;

/**
 * The event in a form that any transformer of a host encodes. If the transformer threw, the subscription would end with the number
 * -32603, the client's link would run it again, and it would end at the same event again.
 */
function forAnyTransformer(event: LlmEvent): LlmEvent {
  if (event.type === 'text' || event.type === 'thinking' || event.type === 'tool_input' || !hasRefusedKey(event))
    return event;
  return Object.setPrototypeOf(event, foreignPrototype) as LlmEvent;
}

function hasRefusedKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([key, child]) => refusedKeys.has(key) || hasRefusedKey(child));
}
