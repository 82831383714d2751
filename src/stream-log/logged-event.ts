/** The events of a stream log in the form in which viewers and doors take them: each under its id, as an object or as JSON. */
import type { LlmEvent } from '../protocol.ts';

/**
 * Some events of a log, in order. Adjacent text of one block is merged into one event, under the id of the last piece of
 * text that it holds.
 */
export type LogBatch = readonly LoggedEvent[];

/**
 * An event under its id. The log makes it from the event, from the event's JSON or from both, whichever it has at hand.
 * Viewers that stand at the same place in the log share one, so the missing form is made once, however many viewers there are.
 */
export class LoggedEvent {
  /** The event id: `<generationId>:<offset>`. */
  readonly id: string;
  /** Whether it is the terminal event, which is the last of its log. */
  readonly terminal: boolean;
  #event: LlmEvent | undefined;
  #json: string | undefined;

  /** At least one of `event` and `json` must be given. */
  constructor(id: string, terminal: boolean, event: LlmEvent | undefined, json: string | undefined) {
    this.id = id;
    this.terminal = terminal;
    this.#event = event;
    this.#json = json;
  }

  /** All viewers share this object: nobody may change it, or hand it to code that might. */
  get event(): LlmEvent {
    return (this.#event ??= JSON.parse(this.#json!) as LlmEvent);
  }

  /** The event as a new object, which belongs to whoever asked for it. */
  copy(): LlmEvent {
    return JSON.parse(this.json) as LlmEvent;
  }

  get json(): string {
    return (this.#json ??= jsonOf(this.#event!));
  }
}

/** The event's JSON. The object around a text is written by hand, since `JSON.stringify` of an object costs several times as much as of a string. */
function jsonOf(event: LlmEvent): string {
  if (event.type !== 'text' && event.type !== 'thinking' && event.type !== 'tool_input') return JSON.stringify(event);
  return `{"type":"${event.type}","index":${event.index},"text":${JSON.stringify(event.text)}}`;
}

/**
 * Returns a function that calls `make` once for all viewers that pass the same batch one after the other. It keeps only the
 * last batch and what was made of it, so it holds no other batch in memory.
 *
 * @param make Makes a door's form of a batch. It depends on nothing but the batch and `variant`, which a door passes where
 *   it has several forms of one batch.
 */
export function onceForBatch<T>(
  make: (batch: LogBatch, variant: string) => T,
): (batch: LogBatch, variant?: string) => T {
  let last: { readonly batch: LogBatch; readonly variant: string; readonly made: T } | undefined;
  return (batch, variant = '') => {
    if (last?.batch !== batch || last.variant !== variant) last = { batch, variant, made: make(batch, variant) };
    return last.made;
  };
}
