/**
 * An answer as an app shows it, folded from its events. Pure: knows no connection and no React. An app that has events from
 * elsewhere, such as a stock tRPC client, folds them with the same function.
 */
import type { DeepPartial } from '../client/answer-object.ts';
import { PartialJson } from '../client/partial-json.ts';
import type { LlmClientErrorCode } from '../client/error.ts';
import type {
  InputIssue,
  LlmEvent,
  StartEvent,
  TerminalEvent,
  Timing,
  ToolCallError,
  ToolCallEvent,
  ToolStartEvent,
  ToolResultEvent,
  Usage,
} from '../protocol.ts';

/**
 * What becomes of an answer:
 *
 * - `idle`: nothing was asked.
 * - `waiting`: asked, and no event has arrived.
 * - `running`: events arrive.
 * - `done`, `cancelled`, `error`: it has ended. `error` also stands for a request that the service refused, and for an answer that
 *   the client has lost.
 */
export type AnswerStatus = 'idle' | 'waiting' | 'running' | 'done' | 'cancelled' | 'error';

/** Text or thinking: the pieces of one content block, joined. */
export interface TextPart {
  /** Which of the two it is. */
  readonly kind: 'text' | 'thinking';
  /** Index of the content block, as upstream numbers it. */
  readonly index: number;
  /** What has arrived of it. */
  readonly text: string;
}

/** Any other content block, whole. */
export interface BlockPart {
  /** Always `block`. */
  readonly kind: 'block';
  /** Index of the content block, as upstream numbers it. */
  readonly index: number;
  /** The block as upstream sent it, under upstream's own field names. */
  readonly block: Readonly<Record<string, unknown>>;
}

/**
 * Where the call of a tool is: the model `writing` it, the service `running` it, the answer `waiting` for a client's result or for
 * an approval, and in the end `done` or `failed`.
 */
export type CallState = 'writing' | 'running' | 'waiting' | 'done' | 'failed';

/** The call of a tool, from its beginning to its result. */
export interface ToolCallPart<Name extends string = string, Input = unknown, Output = unknown> {
  /** Always `call`. */
  readonly kind: 'call';
  /** Index of the content block that the call is. */
  readonly index: number;
  /** Upstream's id of the call. An answer to it names it. */
  readonly id: string;
  /** Name of the tool, as the config has it. */
  readonly name: Name;
  /** Where the call is. */
  readonly state: CallState;
  /** The JSON of the input while the model writes it, where the tool lets clients see it. */
  readonly draft?: string | undefined;
  /** What the model gives to the tool; absent while it is being written. */
  readonly input?: Input | undefined;
  /** Who executes it: the service or a client; absent while it is being written. */
  readonly by?: ToolCallEvent['by'] | undefined;
  /** Set where the service waits for an approval before it executes the tool. */
  readonly approval?: true | undefined;
  /** The result; absent where the tool doesn't declare its `output`. */
  readonly output?: Output | undefined;
  /** Why there is no result, where `state` is `failed`. */
  readonly error?: ToolCallError | undefined;
}

/** What the events of a config give as the result of one tool. */
export type OutputIn<Event, Name> = Event extends {
  type: 'tool_result';
  ok: true;
  name: infer Own;
  output?: infer Output;
}
  ? Name extends Own
    ? Output
    : never
  : never;

/** The calls of a config's tools, by the events of its answers: `name` narrows `input` and `output`. */
export type CallPart<Event = LlmEvent, All = Event> = Event extends ToolCallEvent
  ? ToolCallPart<Event['name'], Event['input'], OutputIn<All, Event['name']>>
  : never;

/** One part of an answer. */
export type Part<Event = LlmEvent> = TextPart | BlockPart | CallPart<Event>;

/** Why an answer has failed. Plain data, so that it can be stored with the answer. */
export interface AnswerError {
  /** Programs decide by this field; `message` is for people. */
  readonly code: LlmClientErrorCode;
  /** What people read. */
  readonly message: string;
  /** Whether the same request can succeed later. */
  readonly retryable: boolean;
  /** How long to wait before that, in milliseconds; absent where the service did not say. */
  readonly retryAfterMs?: number | undefined;
  /** What is wrong with the input, where `code` is `invalid_input`. */
  readonly issues?: readonly InputIssue[] | undefined;
}

/**
 * An answer so far. Plain data: it can be stored as JSON and shown again. Whatever stayed the same from one to the next is the
 * same object, so that a component for one part renders only where that part has changed.
 */
export interface Answer<Event = LlmEvent, Object = unknown> {
  /** Where the answer is. */
  readonly status: AnswerStatus;
  /** The answer's id. Whoever has it, and the same token, can follow the answer. */
  readonly generationId?: string | undefined;
  /** The id of the last event that is in this answer; where ids are known. `follow` continues after it. */
  readonly lastEventId?: string | undefined;
  /** The text of all text blocks, as `run.text()` resolves to it. */
  readonly text: string;
  /** The thinking that clients are shown. */
  readonly thinking: string;
  /** Everything in reading order: text, thinking, calls and other blocks. */
  readonly parts: readonly Part<Event>[];
  /** Those parts that are neither text nor thinking nor calls. */
  readonly blocks: readonly BlockPart[];
  /** Those parts that are calls of tools. */
  readonly calls: readonly CallPart<Event>[];
  /** Those calls that wait for a client: for a result or for an approval. */
  readonly pending: readonly CallPart<Event>[];
  /**
   * The object as far as it has been written, where the config has an `output`. The service has judged it once `status` is `done`:
   * `terminal.object` says whether it fits its schema.
   */
  readonly object?: DeepPartial<Object> | undefined;
  /** The `start` event. */
  readonly start?: StartEvent | undefined;
  /** The event that ended the answer. */
  readonly terminal?: TerminalEvent | undefined;
  /** Why the answer has failed, where `status` is `error`. */
  readonly error?: AnswerError | undefined;
  /** The tokens of the answer, once a terminal event has arrived. */
  readonly usage?: Usage | undefined;
  /** Its cost in US dollars, once a terminal event has arrived; null where the price of the model is unknown. */
  readonly costUsd?: number | null | undefined;
  /** How long it took, once a terminal event has arrived. */
  readonly timing?: Timing | undefined;
}

/** An event with its id, as a stock tRPC client gets it. */
export interface TrackedEvent<Event = LlmEvent> {
  /** The event's id. */
  readonly id: string;
  /** The event. */
  readonly data: Event;
}

type Draft = { -readonly [Key in keyof Answer]: Answer[Key] } & { parts: Part[] };

const nothing = { text: '', thinking: '', parts: [], blocks: [], calls: [], pending: [] } as const;

/** The answer before anything was asked. */
export const emptyAnswer: Answer<never, never> = { status: 'idle', ...nothing };

/**
 * The answer after these events. At `start` it begins anew, since whoever sends `start` sends everything behind it, too.
 *
 * @param events In order, with or without their ids.
 * @param before The answer before them, which does not change; the empty one by default.
 */
export function answer<Event = LlmEvent, Object = unknown>(
  events: Iterable<Event | TrackedEvent<Event>>,
  before: Answer<Event, Object> = emptyAnswer,
): Answer<Event, Object> {
  // The types of a config's tools matter to the caller alone.
  const given = before as unknown as Answer;
  let draft: Draft = { ...given, parts: [...given.parts] };
  for (const each of events as Iterable<LlmEvent | TrackedEvent>) {
    const event = 'type' in each ? each : each.data;
    if (event.type === 'start') draft = { status: 'running', ...nothing, parts: [] };
    add(draft, event);
    if (!('type' in each)) draft.lastEventId = each.id;
  }
  const { parts } = draft;
  if (!sameCalls(parts, given.parts) || draft.terminal !== given.terminal) {
    draft.blocks = parts.filter((part) => part.kind === 'block');
    draft.calls = parts.filter((part) => part.kind === 'call');
    draft.pending = draft.terminal ? [] : draft.calls.filter(({ state }) => state === 'waiting');
  }
  readObject(draft, given);
  return draft as unknown as Answer<Event, Object>;
}

function add(draft: Draft, event: LlmEvent): void {
  const { parts } = draft;
  draft.status = 'running';
  switch (event.type) {
    case 'start':
      draft.start = event;
      draft.generationId = event.generationId;
      break;
    case 'text':
    case 'thinking':
      draft[event.type] += event.text;
      addText(parts, event.type, event.index, event.text);
      break;
    case 'block':
      parts.push({ kind: 'block', index: event.index, block: event.block });
      break;
    case 'tool_start':
      parts.push(callOf(event, { state: 'writing' }));
      break;
    case 'tool_input':
      change(parts, (call) => call.index === event.index && { draft: (call.draft ?? '') + event.text });
      break;
    case 'tool_call':
      addCall(parts, event);
      break;
    case 'tool_result':
      change(parts, (call) => call.id === event.id && resultOf(event));
      break;
    case 'done':
    case 'cancelled':
    case 'error':
      end(draft, event);
      break;
    default:
      // `step`, and kinds of events that a newer service may send.
      break;
  }
}

function addText(parts: Part[], kind: 'text' | 'thinking', index: number, text: string): void {
  const last = parts.at(-1);
  if (last?.kind === kind && last.index === index) parts[parts.length - 1] = { ...last, text: last.text + text };
  else parts.push({ kind, index, text });
}

function callOf(
  { index, id, name }: ToolStartEvent | ToolCallEvent,
  more: Omit<CallPart, 'kind' | 'index' | 'id' | 'name'>,
): CallPart {
  return { kind: 'call', index, id, name, ...more };
}

function addCall(parts: Part[], event: ToolCallEvent): void {
  const { input, by, approval } = event;
  const waits = by === 'client' || approval === true;
  const call = callOf(event, { state: waits ? 'waiting' : 'running', input, by, ...(approval && { approval }) });
  const at = parts.findIndex((part) => part.kind === 'call' && part.id === event.id);
  if (at === -1) parts.push(call);
  else parts[at] = call;
}

function resultOf(event: ToolResultEvent): Partial<CallPart> {
  return event.ok ? { state: 'done', output: event.output } : { state: 'failed', error: event.error };
}

/** Changes those calls for which the function returns something. */
function change(parts: Part[], changeOf: (call: CallPart) => Partial<CallPart> | false): void {
  for (const [at, part] of parts.entries()) {
    const changed = part.kind === 'call' && changeOf(part);
    if (changed) parts[at] = { ...part, ...changed };
  }
}

function end(draft: Draft, event: TerminalEvent): void {
  const { usage, costUsd, timing } = event;
  Object.assign(draft, { status: event.type, terminal: event, usage, costUsd, timing });
  if (event.type !== 'error') return;
  const { code, message, retryable, retryAfterMs } = event;
  draft.error = { code, message, retryable, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}

/** Whether all parts are the same but for text. */
function sameCalls(parts: readonly Part[], before: readonly Part[]): boolean {
  const isText = (part: Part | undefined) => part === undefined || part.kind === 'text' || part.kind === 'thinking';
  return (
    parts.length >= before.length &&
    parts.every((part, at) => part === before[at] || (isText(part) && isText(before[at])))
  );
}

/** Reads the text of one block as JSON. */
interface Reader {
  readonly json: PartialJson;
  readonly index: number;
  /** How much of the text it has read. */
  chars: number;
}

/** The reader of each answer that may go on. It goes from one answer to the next, so that each character is read once. */
const readers = new WeakMap<object, Reader>();

/** The object is the text of the last text block. Only the end says whether the config has an `output`: until then `{` does. */
function readObject(draft: Draft, before: Answer): void {
  let last: TextPart | undefined;
  for (const part of draft.parts) if (part.kind === 'text') last = part;
  const { terminal } = draft;
  if (
    last === undefined ||
    !last.text.startsWith('{') ||
    (terminal?.type === 'done' && terminal.object === undefined)
  ) {
    delete draft.object;
    return;
  }
  let reader = readers.get(before);
  // An answer that goes on twice, as in a test, has no reader the second time.
  readers.delete(before);
  if (reader?.index !== last.index || reader.chars > last.text.length) {
    reader = { json: new PartialJson(), index: last.index, chars: 0 };
  }
  reader.json.push(last.text.slice(reader.chars));
  reader.chars = last.text.length;
  if (reader.json.changed) draft.object = reader.json.take();
  readers.set(draft, reader);
}
