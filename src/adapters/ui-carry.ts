/**
 * Carries the events of a generation to whoever shows a message: as chunks, up to the terminal event, or to the moment when the
 * generation waits for its client. What transports and doors share; knows neither of them, and no clock.
 */
import type { LlmEvent, TerminalEvent } from '../protocol.ts';
import type { UiChunks } from './ui-chunks.ts';
import type { UIMessageChunk } from './ui-message.ts';

/** The events of a generation, batch by batch. */
export type Batches = AsyncIterator<readonly LlmEvent[], undefined>;

/** The terminal event; `waits` where the client is to answer calls; undefined where the events broke off. */
export type CarriedTo = TerminalEvent | 'waits' | undefined;

/**
 * Yields the chunks of each batch of events.
 *
 * Where the generation waits for its client, the message is ended, because `useChat` sends nothing while a message is open. The events
 * are read on until something happens, then they are left: without a viewer the generation would be cancelled while somebody thinks.
 *
 * @param isSoon Whether a promise settles in a moment. A generation that waits for no time at all has its end right behind the call,
 *   and that end has the account.
 */
export async function* carry(
  batches: Batches,
  chunks: UiChunks,
  isSoon: (promise: Promise<unknown>) => Promise<boolean>,
): AsyncGenerator<readonly UIMessageChunk[], CarriedTo> {
  let waits = false;
  try {
    for (let next = batches.next(); ; next = batches.next()) {
      if (chunks.waits && !(await isSoon(next))) {
        waits = true;
        next.then(() => batches.return?.()).catch(() => undefined);
        yield chunks.pause();
        return 'waits';
      }
      const { done, value: events } = await next;
      if (done) return undefined;
      const made = events.flatMap((event) => chunks.of(event));
      if (made.length > 0) yield made;
      const last = events.at(-1);
      if (last && isTerminal(last)) return last;
    }
  } finally {
    if (!waits) await batches.return?.();
  }
}

/** Each event as a batch of its own. */
export function oneByOne(values: AsyncIterator<LlmEvent>): Batches {
  return {
    async next() {
      const { done, value } = await values.next();
      return done ? { done, value: undefined } : { done: false, value: [value] };
    },
    async return() {
      await values.return?.();
      return { done: true, value: undefined };
    },
  };
}

function isTerminal(event: LlmEvent): event is TerminalEvent {
  return event.type === 'done' || event.type === 'cancelled' || event.type === 'error';
}
