/**
 * The events of a generation as chunks of the AI SDK's UI messages. Pure: knows no transport and no time.
 *
 * Every part that is begun is ended before the message is finished, also where the answer fails or is stopped, and what the
 * generation has used up comes before an `error`, since clients drop whatever follows that.
 */
import type { BlockEvent, LlmEvent, TerminalEvent, ToolCallEvent, ToolResultEvent } from '../protocol.ts';
import {
  citationChunks,
  cutShort,
  isToolResult,
  isToolUse,
  partId,
  toolResultChunk,
  toolUseChunk,
} from './ui-blocks.ts';
import type { FinishReason, JsonObject, LlmMetadata, PartMetadata, UIMessageChunk } from './ui-message.ts';

/** How the chunks of a generation are made. */
export interface UiChunkOptions {
  /**
   * The finish reason of an answer that was cancelled. `interrupted`, the default, keeps `sendAutomaticallyWhen` from going on with
   * it. Clients of line 6 that read an HTTP stream refuse that as invalid: `other` is for them.
   */
  readonly cancelledAs?: 'interrupted' | 'other' | undefined;
  /** The id of the message that the answer goes on with; by default the answer is a message of its own, under the generation's id. */
  readonly messageId?: string | undefined;
}

/**
 * Makes chunks of events, one after the other: of a list a list to iterate, of a run or another asynchronous source the same
 * asynchronously.
 */
export function toUIMessageChunks(
  events: Iterable<LlmEvent>,
  options?: UiChunkOptions,
): Generator<UIMessageChunk, void>;
export function toUIMessageChunks(
  events: AsyncIterable<LlmEvent>,
  options?: UiChunkOptions,
): AsyncGenerator<UIMessageChunk, void>;
export function toUIMessageChunks(
  events: Iterable<LlmEvent> | AsyncIterable<LlmEvent>,
  options: UiChunkOptions = {},
): Generator<UIMessageChunk, void> | AsyncGenerator<UIMessageChunk, void> {
  const chunks = new UiChunks(options);
  return Symbol.asyncIterator in events ? fromSource(events, chunks) : fromList(events, chunks);
}

function* fromList(events: Iterable<LlmEvent>, chunks: UiChunks): Generator<UIMessageChunk, void> {
  for (const event of events) yield* chunks.of(event);
}

async function* fromSource(events: AsyncIterable<LlmEvent>, chunks: UiChunks): AsyncGenerator<UIMessageChunk, void> {
  for await (const event of events) yield* chunks.of(event);
}

const none: readonly UIMessageChunk[] = [];
/** Marks a call that the service runs: a client that sends complete calls by itself doesn't send for this one. */
const executed = { providerExecuted: true } as const;
const finishReasons: Readonly<Record<string, FinishReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool-calls',
  refusal: 'content-filter',
};

/** What the client has of a generation that goes on in the message of before. */
export interface ShownCalls {
  /** The calls that the client has just answered. */
  readonly answered: ReadonlySet<string>;
  /** All calls of the last step that the client shows. It has all chunks up to the last of them, so none of these is made again. */
  readonly shown: ReadonlySet<string>;
}

/** The chunks of one generation. */
export class UiChunks {
  readonly #options: UiChunkOptions;
  #generationId = '';
  /** The calls of the client whose `tool_call` hasn't come yet. */
  readonly #shown: Set<string>;
  readonly #answered: ReadonlySet<string>;
  /** The text or the thinking that was begun and not ended. */
  #open: { readonly kind: 'text' | 'reasoning'; readonly index: number } | undefined;
  /** The text block that was begun last, and its text so far: the object that answers, where the config has an `output`. */
  #lastText = { index: -1, text: '' };
  /** The index of the last block. */
  #lastIndex = -1;
  /** Whether a block is missing before the last one: the call of a hidden tool. Upstream takes no thinking back from behind it. */
  #gap = false;
  /** Calls that the model writes, by the index of their block. */
  readonly #written = new Map<number, { readonly id: string; readonly name: string }>();
  /** Calls without a result: whether they wait for the client. */
  readonly #unsettled = new Map<string, boolean>();
  readonly #approvals = new Set<string>();
  /** Ids of the calls of upstream's own tools. A result of another id becomes a `data-block`, since clients throw at it. */
  readonly #uses = new Set<string>();
  readonly #cited = new Set<string>();

  constructor(
    options: UiChunkOptions = {},
    { answered, shown }: ShownCalls = { answered: new Set(), shown: new Set() },
  ) {
    this.#options = options;
    this.#answered = answered;
    this.#shown = new Set(shown);
  }

  /** Whether nothing happens until the client answers a call: the model has written all its calls, and none of them runs. */
  get waits(): boolean {
    if (this.#unsettled.size === 0 || this.#written.size > 0 || this.#shown.size > 0) return false;
    return [...this.#unsettled.values()].every((ofClient) => ofClient);
  }

  /** The chunks of the next event. */
  of(event: LlmEvent): readonly UIMessageChunk[] {
    const hidden = this.#shown.size > 0;
    const chunks = this.#chunksOf(event);
    return hidden ? none : chunks;
  }

  /** The chunks that end a message whose generation waits for the client. It goes on with the answers. */
  pause(): readonly UIMessageChunk[] {
    return [{ type: 'finish-step' }, { type: 'finish', finishReason: 'tool-calls' }];
  }

  #chunksOf(event: LlmEvent): readonly UIMessageChunk[] {
    if ('index' in event && event.index > this.#lastIndex) {
      this.#gap ||= event.index > this.#lastIndex + 1;
      this.#lastIndex = event.index;
    }
    switch (event.type) {
      case 'start': {
        const { generationId, config, model, simulated } = event;
        this.#generationId = generationId;
        const state = 'running';
        const messageMetadata = { generationId, config, model, ...(simulated && { simulated }), state } as const;
        const messageId = this.#options.messageId ?? generationId;
        return [{ type: 'start', messageId, messageMetadata }, { type: 'start-step' }];
      }
      case 'text':
        return this.#piece('text', event.index, event.text);
      case 'thinking':
        return this.#piece('reasoning', event.index, event.text);
      case 'block':
        return this.#block(event);
      case 'tool_start': {
        const { index, id, name } = event;
        this.#written.set(index, { id, name });
        return [...this.#close(), { type: 'tool-input-start', toolCallId: id, toolName: name }];
      }
      case 'tool_input': {
        const call = this.#written.get(event.index);
        return call ? [{ type: 'tool-input-delta', toolCallId: call.id, inputTextDelta: event.text }] : none;
      }
      case 'tool_call':
        return this.#call(event);
      case 'tool_result':
        return [this.#result(event)];
      case 'step': {
        this.#written.clear();
        this.#unsettled.clear();
        const end = this.#close();
        // After a pause the model goes on with the same message.
        return event.stopReason === 'pause_turn' ? end : [...end, { type: 'finish-step' }, { type: 'start-step' }];
      }
      case 'done':
      case 'cancelled':
      case 'error':
        return this.#end(event);
      default:
        // A newer service may send events of other kinds.
        return none;
    }
  }

  #piece(kind: 'text' | 'reasoning', index: number, delta: string): readonly UIMessageChunk[] {
    const id = partId(index);
    const piece = { type: `${kind}-delta`, id, delta } as const;
    if (kind === 'text') {
      if (this.#lastText.index !== index) this.#lastText = { index, text: '' };
      this.#lastText.text += delta;
    }
    if (this.#open?.kind === kind && this.#open.index === index) return [piece];
    const end = this.#close();
    this.#open = { kind, index };
    return [...end, { type: `${kind}-start`, id }, piece];
  }

  #close(providerMetadata?: PartMetadata): UIMessageChunk[] {
    const open = this.#open;
    if (!open) return [];
    this.#open = undefined;
    return [{ type: `${open.kind}-end`, id: partId(open.index), ...(providerMetadata ? { providerMetadata } : {}) }];
  }

  #block({ index, block }: BlockEvent): readonly UIMessageChunk[] {
    const id = partId(index);
    const { type } = block;
    if (type === 'text' && Array.isArray(block['citations'])) {
      const { metadata, sources } = citationChunks(index, block['citations'], this.#cited);
      return [...this.#close(this.#open?.index === index ? metadata : undefined), ...sources];
    }
    if (type === 'thinking') {
      const begin = this.#open?.index === index ? none : this.#begin(index);
      return [...begin, ...this.#close(this.#thought({ signature: String(block['signature']) }))];
    }
    if (type === 'redacted_thinking') {
      const providerMetadata = this.#thought({ redactedData: String(block['data']) });
      return [...this.#close(), { type: 'reasoning-start', id, providerMetadata }, { type: 'reasoning-end', id }];
    }
    const end = this.#close();
    if (isToolUse(block)) {
      this.#uses.add(String(block['id']));
      return [...end, toolUseChunk(block)];
    }
    // A client throws at the result of a call that it doesn't know.
    if (isToolResult(block) && this.#uses.has(String(block['tool_use_id']))) return [...end, toolResultChunk(block)];
    return [...end, { type: 'data-block', id, data: block }];
  }

  #thought(anthropic: JsonObject): PartMetadata {
    return this.#gap ? { anthropic, llm: { gap: true } } : { anthropic };
  }

  /** Begins thinking that has no text: it is hidden, or empty. */
  #begin(index: number): readonly UIMessageChunk[] {
    const end = this.#close();
    this.#open = { kind: 'reasoning', index };
    return [...end, { type: 'reasoning-start', id: partId(index) }];
  }

  #call({ index, id, name, input, by, approval }: ToolCallEvent): readonly UIMessageChunk[] {
    this.#written.delete(index);
    this.#shown.delete(id);
    const waits = by === 'client' || approval === true;
    this.#unsettled.set(id, waits && !this.#answered.has(id));
    if (approval) this.#approvals.add(id);
    const available = {
      type: 'tool-input-available',
      toolCallId: id,
      toolName: name,
      input,
      // The AI SDK takes what a provider executes for complete. Of a call that waits for its approval that would be wrong: with the
      // results of other calls the chat would send its message again and again while somebody thinks.
      ...(by === 'service' && !approval ? executed : {}),
      providerMetadata: { llm: { by, ...(waits ? { waitsFor: approval ? 'approval' : 'result' } : {}) } },
    } as const;
    const request = { type: 'tool-approval-request', approvalId: id, toolCallId: id } as const;
    return [...this.#close(), available, ...(approval ? [request] : [])];
  }

  #result(event: ToolResultEvent): UIMessageChunk {
    const { id: toolCallId } = event;
    this.#unsettled.delete(toolCallId);
    const approved = this.#approvals.has(toolCallId);
    const call = { toolCallId, ...(approved ? executed : {}) };
    if (event.ok) return { type: 'tool-output-available', ...call, output: event.output };
    const { code, message } = event.error;
    if (code === 'denied' && approved) return { type: 'tool-output-denied', toolCallId };
    return { type: 'tool-output-error', ...call, errorText: message };
  }

  #end(event: TerminalEvent): readonly UIMessageChunk[] {
    // Until its end a message must not look as if the model was still writing.
    const cut = [...this.#written.values()].map(({ id: toolCallId, name: toolName }): UIMessageChunk => ({
      type: 'tool-input-error',
      toolCallId,
      toolName,
      input: undefined,
      errorText: cutShort,
      providerMetadata: { llm: { cut: true } },
    }));
    const end: UIMessageChunk[] = [...this.#close(), ...cut];
    const messageMetadata = this.#metadata(event);
    if (event.type === 'error') {
      end.push({ type: 'finish-step' }, { type: 'message-metadata', messageMetadata });
      end.push({ type: 'error', errorText: event.message });
      return end;
    }
    if (event.type === 'done' && event.object === 'valid') {
      end.push({ type: 'data-object', data: JSON.parse(this.#lastText.text) });
    }
    // The AI SDK's line 6 has no type for `interrupted`, and takes it all the same from a transport of one's own.
    const { cancelledAs = 'interrupted' } = this.#options;
    const finishReason =
      event.type === 'done' ? (finishReasons[event.stopReason ?? ''] ?? 'other') : (cancelledAs as FinishReason);
    end.push({ type: 'finish-step' }, { type: 'finish', finishReason, messageMetadata });
    return end;
  }

  #metadata(event: TerminalEvent): LlmMetadata {
    const { type: state, usage, costUsd, timing, config, model } = event;
    const account = { generationId: this.#generationId, config, model, state, usage, costUsd, timing };
    if (event.type === 'done') {
      const { stopReason, object, issues } = event;
      return { ...account, stopReason, ...(object && { object }), ...(issues && { issues }) };
    }
    if (event.type === 'cancelled') return account;
    const { code, message, retryable, retryAfterMs, requestId } = event;
    return { ...account, error: { code, message, retryable, retryAfterMs, requestId } };
  }
}
