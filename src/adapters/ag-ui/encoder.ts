/**
 * Turns the events of an answer into those of AG-UI: a pure function of a state and an event. Whoever keeps the state with an event's
 * id can go on from there. Knows no transport.
 *
 * Each message of the model is one message of AG-UI, however many blocks it has. In what an event becomes, the pieces of a text come
 * last: the log may have merged more pieces into the same event when it is read again, and then all that comes before is unchanged.
 */
import type {
  BlockEvent,
  LlmEvent,
  StepEvent,
  TerminalEvent,
  TextEvent,
  ThinkingEvent,
  ToolCallEvent,
  ToolInputEvent,
  ToolResultEvent,
  ToolStartEvent,
} from '../../protocol.ts';
import type { AgUiCustom, AgUiEvent, AgUiTokenUsage, AgUiToolResult } from './ag-ui-event.ts';

/** Under which ids AG-UI knows a run. */
export interface AgUiIds {
  /** The conversation; by default the generation's `thread`, or else the run's id. */
  readonly threadId?: string | undefined;
  /** The run; by default the generation's id. */
  readonly runId?: string | undefined;
}

/** A call that was begun and is not whole. */
export interface OpenCall {
  readonly index: number;
  readonly id: string;
  /** Whether a piece of its input was passed on. */
  readonly streamed: boolean;
}

/** What of an answer has been opened and not closed, so that another encoder can go on. */
export interface AgUiState {
  /** What is being written. */
  readonly open: 'nothing' | 'text' | 'thinking';
  /** The index of the thinking that is being written. */
  readonly thinking: number;
  readonly calls: readonly OpenCall[];
  /** Which message of the model this is, counted from 1. */
  readonly message: number;
  /** The step that was opened; 0 where none is. */
  readonly step: number;
  /** The index after the highest that was seen. */
  readonly next: number;
  /** Whether this message has anything but thinking. */
  readonly begun: boolean;
  /** Whether AG-UI has been given all blocks so far. Upstream takes thinking back only behind everything that came before it. */
  readonly whole: boolean;
}

export const stateAtFirst: AgUiState = {
  open: 'nothing',
  thinking: 0,
  calls: [],
  message: 1,
  step: 0,
  next: 0,
  begun: false,
  whole: true,
};

/** Calls that are open at once. Those beyond it are opened when they are whole, so that the state stays small. */
export const openCallsMax = 8;
/** Characters of the id of a call that is opened before it is whole. */
export const openCallIdCharsMax = 100;

/** The content of a result that clients don't get. A request that hands it back leaves the call out. */
export const resultNotShown = 'The result of this call is not shown to clients.';

export class AgUiEncoder {
  /** After the events that were encoded so far. It is replaced, never changed. */
  state: AgUiState;
  #generationId: string;
  #threadId: string;
  #runId: string;

  /** @param goOn For an answer of which another encoder has encoded the beginning. */
  constructor(
    { threadId = '', runId = '' }: AgUiIds,
    goOn?: { readonly generationId: string; readonly state: AgUiState },
  ) {
    this.#generationId = goOn?.generationId ?? '';
    this.#runId = runId || this.#generationId;
    this.#threadId = threadId || (goOn ? this.#runId : '');
    this.state = goOn?.state ?? stateAtFirst;
  }

  /** What the next event of the answer becomes: nothing, one event or several. */
  encode(event: LlmEvent): AgUiEvent[] {
    switch (event.type) {
      case 'start': {
        const { type: _, ...start } = event;
        this.#generationId = start.generationId;
        this.#runId ||= start.generationId;
        this.#threadId ||= start.thread ?? this.#runId;
        return [this.#runEvent('RUN_STARTED'), custom('llm.start', start)];
      }
      case 'text':
        return this.#text(event);
      case 'thinking':
        return this.#thinking(event);
      case 'block':
        return this.#block(event);
      case 'tool_start':
        return this.#toolStart(event);
      case 'tool_input':
        return this.#toolInput(event);
      case 'tool_call':
        return this.#toolCall(event);
      case 'tool_result':
        return [this.#toolResult(event)];
      case 'step':
        return this.#step(event);
      case 'done':
      case 'cancelled':
      case 'error':
        return this.#end(event);
      default:
        // A newer service may send other kinds of events.
        return [];
    }
  }

  #text({ index, text }: TextEvent): AgUiEvent[] {
    this.#see(index);
    const messageId = this.#messageId();
    const events: AgUiEvent[] = this.state.open === 'text' ? [] : this.#openText();
    if (text !== '') events.push({ type: 'TEXT_MESSAGE_CONTENT', messageId, delta: text });
    return events;
  }

  #openText(): AgUiEvent[] {
    const closed = this.#close();
    this.#change({ open: 'text', begun: true });
    return [...closed, { type: 'TEXT_MESSAGE_START', messageId: this.#messageId(), role: 'assistant' }];
  }

  #thinking({ index, text }: ThinkingEvent): AgUiEvent[] {
    this.#see(index);
    const { open, thinking } = this.state;
    const events: AgUiEvent[] = [];
    const messageId = this.#thinkingId(index);
    if (open !== 'thinking' || thinking !== index) {
      events.push(...this.#close());
      events.push({ type: 'REASONING_START', messageId });
      events.push({ type: 'REASONING_MESSAGE_START', messageId, role: 'reasoning' });
      this.#change({ open: 'thinking', thinking: index });
    }
    if (text !== '') events.push({ type: 'REASONING_MESSAGE_CONTENT', messageId, delta: text });
    return events;
  }

  #block(event: BlockEvent): AgUiEvent[] {
    const { index, block } = event;
    this.#see(index);
    if (block['type'] === 'thinking' && typeof block['signature'] === 'string') {
      return this.#signature(index, block['signature']);
    }
    const cut = this.state.calls.find((call) => call.index === index);
    // The input of a call was cut short, so there is no `tool_call`.
    const closed = cut ? this.#endCall(cut) : this.#close();
    this.#change({ whole: false });
    return [...closed, custom('llm.block', { messageId: this.#messageId(), index, block })];
  }

  #signature(index: number, encryptedValue: string): AgUiEvent[] {
    const { open, thinking, whole, begun } = this.state;
    const shown = open === 'thinking' && thinking === index;
    const isTaken = whole && !begun;
    if (!isTaken) this.#change({ whole: false });
    const signed = (entityId: string): AgUiEvent[] =>
      isTaken ? [{ type: 'REASONING_ENCRYPTED_VALUE', subtype: 'message', entityId, encryptedValue }] : [];
    if (shown) return [...signed(this.#thinkingId(index)), ...this.#close()];
    // Hidden thinking has no words, and needs no message of its own.
    return isTaken ? [...this.#openText(), ...signed(this.#messageId())] : [];
  }

  #toolStart({ index, id, name }: ToolStartEvent): AgUiEvent[] {
    this.#see(index);
    const closed = this.#close();
    this.#change({ begun: true });
    const { calls } = this.state;
    if (calls.length >= openCallsMax || id.length > openCallIdCharsMax) return closed;
    this.#change({ calls: [...calls, { index, id, streamed: false }] });
    return [...closed, this.#callStart(id, name)];
  }

  #toolInput({ index, text }: ToolInputEvent): AgUiEvent[] {
    const { calls } = this.state;
    const call = calls.find((each) => each.index === index);
    if (!call || text === '') return [];
    if (!call.streamed) {
      this.#change({ calls: calls.map((each) => (each === call ? { ...call, streamed: true } : each)) });
    }
    return [{ type: 'TOOL_CALL_ARGS', toolCallId: call.id, delta: text }];
  }

  #toolCall({ index, id, name, input, by, approval }: ToolCallEvent): AgUiEvent[] {
    this.#see(index);
    const events = this.#close();
    this.#change({ begun: true });
    const call = this.state.calls.find((each) => each.id === id);
    if (!call) events.push(this.#callStart(id, name));
    if (!call?.streamed) {
      // Text where the model wrote no valid JSON.
      const delta = typeof input === 'string' ? input : JSON.stringify(input);
      events.push({ type: 'TOOL_CALL_ARGS', toolCallId: id, delta });
    }
    events.push(...this.#endCall(call ?? { index, id, streamed: true }));
    if (by === 'client' || approval) {
      const waiting = { generationId: this.#generationId, toolCallId: id, name, input, by };
      events.push(custom('llm.waiting', approval ? { ...waiting, approval } : waiting));
    }
    return events;
  }

  #toolResult(result: ToolResultEvent): AgUiToolResult {
    const { id } = result;
    const common = {
      type: 'TOOL_CALL_RESULT',
      messageId: `${this.#generationId}-result-${id}`,
      toolCallId: id,
      role: 'tool',
    } as const;
    if (!result.ok) return { ...common, content: result.error.message, metadata: { error: result.error } };
    const { output } = result;
    if (output === undefined) this.#change({ whole: false });
    if (typeof output === 'string') return { ...common, content: output };
    return { ...common, content: output === undefined ? resultNotShown : JSON.stringify(output) };
  }

  #step({ step, stopReason }: StepEvent): AgUiEvent[] {
    const events = [...this.#close(), ...this.#endStep()];
    // After a pause the model goes on with the same message.
    if (stopReason !== 'pause_turn') this.#change({ message: this.state.message + 1, begun: false });
    this.#change({ step });
    return [...events, { type: 'STEP_STARTED', stepName: stepName(step) }];
  }

  #end(event: TerminalEvent): AgUiEvent[] {
    const calls = this.state.calls.flatMap((call) => this.#endCall(call));
    const events = [...this.#close(), ...calls, ...this.#endStep()];
    const usage = [usageOf(event)];
    const { type, ...rest } = event;
    const result = { generationId: this.#generationId, ...rest };
    if (type === 'done') return [...events, { ...this.#runEvent('RUN_FINISHED'), result, usage }];
    events.push(custom('llm.account', { type, ...result }));
    const failure =
      event.type === 'error'
        ? { message: event.message, code: event.code }
        : { message: `The answer was cancelled: ${event.reason}`, code: 'abort' };
    return [...events, { type: 'RUN_ERROR', ...failure, usage }];
  }

  /** Ends the text or the thinking that is being written. */
  #close(): AgUiEvent[] {
    const { open, thinking } = this.state;
    if (open === 'nothing') return [];
    this.#change({ open: 'nothing' });
    if (open === 'text') return [{ type: 'TEXT_MESSAGE_END', messageId: this.#messageId() }];
    const messageId = this.#thinkingId(thinking);
    return [
      { type: 'REASONING_MESSAGE_END', messageId },
      { type: 'REASONING_END', messageId },
    ];
  }

  #endCall({ id }: OpenCall): AgUiEvent[] {
    const { calls } = this.state;
    if (calls.some((call) => call.id === id)) this.#change({ calls: calls.filter((call) => call.id !== id) });
    return [{ type: 'TOOL_CALL_END', toolCallId: id }];
  }

  #endStep(): AgUiEvent[] {
    const { step } = this.state;
    if (step === 0) return [];
    this.#change({ step: 0 });
    return [{ type: 'STEP_FINISHED', stepName: stepName(step) }];
  }

  /** Notes the index of a block. A gap is a block that clients don't get. */
  #see(index: number): void {
    const { next, whole } = this.state;
    if (index >= next) this.#change({ next: index + 1, whole: whole && index === next });
  }

  #change(changed: Partial<AgUiState>): void {
    this.state = { ...this.state, ...changed };
  }

  #callStart(id: string, name: string): AgUiEvent {
    return { type: 'TOOL_CALL_START', toolCallId: id, toolCallName: name, parentMessageId: this.#messageId() };
  }

  #runEvent<Type extends 'RUN_STARTED' | 'RUN_FINISHED'>(type: Type) {
    return { type, threadId: this.#threadId, runId: this.#runId };
  }

  #messageId(): string {
    const { message } = this.state;
    return message === 1 ? this.#generationId : `${this.#generationId}-${message}`;
  }

  /** The id begins with that of the message that the thinking precedes, which is how the two find each other again. */
  #thinkingId(index: number): string {
    return `${this.#messageId()}-reasoning-${index}`;
  }
}

/**
 * Turns the events of one answer into those of AG-UI. All messages and calls are closed before the last event, which is `RUN_FINISHED`
 * or `RUN_ERROR`.
 */
export function toAgUiEvents(events: Iterable<LlmEvent>, ids?: AgUiIds): Generator<AgUiEvent, void, undefined>;
/** The same for events that arrive one by one, such as those of a run. */
export function toAgUiEvents(
  events: AsyncIterable<LlmEvent>,
  ids?: AgUiIds,
): AsyncGenerator<AgUiEvent, void, undefined>;
export function toAgUiEvents(
  events: Iterable<LlmEvent> | AsyncIterable<LlmEvent>,
  ids: AgUiIds = {},
): Generator<AgUiEvent, void, undefined> | AsyncGenerator<AgUiEvent, void, undefined> {
  return Symbol.asyncIterator in events ? encodeArriving(events, ids) : encodeAll(events, ids);
}

function* encodeAll(events: Iterable<LlmEvent>, ids: AgUiIds): Generator<AgUiEvent, void, undefined> {
  const encoder = new AgUiEncoder(ids);
  for (const event of events) yield* encoder.encode(event);
}

async function* encodeArriving(
  events: AsyncIterable<LlmEvent>,
  ids: AgUiIds,
): AsyncGenerator<AgUiEvent, void, undefined> {
  const encoder = new AgUiEncoder(ids);
  for await (const event of events) yield* encoder.encode(event);
}

function custom(name: AgUiCustom['name'], value: AgUiCustom['value']): AgUiCustom {
  return { type: 'CUSTOM', name, value };
}

function stepName(step: number): string {
  return `step ${step}`;
}

function usageOf({ usage, model }: TerminalEvent): AgUiTokenUsage {
  const { outputTokens, cacheReadInputTokens: cachedInputTokens } = usage;
  const inputTokens = usage.inputTokens + cachedInputTokens + usage.cacheCreationInputTokens;
  return { model, inputTokens, outputTokens, totalTokens: inputTokens + outputTokens, cachedInputTokens };
}
