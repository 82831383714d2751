/**
 * The events of a generation as those of OpenAI's Responses API. Pure: one instance for each reader, who pushes every event from
 * `start` on, also where the reader has seen the first of them.
 *
 * The log merges adjacent text, so the same answer may come in other pieces each time. Therefore `sequence_number` counts characters:
 * a delta of ten characters raises it by ten, and has the number of its last one. Every other event raises it by one. So a number
 * names the same place of an answer however its text is cut, and a delta that a reader has seen in part is cut there.
 */
import type {
  BlockEvent,
  DoneEvent,
  LlmEvent,
  StartEvent,
  TerminalEvent,
  ToolCallEvent,
  ToolResultEvent,
} from '../../protocol.ts';
import { clientCallOf, inputText, ownServerName, resultText, type ClientCall } from '../calls.ts';
import { failureOf } from '../failure.ts';
import { promptTokens } from './chat-chunks.ts';
import { annotationOf, callItemId, encryptedRedacted } from './response-items.ts';

/** An event as the stream of the Responses API has it. */
export interface ResponseEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly [field: string]: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

/** An item of the output. Its fields change until it is done. */
interface Item extends Record<string, unknown> {
  readonly id: string;
  readonly type: string;
  status: string;
}

/** The item whose text is being written. */
interface OpenItem {
  readonly item: Item;
  readonly place: { readonly item_id: string; readonly output_index: number };
  /** The index by which the generation knows it. */
  readonly index: number;
  /** The content part, or the part of the summary. */
  readonly part: { readonly type: string; text: string; annotations?: Fields[] };
}

export class ResponseEvents {
  readonly #after: number;
  #sequence = -1;
  #events: ResponseEvent[] = [];
  #response: Record<string, unknown> = {};
  readonly #output: Item[] = [];
  #open: OpenItem | undefined;
  #generationId = '';
  #clientCalls = 0;
  #step = 1;
  /** Characters that are held of the answer, for whoever counts them. */
  chars = 0;

  /** @param after The `sequence_number` of the last event that the reader has seen; later ones follow. */
  constructor(after = -1) {
    this.#after = after;
  }

  /** The events that one event of the generation becomes, without those that the reader has seen. */
  push(event: LlmEvent): ResponseEvent[] {
    this.#events = [];
    this.#take(event);
    return this.#events;
  }

  /** The response as it is now, with the text that is being written. */
  get response(): object {
    const output = this.#output.map((item) => (item === this.#open?.item ? withPart(this.#open) : item));
    return { ...this.#response, output };
  }

  #take(event: LlmEvent): void {
    const call = clientCallOf(event);
    if (call) return this.#clientCall(call);
    switch (event.type) {
      case 'start':
        return this.#start(event);
      case 'text':
        return this.#text(event.index, event.text);
      case 'thinking':
        return this.#thinking(event.index, event.text);
      case 'block':
        return this.#block(event);
      case 'tool_call':
        return this.#ownCall(event);
      case 'tool_result':
        return this.#ownResult(event);
      case 'step':
        this.#step = event.step;
        return this.#close();
      case 'done':
      case 'cancelled':
      case 'error':
        return this.#end(event);
      default:
        // Calls that have begun, and pieces of their inputs.
        return undefined;
    }
  }

  // -------------------------------------------------------------------------------------------------------- emitting

  #emit(type: string, fields: Fields): void {
    this.#sequence += 1;
    if (this.#sequence > this.#after) this.#events.push({ type, sequence_number: this.#sequence, ...fields });
  }

  /** A piece of text. Of a piece that the reader has seen in part, only the rest is emitted. */
  #emitText(type: string, fields: Fields, text: string): void {
    if (text === '') return;
    const unseen = this.#sequence + text.length - this.#after;
    this.#sequence += text.length;
    this.chars += text.length;
    if (unseen <= 0) return;
    const delta = unseen < text.length ? text.slice(-unseen) : text;
    this.#events.push({ type, sequence_number: this.#sequence, ...fields, delta });
  }

  #emitResponse(type: string): void {
    this.#emit(type, { response: { ...this.#response, output: [...this.#output] } });
  }

  #add(type: string, id: string, fields: Fields): { item: Item; at: number } {
    const item: Item = { id, type, status: 'in_progress', ...fields };
    this.#output.push(item);
    const at = this.#output.length - 1;
    this.#emit('response.output_item.added', { output_index: at, item: { ...item } });
    return { item, at };
  }

  #finish(item: Item, at: number, status = 'completed'): void {
    item.status = status;
    this.#emit('response.output_item.done', { output_index: at, item: { ...item } });
  }

  // ------------------------------------------------------------------------------------------------------------ text

  #start({ generationId, config, startedAt, model, simulated }: StartEvent): void {
    this.#generationId = generationId;
    this.#response = {
      id: `resp_${generationId}`,
      object: 'response',
      created_at: Math.trunc(Date.parse(startedAt) / 1_000),
      status: 'in_progress',
      error: null,
      incomplete_details: null,
      instructions: null,
      metadata: {},
      model: config,
      output: this.#output,
      parallel_tool_calls: true,
      previous_response_id: null,
      temperature: null,
      tool_choice: 'auto',
      tools: [],
      top_p: null,
      usage: null,
      llm: { generationId, model, simulated },
    };
    this.#emitResponse('response.created');
    this.#emitResponse('response.in_progress');
  }

  #text(index: number, text: string): void {
    const { place } = this.#openMessage(index);
    this.#emitText('response.output_text.delta', { ...place, content_index: 0, logprobs: [] }, text);
    this.#open!.part.text += text;
  }

  #openMessage(index: number): OpenItem {
    const open = this.#opened('message', index);
    if (open) return open;
    const { item, at } = this.#add('message', `msg_${this.#generationId}_${index}`, { role: 'assistant', content: [] });
    const place = { item_id: item.id, output_index: at };
    const part = { type: 'output_text', text: '', annotations: [], logprobs: [] };
    this.#emit('response.content_part.added', { ...place, content_index: 0, part: { ...part, annotations: [] } });
    return (this.#open = { item, place, index, part });
  }

  #thinking(index: number, text: string): void {
    const { place } = this.#openReasoning(index);
    this.#emitText('response.reasoning_summary_text.delta', { ...place, summary_index: 0 }, text);
    this.#open!.part.text += text;
  }

  #openReasoning(index: number): OpenItem {
    const open = this.#opened('reasoning', index);
    if (open) return open;
    const { item, at } = this.#add('reasoning', `rs_${this.#generationId}_${index}`, { summary: [] });
    const place = { item_id: item.id, output_index: at };
    const part = { type: 'summary_text', text: '' };
    this.#emit('response.reasoning_summary_part.added', { ...place, summary_index: 0, part: { ...part } });
    return (this.#open = { item, place, index, part });
  }

  /** The open item, if it is this one. Any other is closed. */
  #opened(type: string, index: number): OpenItem | undefined {
    if (this.#open?.item.type === type && this.#open.index === index) return this.#open;
    this.#close();
    return undefined;
  }

  #close(status = 'completed'): void {
    if (!this.#open) return;
    const { item, place, part } = this.#open;
    Object.assign(item, withPart(this.#open));
    this.#open = undefined;
    const { text } = part;
    if (item.type === 'message') {
      this.#emit('response.output_text.done', { ...place, content_index: 0, text, logprobs: [] });
      this.#emit('response.content_part.done', { ...place, content_index: 0, part });
    } else {
      this.#emit('response.reasoning_summary_text.done', { ...place, summary_index: 0, text });
      this.#emit('response.reasoning_summary_part.done', { ...place, summary_index: 0, part });
    }
    this.#finish(item, place.output_index, status);
  }

  /** Citations, a signature, redacted thinking. Responses has no words for blocks of other kinds. */
  #block({ index, block }: BlockEvent): void {
    const { type, citations, signature, data } = block;
    if (type === 'text' && Array.isArray(citations)) {
      const { place, part } = this.#openMessage(index);
      for (const citation of citations as readonly unknown[]) {
        const annotation = annotationOf(citation, part.text.length);
        if (!annotation) continue;
        const at = part.annotations!.push(annotation) - 1;
        this.chars += JSON.stringify(annotation).length;
        this.#emit('response.output_text.annotation.added', {
          ...place,
          content_index: 0,
          annotation_index: at,
          annotation,
        });
      }
      return;
    }
    if (type === 'thinking' && typeof signature === 'string') {
      const shown = this.#open?.item.type === 'reasoning' && this.#open.index === index ? this.#open : undefined;
      if (!shown) return this.#hiddenReasoning(index, signature);
      this.chars += signature.length;
      shown.item['encrypted_content'] = signature;
      return this.#close();
    }
    if (type === 'redacted_thinking') this.#hiddenReasoning(index, encryptedRedacted(String(data)));
  }

  #hiddenReasoning(index: number, encrypted: string): void {
    this.#close();
    this.chars += encrypted.length;
    const fields = { summary: [], encrypted_content: encrypted };
    const { item, at } = this.#add('reasoning', `rs_${this.#generationId}_${index}`, fields);
    this.#finish(item, at);
  }

  // ----------------------------------------------------------------------------------------------------------- calls

  #callItemId(prefix: 'fc' | 'mcp', callId: string): string {
    return callItemId(prefix, this.#generationId, this.#step, callId);
  }

  #clientCall({ id, name, input }: ClientCall): void {
    this.#close();
    this.#clientCalls += 1;
    const { item, at } = this.#add('function_call', this.#callItemId('fc', id), { call_id: id, name, arguments: '' });
    const text = inputText(input);
    const place = { item_id: item.id, output_index: at };
    this.#emitText('response.function_call_arguments.delta', place, text);
    item['arguments'] = text;
    this.#emit('response.function_call_arguments.done', { ...place, name, arguments: text });
    this.#finish(item, at);
  }

  #ownCall({ id, name, input }: ToolCallEvent): void {
    this.#close();
    const call = { name, server_label: ownServerName, arguments: '', output: null, error: null };
    const { item, at } = this.#add('mcp_call', this.#callItemId('mcp', id), call);
    const text = inputText(input);
    const place = { item_id: item.id, output_index: at };
    this.#emit('response.mcp_call.in_progress', place);
    this.#emitText('response.mcp_call_arguments.delta', place, text);
    item['arguments'] = text;
    this.#emit('response.mcp_call_arguments.done', { ...place, arguments: text });
  }

  #ownResult(result: ToolResultEvent): void {
    this.#close();
    const itemId = this.#callItemId('mcp', result.id);
    const at = this.#output.findIndex(({ id }) => id === itemId);
    const item = this.#output[at];
    // A client of another door has answered a call that this one shows as the client's.
    if (!item) return;
    const text = resultText(result) ?? null;
    this.chars += text?.length ?? 0;
    item[result.ok ? 'output' : 'error'] = text;
    this.#emit(`response.mcp_call.${result.ok ? 'completed' : 'failed'}`, { item_id: item.id, output_index: at });
    this.#finish(item, at, result.ok ? 'completed' : 'failed');
  }

  // ------------------------------------------------------------------------------------------------------------- end

  #end(terminal: TerminalEvent): void {
    this.#close(terminal.type === 'done' ? 'completed' : 'incomplete');
    const { usage, costUsd, timing, config, model } = terminal;
    const prompt = promptTokens(usage);
    const end = terminal.type === 'done' ? endOf(terminal, this.#clientCalls > 0) : unhappyEndOf(terminal);
    Object.assign(this.#response, end.fields, {
      usage: {
        input_tokens: prompt,
        input_tokens_details: { cached_tokens: usage.cacheReadInputTokens },
        output_tokens: usage.outputTokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: prompt + usage.outputTokens,
      },
      llm: {
        ...(this.#response['llm'] as Fields),
        costUsd,
        timing,
        config,
        model,
        estimated: usage.estimated,
        ...end.llm,
      },
    });
    this.#emitResponse(end.type);
  }
}

function withPart({ item, part }: OpenItem): Item {
  return { ...item, [item.type === 'message' ? 'content' : 'summary']: [part] };
}

interface End {
  /** The event that ends the stream. */
  readonly type: string;
  readonly fields: { readonly status: string; readonly [field: string]: unknown };
  readonly llm: Fields;
}

/** OpenAI's words for why an answer is not whole. */
const incompleteReasons: Readonly<Record<string, string>> = {
  max_tokens: 'max_output_tokens',
  model_context_window_exceeded: 'max_output_tokens',
  refusal: 'content_filter',
};

function endOf(done: DoneEvent, hasCalls: boolean): End {
  const { stopReason, stopSequence, steps, limit, object, issues } = done;
  const reason = stopReason === 'tool_use' && !hasCalls ? 'end_turn' : stopReason;
  const llm = { stopReason: reason, stopSequence, steps, limit, object, issues };
  const incomplete = incompleteReasons[stopReason ?? ''];
  if (incomplete === undefined) return { type: 'response.completed', fields: { status: 'completed' }, llm };
  const fields = { status: 'incomplete', incomplete_details: { reason: incomplete } };
  return { type: 'response.incomplete', fields, llm };
}

function unhappyEndOf(terminal: Exclude<TerminalEvent, DoneEvent>): End {
  if (terminal.type === 'cancelled') {
    const fields = { status: 'cancelled', incomplete_details: { reason: terminal.reason } };
    return { type: 'response.incomplete', fields, llm: {} };
  }
  const { code, message, ...others } = failureOf(terminal);
  return { type: 'response.failed', fields: { status: 'failed', error: { code, message, ...others } }, llm: {} };
}
