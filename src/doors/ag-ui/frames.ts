/**
 * A view as frames of AG-UI events, each under a cursor from which the stream can go on. One for each viewer, since what an event
 * becomes depends on what the viewer has seen. Knows no sockets.
 */
import { AgUiEncoder, type AgUiIds } from '../../adapters/ag-ui/encoder.ts';
import { parseEventId } from '../../protocol.ts';
import type { LogBatch } from '../../stream-log/stream-log.ts';
import { cursorAtFirst, formatCursor, type Cursor } from './cursor.ts';

export class AgUiFrames {
  readonly #encoder: AgUiEncoder;
  /** After the events that were sent whole. */
  #cursor: Cursor;

  /** @param cursor Where the client stands; its first event must be the one that follows `cursor.id`. */
  constructor(ids: AgUiIds, cursor: Cursor = cursorAtFirst) {
    const generationId = parseEventId(cursor.id)?.generationId;
    this.#encoder = new AgUiEncoder(
      ids,
      generationId === undefined ? undefined : { generationId, state: cursor.state },
    );
    this.#cursor = cursor;
  }

  framesOf(batch: LogBatch): string {
    let frames = '';
    for (const logged of batch) frames += this.#framesOf(logged);
    return frames;
  }

  #framesOf({ id, event, terminal }: LogBatch[number]): string {
    const before = this.#cursor;
    const events = this.#encoder.encode(event);
    const { state } = this.#encoder;
    const after: Cursor = { id, state, skip: 0, repeats: 0 };
    let frames = '';
    for (let at = before.skip; at < events.length; at += 1) {
      const isLast = at === events.length - 1;
      // From the last event of all, a client that comes back is sent that event again. TanStack's adapter takes a stream without an
      // event for a failure, and an event under an id that it knows for none.
      const cursor =
        isLast && terminal
          ? { ...before, skip: at, repeats: before.repeats + 1 }
          : isLast
            ? after
            : { ...before, skip: at + 1 };
      frames += `id: ${formatCursor(cursor)}\ndata: ${JSON.stringify(events[at])}\n\n`;
    }
    this.#cursor = after;
    return frames;
  }
}
