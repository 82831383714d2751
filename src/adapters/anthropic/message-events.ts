/**
 * The events of a generation as those of Anthropic's Messages API. Pure: one instance for each reader, who pushes every event from
 * `start` on. It holds which block is open and which calls the client has to answer, and no text, so that an answer of any length
 * costs a reader nothing. All steps of a generation become one message.
 *
 * A call is written once it is whole, since only then it is known who answers it. What the service itself runs is a call of MCP.
 * What Messages has no words for stands in an object `llm` beside its own fields.
 */
import type { BlockEvent, LlmEvent, StartEvent, TerminalEvent, Usage } from '../../protocol.ts';
import { inputText, ownServerName, resultText } from '../calls.ts';
import { failureOf } from '../failure.ts';
import { apiErrorBody } from './api-error.ts';

/** An event as the stream of the Messages API has it. */
export interface MessageEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

interface OpenBlock {
  readonly kind: 'text' | 'thinking';
  /** The index by which the generation knows it. */
  readonly index: number;
}

export class MessageEvents {
  #open: OpenBlock | undefined;
  /** Blocks that were begun. */
  #blocks = 0;
  /** Calls that the client answers. */
  #clientCalls = 0;

  /** The events that one event of the generation becomes. */
  push(event: LlmEvent): MessageEvent[] {
    switch (event.type) {
      case 'start':
        return [messageStart(event)];
      case 'text':
      case 'thinking':
        return [...this.#openAs(event.type, event.index), this.#delta(textDelta(event.type, event.text))];
      case 'block':
        return this.#block(event);
      case 'tool_call': {
        const { id, name, input, by } = event;
        const own = { type: 'mcp_tool_use', id, name, server_name: ownServerName, input };
        return [
          ...this.#close(),
          ...(by === 'service' ? this.#whole(own) : this.#withInput({ type: 'tool_use', id, name }, input)),
        ];
      }
      case 'tool_result': {
        const text = resultText(event);
        const content = text === undefined ? [] : [{ type: 'text', text }];
        return [
          ...this.#close(),
          ...this.#whole({ type: 'mcp_tool_result', tool_use_id: event.id, is_error: !event.ok, content }),
        ];
      }
      case 'step':
        return this.#close();
      case 'done':
      case 'cancelled':
      case 'error':
        return [...this.#close(), ...this.#end(event)];
      default:
        // Calls that have begun, and pieces of their inputs.
        return [];
    }
  }

  #openAs(kind: OpenBlock['kind'], index: number): MessageEvent[] {
    if (this.#open?.kind === kind && this.#open.index === index) return [];
    const closed = this.#close();
    this.#open = { kind, index };
    const empty = kind === 'text' ? { type: kind, text: '' } : { type: kind, thinking: '', signature: '' };
    return [...closed, this.#begin(empty)];
  }

  #begin(block: Fields): MessageEvent {
    this.#blocks += 1;
    return { type: 'content_block_start', index: this.#blocks - 1, content_block: block };
  }

  #delta(delta: Fields): MessageEvent {
    return { type: 'content_block_delta', index: this.#blocks - 1, delta };
  }

  #close(): MessageEvent[] {
    if (!this.#open) return [];
    this.#open = undefined;
    return [this.#stop()];
  }

  #stop(): MessageEvent {
    return { type: 'content_block_stop', index: this.#blocks - 1 };
  }

  /** A block that comes whole: its start, and its end. */
  #whole(block: Fields): MessageEvent[] {
    return [this.#begin(block), this.#stop()];
  }

  /** A call that the client or upstream answers: clients of this API read its input from a delta. */
  #withInput(block: Fields, input: unknown): MessageEvent[] {
    if (block['type'] === 'tool_use') this.#clientCalls += 1;
    const begun = this.#begin({ ...block, input: {} });
    return [begun, this.#delta({ type: 'input_json_delta', partial_json: inputText(input) }), this.#stop()];
  }

  /** A block that isn't text. Of text and thinking, it has what the deltas lack: citations, a signature. */
  #block({ index, block }: BlockEvent): MessageEvent[] {
    const { type } = block;
    if (type === 'text' || type === 'thinking') {
      const deltas = type === 'text' ? citationDeltas(block) : signatureDeltas(block);
      return [...this.#openAs(type, index), ...deltas.map((delta) => this.#delta(delta)), ...this.#close()];
    }
    const closed = this.#close();
    if (type !== 'tool_use' && type !== 'server_tool_use') return [...closed, ...this.#whole(block)];
    const { input, input_json: cutShort, ...others } = block;
    return [...closed, ...this.#withInput(others, cutShort ?? input)];
  }

  #end(terminal: TerminalEvent): MessageEvent[] {
    const { costUsd, timing, config, model } = terminal;
    const usage = messageUsage(terminal.usage);
    const account = { costUsd, timing, config, model, estimated: terminal.usage.estimated };
    if (terminal.type !== 'done') return [apiErrorBody(failureOf(terminal), { usage, ...account })];
    const { stopReason, stopSequence, stopDetails, container, contextManagement, steps, limit, object, issues } =
      terminal;
    const delta = {
      // Where nobody has approved a call of the service, the client has none to answer.
      stop_reason: stopReason === 'tool_use' && this.#clientCalls === 0 ? 'end_turn' : stopReason,
      stop_sequence: stopSequence ?? null,
      ...(stopDetails === undefined ? {} : { stop_details: stopDetails }),
      ...(container === undefined ? {} : { container }),
    };
    const more = contextManagement === undefined ? {} : { context_management: contextManagement };
    const llm = { ...account, steps, limit, object, issues };
    return [{ type: 'message_delta', delta, usage, ...more, llm }, { type: 'message_stop' }];
  }
}

function messageStart({ generationId, config, model, simulated }: StartEvent): MessageEvent {
  const message = {
    id: `msg_${generationId}`,
    type: 'message',
    role: 'assistant',
    model: config,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: messageUsage({ inputTokens: 0, outputTokens: 0, cacheReadInputTokens: 0, cacheCreationInputTokens: 0 }),
    llm: { generationId, model, simulated },
  };
  return { type: 'message_start', message };
}

function textDelta(kind: OpenBlock['kind'], text: string): Fields {
  return kind === 'text' ? { type: 'text_delta', text } : { type: 'thinking_delta', thinking: text };
}

function citationDeltas({ citations }: Fields): Fields[] {
  return Array.isArray(citations) ? citations.map((citation) => ({ type: 'citations_delta', citation })) : [];
}

function signatureDeltas({ signature }: Fields): Fields[] {
  return signature === undefined ? [] : [{ type: 'signature_delta', signature }];
}

type Tokens = Omit<Usage, 'estimated' | 'raw'>;

function messageUsage({ inputTokens, outputTokens, serviceTier, ...cache }: Tokens): Fields {
  return {
    input_tokens: inputTokens,
    cache_creation_input_tokens: cache.cacheCreationInputTokens,
    cache_read_input_tokens: cache.cacheReadInputTokens,
    output_tokens: outputTokens,
    ...(serviceTier === undefined ? {} : { service_tier: serviceTier }),
  };
}
