/**
 * Keeps events between a link, which pushes them, and a `for await`, which pulls them. A piece of text is added to the
 * last waiting event if that is text of the same block, and the event gets the id of the piece. So what waits for a
 * slow reader is the text and a few objects, however many pieces it arrived in.
 */
import type { LlmEvent } from '../protocol.ts';

/** An event with its id. */
export interface Arrived {
  readonly id: string;
  readonly event: LlmEvent;
}

/** It serves one reader. */
export class EventQueue {
  readonly #waiting: Arrived[] = [];
  /** Set once no more events are pushed; with `error` where the iteration throws. */
  #closing: { readonly error?: unknown } | undefined;
  #wake = (): void => {};

  /** Whether an event waits for the reader. */
  get waits(): boolean {
    return this.#waiting.length > 0;
  }

  push(arrived: Arrived): void {
    const last = this.#waiting.at(-1);
    const joined = last && join(last.event, arrived.event);
    if (joined) this.#waiting[this.#waiting.length - 1] = { id: arrived.id, event: joined };
    else this.#waiting.push(arrived);
    this.#wake();
  }

  /** Ends the iteration after the waiting events. */
  end(): void {
    this.#closing ??= {};
    this.#wake();
  }

  /** Makes the iteration throw after the waiting events. */
  fail(error: unknown): void {
    this.#closing ??= { error };
    this.#wake();
  }

  /** Drops the waiting events, and makes the iteration throw at once. */
  abort(error: unknown): void {
    this.#waiting.length = 0;
    this.#closing = { error };
    this.#wake();
  }

  /** A method of this name, since React Native's engine may lack Symbol.asyncIterator. */
  async *read(): AsyncGenerator<Arrived> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next) yield next;
      else if (!this.#closing) await new Promise<void>((resolve) => (this.#wake = resolve));
      else if ('error' in this.#closing) throw this.#closing.error;
      else return;
    }
  }
}

/** Undefined where the events can't be joined. */
function join(before: LlmEvent, event: LlmEvent): LlmEvent | undefined {
  if (event.type !== 'text' && event.type !== 'thinking' && event.type !== 'tool_input') return undefined;
  if (before.type !== event.type || before.index !== event.index) return undefined;
  return { ...event, text: before.text + event.text };
}
