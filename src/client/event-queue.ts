/**
 * Between a link, which pushes, and a `for await`, which pulls. A piece of text that finds another one of its block
 * still waiting joins it, under its own id: so what waits for a slow reader is the text itself and a few objects.
 */
import type { LlmEvent } from '../protocol.ts';

export interface Arrived {
  readonly id: string;
  readonly event: LlmEvent;
}

/** For one reader. */
export class EventQueue {
  readonly #waiting: Arrived[] = [];
  #end: { readonly error?: unknown } | undefined;
  #wake = (): void => {};

  push(arrived: Arrived): void {
    const last = this.#waiting.at(-1);
    const joined = last && join(last.event, arrived.event);
    if (joined) this.#waiting[this.#waiting.length - 1] = { id: arrived.id, event: joined };
    else this.#waiting.push(arrived);
    this.#wake();
  }

  /** Ends the iteration once all that waits has been read. */
  end(): void {
    this.#end ??= {};
    this.#wake();
  }

  /** Likewise, with a throw. */
  fail(error: unknown): void {
    this.#end ??= { error };
    this.#wake();
  }

  /** Drops what waits and throws at once. */
  abort(error: unknown): void {
    this.#waiting.length = 0;
    this.#end = { error };
    this.#wake();
  }

  /** Not under Symbol.asyncIterator, which React Native's engine may lack. */
  async *read(): AsyncGenerator<Arrived> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next) yield next;
      else if (!this.#end) await new Promise<void>((resolve) => (this.#wake = resolve));
      else if ('error' in this.#end) throw this.#end.error;
      else return;
    }
  }
}

function join(before: LlmEvent, event: LlmEvent): LlmEvent | undefined {
  if (event.type !== 'text' && event.type !== 'thinking') return undefined;
  if (before.type !== event.type || before.index !== event.index) return undefined;
  return { ...event, text: before.text + event.text };
}
