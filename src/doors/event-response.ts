/**
 * Sends the events of a view as one HTTP response of server-sent events, for every door that is plain HTTP. A door says how it
 * writes a batch; it knows neither sockets nor heartbeats. Nothing is sent before the view is open, so a request that is refused
 * is answered with an HTTP status. A view that is open and has no batch yet, since its generation is silent, has its head sent.
 */
import type { FastifyReply } from 'fastify';
import type { Sink } from '../flow/sink.ts';
import { movedAway, type LogView } from '../generations/view.ts';
import type { LogBatch } from '../stream-log/stream-log.ts';
import { SseResponse, type SseOptions } from './sse-response.ts';

/** How one door writes events. */
export interface EventDialect {
  /** The frames of a batch; empty where nothing is to be sent. Called for each viewer, so it is best made by `onceForBatch`. */
  readonly framesOf: (batch: LogBatch) => string;
  /** The frame that a quiet connection sends as a sign of life. */
  readonly heartbeat: string;
  /**
   * Whether a stream that ends before the terminal event is cut off. It is for clients that don't look for a last event, and would take
   * a stream that ends properly for a whole answer.
   */
  readonly cutIfUnfinished?: boolean | undefined;
}

/**
 * Streams a view until it ends or the client leaves. A view without any batch is answered with 204. A view that was moved to
 * another instance just ends, and its client resumes there.
 *
 * @param viewUntil Opens the view. The signal aborts when the client leaves.
 * @throws What the view throws before its first batch; then nothing has been sent.
 */
export async function sendEvents(
  reply: FastifyReply,
  options: SseOptions,
  { framesOf, heartbeat, cutIfUnfinished = false }: EventDialect,
  viewUntil: (signal: AbortSignal) => LogView,
): Promise<void> {
  const stream = new SseResponse(reply.raw, heartbeat, options);
  const view = viewUntil(stream.signal);
  // In a later turn, so that a view whose first batch, or end, is at hand decides about the head itself.
  view.onOpen(() => setImmediate(() => stream.open()));
  let first: IteratorResult<LogBatch>;
  try {
    first = await view.next();
  } catch (error) {
    if (!stream.opened) stream.release();
    else if (cutIfUnfinished) stream.cut();
    else await stream.finish();
    throw error;
  }
  if (first.done && !stream.opened && !stream.signal.aborted) {
    stream.release();
    // The instance is leaving before the view had an event: another one has the answer.
    if (view.moved) throw movedAway();
    // No event follows the terminal one. An EventSource that reconnects stops when it reads this status.
    return reply.code(204).send();
  }
  reply.hijack();
  let whole = !cutIfUnfinished;
  const write: Sink<LogBatch> = (batch) => {
    const last = batch.at(-1)?.terminal;
    if (last) whole = true;
    const frames = framesOf(batch);
    // A chunk without bytes would end the body.
    return frames === '' ? undefined : stream.write(frames, last);
  };
  try {
    if (!first.done) await write(first.value);
    await view.pipe(write);
  } finally {
    await view.return();
    // Where no frame was sent, the head hasn't been either.
    stream.open();
    if (whole) await stream.finish();
    else stream.cut();
  }
}
