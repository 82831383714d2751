/**
 * Traces a service as spans of OpenTelemetry: one for each request; generation-trace.ts has those of the model and of tools. Nothing
 * is traced for a token. Knows no SDK: whoever makes a `Traces` brings the provider, and only then is OpenTelemetry loaded.
 */
import { createRequire } from 'node:module';
import type * as OpenTelemetry from '@opentelemetry/api';
import type { Attributes, Context, Span, Tracer, TracerProvider } from '@opentelemetry/api';
import type * as OpenTelemetryCore from '@opentelemetry/core';
import { errorTable } from '../errors.ts';
import type { ErrorCode } from '../protocol.ts';
import { GenerationTrace, type TracedGeneration } from './generation-trace.ts';

/** Headers or the like, of which `traceparent` and `tracestate` say to which trace a request belongs: https://www.w3.org/TR/trace-context/ */
export type TraceCarrier = Readonly<Record<string, unknown>>;

/** What is known of a request when it arrives. */
export interface RequestFacts {
  /** The name of its span, one of few: nothing that a client chose is in it. */
  readonly name: string;
  /** The id under which its refusal would be logged. */
  readonly requestId: string;
  readonly attributes?: Attributes;
  readonly carrier?: TraceCarrier | undefined;
  /** Whether the carrier holds for several requests, as that of a WebSocket does, so that a request's own traceparent outranks it. */
  readonly shared?: boolean;
}

/** The span of one request. */
export interface RequestTrace {
  /** The id under which its refusal is logged. */
  readonly requestId: string;
  /** The id of its trace: 32 hex digits. */
  readonly traceId: string;
  /** The context that holds the span, for the spans below it. */
  readonly context: Context;
  /** Takes a traceparent of the request's input, unless a header has named one. Without effect once the span is used. */
  within(traceparent: string | undefined): void;
  /** Says which generation the request starts or attaches to. */
  serves(generationId: string, config: string): void;
  /** Says that the request is refused. */
  refused(code: ErrorCode): void;
  /** Ends the span. Later calls do nothing. */
  end(attributes?: Attributes): void;
}

/** What all spans are made with. */
export interface TraceParts {
  readonly api: typeof OpenTelemetry;
  readonly tracer: Tracer;
  /** Whether spans hold messages, answers, and what tools take and give. */
  readonly content: boolean;
  /** The headers by which a server that is asked within a context goes on with its trace. */
  readonly headersOf: (context: Context) => Readonly<Record<string, string>>;
  /** Makes contexts follow asynchronous calls, unless the app sees to that. */
  readonly followCalls: () => void;
}

export interface TracesOptions {
  readonly content: boolean;
  /** Called before the first tool runs. */
  readonly followCalls?: () => void;
}

export class Traces {
  readonly #parts: TraceParts;
  readonly #propagator: OpenTelemetryCore.W3CTraceContextPropagator;

  constructor(provider: TracerProvider, { content, followCalls = () => {} }: TracesOptions) {
    const load = createRequire(import.meta.url);
    const api = load('@opentelemetry/api') as typeof OpenTelemetry;
    const { W3CTraceContextPropagator } = load('@opentelemetry/core') as typeof OpenTelemetryCore;
    // Only the trace goes on to others. Baggage can hold anything, and upstream is somebody else's server.
    const propagator = new W3CTraceContextPropagator();
    this.#propagator = propagator;
    this.#parts = {
      api,
      tracer: provider.getTracer('llm-service'),
      content,
      headersOf(context) {
        const headers: Record<string, string> = {};
        propagator.inject(context, headers, api.defaultTextMapSetter);
        return headers;
      },
      followCalls,
    };
  }

  /** Whether spans hold content. */
  get content(): boolean {
    return this.#parts.content;
  }

  /** The caller ends it. */
  request(facts: RequestFacts): RequestTrace {
    return new TracedRequest(this.#parts, this.#propagator, facts);
  }

  /** @param request The one that starts the generation; undefined where none of this service's requests does. */
  generation(request: RequestTrace | undefined, facts: TracedGeneration): GenerationTrace {
    return new GenerationTrace(this.#parts, request?.context ?? this.#parts.api.context.active(), facts);
  }
}

/** Its span is made when it is used first, since the input of a request, which is read later, may name the parent. */
class TracedRequest implements RequestTrace {
  readonly #parts: TraceParts;
  readonly #propagator: OpenTelemetryCore.W3CTraceContextPropagator;
  readonly #facts: RequestFacts;
  readonly #startedAtMs = performance.now();
  /** What was active when the request came. */
  readonly #active: Context;
  #carrier: TraceCarrier;
  #begun: { readonly span: Span; readonly context: Context } | undefined;

  constructor(parts: TraceParts, propagator: OpenTelemetryCore.W3CTraceContextPropagator, facts: RequestFacts) {
    this.#parts = parts;
    this.#propagator = propagator;
    this.#facts = facts;
    this.#active = parts.api.context.active();
    this.#carrier = facts.carrier ?? {};
  }

  get requestId(): string {
    return this.#facts.requestId;
  }

  get traceId(): string {
    return this.#begin().span.spanContext().traceId;
  }

  get context(): Context {
    return this.#begin().context;
  }

  within(traceparent: string | undefined): void {
    if (traceparent === undefined) return;
    if (this.#facts.shared || this.#carrier['traceparent'] === undefined) this.#carrier = { traceparent };
  }

  serves(generationId: string, config: string): void {
    this.#begin().span.setAttributes({ 'llm_service.generation_id': generationId, 'llm_service.config': config });
  }

  refused(code: ErrorCode): void {
    const { span } = this.#begin();
    span.setAttribute('error.type', code);
    // By the conventions for HTTP, what its client has done wrong is no error of a server.
    if (errorTable[code].status >= 500) span.setStatus({ code: this.#parts.api.SpanStatusCode.ERROR });
  }

  end(attributes: Attributes = {}): void {
    const { span } = this.#begin();
    if (!span.isRecording()) return;
    span.setAttributes(attributes);
    span.end(performance.now());
  }

  #begin(): { readonly span: Span; readonly context: Context } {
    return (this.#begun ??= this.#start());
  }

  #start(): { readonly span: Span; readonly context: Context } {
    const { api, tracer } = this.#parts;
    const { name, requestId, attributes, shared } = this.#facts;
    const active = this.#active;
    // Whatever instruments the app around this service has taken the headers into account already.
    const within = !shared && api.trace.getSpan(active) !== undefined;
    const parent = within
      ? active
      : this.#propagator.extract(api.ROOT_CONTEXT, this.#carrier, api.defaultTextMapGetter);
    const span = tracer.startSpan(
      name,
      {
        kind: within ? api.SpanKind.INTERNAL : api.SpanKind.SERVER,
        startTime: this.#startedAtMs,
        attributes: { ...attributes, 'llm_service.request_id': requestId },
      },
      parent,
    );
    return { span, context: api.trace.setSpan(parent, span) };
  }
}
