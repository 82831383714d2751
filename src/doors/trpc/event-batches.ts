/**
 * What a subscription procedure returns. To any tRPC adapter it is an iterable of tracked events; our own doors take
 * the log's batches as they are, and write each in one go. Nothing thrown from here is numbered -32603.
 */
import { tracked, type TrackedEnvelope, type TRPCError } from '@trpc/server';
import type { LlmEvent } from '../../protocol.ts';
import type { LogView } from '../../generations/view.ts';

export interface EventBatchesOptions {
  /** Makes what a batch was refused with fit to be thrown at a client. */
  readonly refusal: (thrown: unknown) => TRPCError;
  /** Called before an event is handed to an adapter that doesn't look whether its socket is full. */
  readonly ready: () => Promise<void> | undefined;
}

export class EventBatches implements AsyncIterable<TrackedEnvelope<LlmEvent>, void, unknown> {
  /** May throw what is to be told as `refusal` makes it. */
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
          // Whoever iterates within the process may do with it as they like.
          yield envelope(event.id, forAnyTransformer(event.copy()));
        }
      }
    } catch (error) {
      throw this.refusal(error);
    }
  }
}

/**
 * Adapters unpack the tuple; a caller in this process gets the envelope as it is, of which tRPC's types say that it has
 * `id` and `data`. So it has both.
 */
function envelope(id: string, data: LlmEvent): TrackedEnvelope<LlmEvent> {
  return Object.assign(tracked(id, data), { id, data });
}

/** superjson refuses to encode plain objects with these keys, which the input of a tool may well have. */
const refusedKeys = new Set(['__proto__', 'constructor', 'prototype']);
/** As objects of another realm have it: transformers take them as they are, and JSON doesn't care. */
const foreignPrototype: object = Object.create(null) as object;

/**
 * The event, in a form that whatever transformer a host has will encode. One that threw would end the subscription under
 * -32603, and so for ever again at the same event.
 */
function forAnyTransformer(event: LlmEvent): LlmEvent {
  if (event.type === 'text' || event.type === 'thinking' || !hasRefusedKey(event)) return event;
  return Object.setPrototypeOf(event, foreignPrototype) as LlmEvent;
}

function hasRefusedKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([key, child]) => refusedKeys.has(key) || hasRefusedKey(child));
}
