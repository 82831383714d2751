/**
 * What a subscription procedure returns. To any tRPC adapter it is an iterable of tracked events; our own doors take
 * the log's batches as they are, and write each in one go. Nothing thrown from here is numbered -32603.
 */
import { tracked, type TrackedEnvelope, type TRPCError } from '@trpc/server';
import type { LlmEvent } from './protocol.ts';
import type { LogBatch } from './stream-log/stream-log.ts';

export interface EventBatchesOptions {
  /** Makes what a batch was refused with fit to be thrown at a client. */
  readonly refusal: (thrown: unknown) => TRPCError;
  /** Called before an event is handed to an adapter that doesn't look whether its socket is full. */
  readonly ready: () => Promise<void> | undefined;
}

export class EventBatches implements AsyncIterable<TrackedEnvelope<LlmEvent>, void, unknown> {
  /** May throw at any `next`; see `refusal`. */
  readonly batches: AsyncIterable<LogBatch>;
  readonly refusal: (thrown: unknown) => TRPCError;
  readonly #ready: EventBatchesOptions['ready'];

  constructor(batches: AsyncIterable<LogBatch>, options: EventBatchesOptions) {
    this.batches = batches;
    this.refusal = options.refusal;
    this.#ready = options.ready;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TrackedEnvelope<LlmEvent>, void, unknown> {
    try {
      for await (const batch of this.batches) {
        for (const { id, event } of batch) {
          await this.#ready();
          yield tracked(id, event);
        }
      }
    } catch (error) {
      throw this.refusal(error);
    }
  }
}
