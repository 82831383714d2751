/**
 * The object of an answer whose config has an `output`: the text of its last text block, which is JSON. The service judges it, and
 * says in `done` what became of it. Nothing here repairs a text.
 */
import type { DoneEvent, LlmEvent } from '../protocol.ts';
import { LlmClientError } from './error.ts';
import type { EventQueue } from './event-queue.ts';
import { PartialJson } from './partial-json.ts';

/** A value of which any part may be missing, since it is still being written. */
export type DeepPartial<Value> = Value extends readonly (infer Item)[]
  ? readonly DeepPartial<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]?: DeepPartial<Value[Key]> }
    : Value;

/**
 * The object, once the answer is done; undefined where its config has no `output`.
 *
 * @throws LlmClientError
 */
export async function readObject(events: AsyncIterable<LlmEvent>): Promise<unknown> {
  let text = '';
  let last = -1;
  for await (const event of events) {
    if (event.type === 'text') {
      // Before a call of a tool the model may write another text.
      text = event.index === last ? text + event.text : event.text;
      last = event.index;
    } else if (event.type === 'done') return objectIn(text, event);
    else if (event.type === 'error' || event.type === 'cancelled') throw LlmClientError.fromEvent(event);
  }
  return undefined;
}

/**
 * The least time between two partial objects, in milliseconds. Each costs a copy of the lists and objects that are still open, so
 * the time grows with the text: with a fixed one, all copies of a long object together would grow with the square of its length.
 */
const pauseMs = (chars: number) => Math.max(10, chars / 5_000);

/**
 * The object as far as it has been written, whenever the reader asks for it and it has grown. What arrives meanwhile is in the
 * next one.
 *
 * @param queue Where the events wait.
 * @throws LlmClientError
 */
export async function* readPartials(events: AsyncIterable<LlmEvent>, queue: EventQueue): AsyncGenerator {
  let json = new PartialJson();
  let last = -1;
  let chars = 0;
  for await (const event of events) {
    if (event.type === 'text') {
      if (event.index !== last) json = new PartialJson();
      last = event.index;
      chars += event.text.length;
      json.push(event.text);
    } else if (event.type === 'error' || event.type === 'cancelled') throw LlmClientError.fromEvent(event);
    if (!json.changed || (queue.waits && event.type !== 'done')) continue;
    yield json.take();
    if (event.type !== 'done') await new Promise((resolve) => setTimeout(resolve, pauseMs(chars)));
  }
}

const failures = {
  refused: 'The model refused to answer',
  cut: 'The answer was cut short before its object was whole',
  invalid: 'The object does not fit its schema',
} as const;

function objectIn(text: string, done: DoneEvent): unknown {
  const { object, issues, stopReason } = done;
  if (object === undefined) return undefined;
  if (object !== 'valid') {
    const reasons = object === 'cut' ? [String(stopReason)] : (issues ?? []).map(inWords);
    const message = [failures[object] ?? 'There is no object', reasons.join('; ')].filter(Boolean).join(': ');
    throw new LlmClientError('output_invalid', message, { event: done, issues });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LlmClientError('output_invalid', 'The text of the answer is not JSON', { event: done, cause });
  }
}

function inWords({ path, message }: { readonly path: string; readonly message: string }): string {
  return path === '' ? message : `${path}: ${message}`;
}
