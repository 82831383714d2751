/**
 * The spans of one generation: `chat` for each message of the model, with all of its attempts, and `execute_tool` for each call of a
 * tool. Names and attributes are those of the semantic conventions for generative AI, as far as these have any; the service's own
 * begin with `llm_service`. No span holds content unless `LLM_LOG_CONTENT=1`.
 * https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
 */
import type { Attributes, Context, Span } from '@opentelemetry/api';
import type { Sink } from '../flow/sink.ts';
import type { ErrorCode, LlmEvent, Message, Usage } from '../protocol.ts';
import { answerAsParts, contentCharsMax, messagesAsParts, valueAsText } from './traced-content.ts';
import type { TraceParts } from './traces.ts';

export interface TracedGeneration {
  readonly generationId: string;
}

/** What a span says of the config that answers. */
export interface TracedConfig {
  readonly name: string;
  readonly model: string;
  readonly maxTokens: number;
  readonly temperature?: number | undefined;
  readonly topP?: number | undefined;
  readonly topK?: number | undefined;
  readonly stopSequences?: readonly string[] | undefined;
  /** Set where the answer is an object. */
  readonly output?: unknown;
}

/** A failed attempt, and what follows. */
export interface TracedFailure {
  /** Counts the generation's attempts from 1. */
  readonly attempt: number;
  readonly code: ErrorCode;
  /** Upstream's id of the request. */
  readonly requestId?: string | undefined;
  /** The attempt to be made next; absent where there is none. */
  readonly next?: { readonly config: TracedConfig; readonly delayMs: number } | undefined;
}

/** How a message ended. Whoever passes it has checked upstream's words. */
export interface ChatResult {
  readonly id?: string | undefined;
  readonly model?: string | undefined;
  readonly stopReason?: string | undefined;
  /** What the latest attempt used. */
  readonly usage?: Usage | undefined;
  readonly error?: ErrorCode | undefined;
  /** Why the service has closed the request early. */
  readonly cancelled?: string | undefined;
}

export class GenerationTrace {
  readonly #parts: TraceParts;
  readonly #parent: Context;
  readonly #attributes: Attributes;

  constructor(parts: TraceParts, parent: Context, { generationId }: TracedGeneration) {
    this.#parts = parts;
    this.#parent = parent;
    this.#attributes = { 'llm_service.generation_id': generationId };
  }

  /** The id of the trace; undefined where nothing traces. */
  get traceId(): string | undefined {
    return this.#parts.api.trace.getSpanContext(this.#parent)?.traceId;
  }

  /** The traceparent of the request that started the generation. */
  get traceparent(): string | undefined {
    return this.#parts.headersOf(this.#parent)['traceparent'];
  }

  /** @param messages All that the model reads. */
  chat(config: TracedConfig, messages: readonly Message[]): ChatSpan {
    return new ChatSpan(this.#parts, this.#parent, { config, messages, attributes: this.#attributes });
  }

  tool(name: string, callId: string, input: unknown): ToolSpan {
    return new ToolSpan(this.#parts, this.#parent, { name, callId, input, attributes: this.#attributes });
  }
}

interface ChatFacts {
  readonly config: TracedConfig;
  readonly messages: readonly Message[];
  readonly attributes: Attributes;
}

/** One message of the model, from its first request to its end. */
export class ChatSpan {
  readonly #parts: TraceParts;
  readonly #span: Span;
  readonly #startedAtMs = performance.now();
  /** Sent with each request to upstream. */
  readonly headers: Readonly<Record<string, string>>;
  /** What the model has written, kept as far as a span may hold it; empty where spans hold no content. */
  #text = '';

  constructor(parts: TraceParts, parent: Context, { config, messages, attributes }: ChatFacts) {
    const { api, tracer, content } = parts;
    const { model, maxTokens, temperature, topP, topK, stopSequences } = config;
    this.#parts = parts;
    this.#span = tracer.startSpan(
      `chat ${model}`,
      {
        kind: api.SpanKind.CLIENT,
        startTime: this.#startedAtMs,
        attributes: {
          ...attributes,
          'llm_service.config': config.name,
          'gen_ai.operation.name': 'chat',
          'gen_ai.provider.name': 'anthropic',
          'gen_ai.request.model': model,
          'gen_ai.request.max_tokens': maxTokens,
          'gen_ai.request.stream': true,
          'gen_ai.output.type': config.output === undefined ? 'text' : 'json',
          ...(temperature === undefined ? {} : { 'gen_ai.request.temperature': temperature }),
          ...(topP === undefined ? {} : { 'gen_ai.request.top_p': topP }),
          ...(topK === undefined ? {} : { 'gen_ai.request.top_k': topK }),
          ...(stopSequences === undefined ? {} : { 'gen_ai.request.stop_sequences': [...stopSequences] }),
          ...(content ? { 'gen_ai.input.messages': messagesAsParts(messages) } : {}),
        },
      },
      parent,
    );
    this.headers = parts.headersOf(api.trace.setSpan(parent, this.#span));
  }

  /** The same sink, whose text the span keeps where spans hold content. */
  keepText(sink: Sink<LlmEvent[]>): Sink<LlmEvent[]> {
    if (!this.#parts.content) return sink;
    return (events) => {
      for (const event of events) {
        if (event.type === 'text' && this.#text.length < contentCharsMax) this.#text += event.text;
      }
      return sink(events);
    };
  }

  /** @param atMs On the clock of `performance.now()`. */
  firstToken(atMs: number): void {
    this.#span.addEvent('first_token', {}, atMs);
    this.#span.setAttribute('gen_ai.response.time_to_first_chunk', (atMs - this.#startedAtMs) / 1_000);
  }

  /** An attempt has failed. The span notes what follows: `retry` or `fallback`; the last failure is its end. */
  failed({ attempt, code, requestId, next }: TracedFailure, config: TracedConfig): void {
    if (!next) return;
    const falls = next.config.name !== config.name;
    this.#span.addEvent(
      falls ? 'fallback' : 'retry',
      {
        'error.type': code,
        'llm_service.attempt': attempt,
        'llm_service.delay_ms': Math.round(next.delayMs),
        ...(requestId === undefined ? {} : { 'llm_service.upstream_request_id': requestId }),
        ...(falls ? { 'llm_service.config': next.config.name, 'gen_ai.request.model': next.config.model } : {}),
      },
      performance.now(),
    );
  }

  end({ id, model, stopReason, usage, error, cancelled }: ChatResult): void {
    const { content } = this.#parts;
    this.#span.setAttributes({
      ...(id === undefined ? {} : { 'gen_ai.response.id': id }),
      ...(model === undefined ? {} : { 'gen_ai.response.model': model }),
      ...(stopReason === undefined ? {} : { 'gen_ai.response.finish_reasons': [stopReason] }),
      ...(usage ? usageAttributes(usage) : {}),
      ...(cancelled === undefined ? {} : { 'llm_service.cancelled': cancelled }),
      ...(content ? { 'gen_ai.output.messages': answerAsParts(this.#text, stopReason) } : {}),
    });
    if (error !== undefined) setError(this.#parts, this.#span, error);
    this.#span.end(performance.now());
  }
}

interface ToolFacts {
  readonly name: string;
  readonly callId: string;
  readonly input: unknown;
  readonly attributes: Attributes;
}

/** One call of a tool that the service executes. */
export class ToolSpan {
  readonly #parts: TraceParts;
  readonly #span: Span;
  readonly #context: Context;

  constructor(parts: TraceParts, parent: Context, { name, callId, input, attributes }: ToolFacts) {
    const { api, tracer, content } = parts;
    this.#parts = parts;
    this.#span = tracer.startSpan(
      `execute_tool ${name}`,
      {
        kind: api.SpanKind.INTERNAL,
        startTime: performance.now(),
        attributes: {
          ...attributes,
          'gen_ai.operation.name': 'execute_tool',
          'gen_ai.tool.name': name,
          'gen_ai.tool.call.id': callId,
          'gen_ai.tool.type': 'function',
          ...(content ? { 'gen_ai.tool.call.arguments': valueAsText(input) } : {}),
        },
      },
      parent,
    );
    this.#context = api.trace.setSpan(parent, this.#span);
  }

  /** By which a server that the tool asks goes on with the trace. */
  get traceparent(): string | undefined {
    return this.#parts.headersOf(this.#context)['traceparent'];
  }

  /** Runs the tool, with its span as the active one. */
  run<T>(work: () => T): T {
    this.#parts.followCalls();
    return this.#parts.api.context.with(this.#context, work);
  }

  /** @param error Why there is no result: the code of the failure. */
  end({ error, output }: { readonly error?: string | undefined; readonly output?: unknown }): void {
    if (this.#parts.content && output !== undefined) {
      this.#span.setAttribute('gen_ai.tool.call.result', valueAsText(output));
    }
    if (error !== undefined) setError(this.#parts, this.#span, error);
    this.#span.end(performance.now());
  }
}

function setError({ api }: TraceParts, span: Span, error: string): void {
  span.setAttribute('error.type', error);
  span.setStatus({ code: api.SpanStatusCode.ERROR });
}

/** By the conventions the input counts what the cache gave and took, too, which upstream counts apart. */
function usageAttributes(usage: Usage): Attributes {
  const { inputTokens, outputTokens, cacheReadInputTokens: read, cacheCreationInputTokens: created } = usage;
  return {
    'gen_ai.usage.input_tokens': inputTokens + read + created,
    'gen_ai.usage.output_tokens': outputTokens,
    'gen_ai.usage.cache_read.input_tokens': read,
    'gen_ai.usage.cache_creation.input_tokens': created,
    ...(usage.estimated ? { 'llm_service.usage_estimated': true } : {}),
  };
}
