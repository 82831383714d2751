/**
 * The events of a generation as chunks of OpenAI's Chat Completions. Pure: one instance for each reader, who pushes every event from
 * `start` on. Chat Completions has words for text and for calls that the client answers, and for nothing else.
 */
import type { DoneEvent, LlmEvent, StartEvent, TerminalEvent, Usage } from '../../protocol.ts';
import { clientCallOf, inputText, type ClientCall } from '../calls.ts';
import { failureOf } from '../failure.ts';
import { apiErrorBody } from './api-error.ts';

type Fields = Readonly<Record<string, unknown>>;

/** OpenAI's words for why an answer stopped. */
const finishReasons: Readonly<Record<string, string>> = {
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  refusal: 'content_filter',
};

export class ChatChunks {
  readonly #withUsage: boolean;
  #head: Fields = {};
  #calls = 0;

  /** @param withUsage Whether a last chunk has the usage: `stream_options.include_usage`. */
  constructor(withUsage: boolean) {
    this.#withUsage = withUsage;
  }

  /** The chunks that one event of the generation becomes. */
  push(event: LlmEvent): object[] {
    const call = clientCallOf(event);
    if (call) {
      this.#calls += 1;
      return [this.#chunk({ tool_calls: [{ index: this.#calls - 1, ...chatCall(call) }] })];
    }
    switch (event.type) {
      case 'start':
        this.#head = chatHead(event, 'chat.completion.chunk');
        return [this.#chunk({ role: 'assistant', content: '' })];
      case 'text':
        return [this.#chunk({ content: event.text })];
      case 'done': {
        const last = this.#chunk({}, finishReason(event, this.#calls > 0));
        return this.#withUsage ? [last, { ...this.#head, choices: [], ...chatAccount(event) }] : [last];
      }
      case 'cancelled':
      case 'error':
        return [apiErrorBody(failureOf(event), chatAccount(event))];
      default:
        return [];
    }
  }

  #chunk(delta: Fields, reason: string | null = null): object {
    const usage = this.#withUsage ? { usage: null } : {};
    return { ...this.#head, choices: [{ index: 0, delta, logprobs: null, finish_reason: reason }], ...usage };
  }
}

/** A whole completion, put together from the events of a generation. */
export class ChatCompletion {
  #head: Fields = {};
  #text = '';
  readonly #calls: object[] = [];
  #end: Fields = {};
  /** Characters that were taken, for whoever counts what is held. */
  chars = 0;

  push(event: LlmEvent): void {
    const asked = clientCallOf(event);
    if (asked) {
      const call = chatCall(asked);
      this.#calls.push(call);
      this.chars += call.function.arguments.length;
    }
    switch (event.type) {
      case 'start':
        this.#head = chatHead(event, 'chat.completion');
        break;
      case 'text':
        this.#text += event.text;
        this.chars += event.text.length;
        break;
      case 'done': {
        const message = {
          role: 'assistant',
          content: this.#text === '' && this.#calls.length > 0 ? null : this.#text,
          refusal: null,
          ...(this.#calls.length > 0 ? { tool_calls: this.#calls } : {}),
        };
        const reason = finishReason(event, this.#calls.length > 0);
        const choices = [{ index: 0, message, logprobs: null, finish_reason: reason }];
        this.#end = { choices, ...chatAccount(event) };
        break;
      }
      default:
        break;
    }
  }

  get completion(): object {
    return { ...this.#head, ...this.#end };
  }
}

function chatHead({ generationId, config, startedAt, model, simulated }: StartEvent, object: string): Fields {
  return {
    id: `chatcmpl-${generationId}`,
    object,
    created: Math.trunc(Date.parse(startedAt) / 1_000),
    model: config,
    llm: { generationId, model, simulated },
  };
}

function chatCall({ id, name, input }: ClientCall) {
  return { id, type: 'function', function: { name, arguments: inputText(input) } };
}

/** @param calls Whether the client has calls to answer. */
function finishReason({ stopReason }: DoneEvent, calls: boolean): string {
  if (stopReason === 'tool_use' && calls) return 'tool_calls';
  return finishReasons[stopReason ?? ''] ?? 'stop';
}

function chatAccount({ usage, costUsd, timing, config, model }: TerminalEvent): Fields {
  const prompt = promptTokens(usage);
  return {
    usage: {
      prompt_tokens: prompt,
      completion_tokens: usage.outputTokens,
      total_tokens: prompt + usage.outputTokens,
      prompt_tokens_details: { cached_tokens: usage.cacheReadInputTokens },
    },
    llm: { costUsd, timing, config, model, estimated: usage.estimated },
  };
}

/** OpenAI counts what the cache has read and written among the tokens of the prompt. */
export function promptTokens({ inputTokens, cacheReadInputTokens, cacheCreationInputTokens }: Usage): number {
  return inputTokens + cacheReadInputTokens + cacheCreationInputTokens;
}
