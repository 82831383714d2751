/**
 * Sends spans to a collector by OpenTelemetry's own SDK, which this file alone loads, and only when it is asked to. A collector that is
 * away, slow or silent costs no generation anything: spans wait in a bounded queue, and those that find it full are dropped. The SDK
 * itself reads the other standard variables: service name, headers, sampler, sizes and times of batches.
 */
import { randomUUID } from 'node:crypto';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { TracerProvider } from '@opentelemetry/api';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base';
import { within } from '../flow/within.ts';
import type { TracePlace } from '../settings/trace-variables.ts';

export interface TraceExportOptions extends TracePlace {
  readonly lines: {
    /** Spans are not taken, and dropped. Called once, until `traceExportWorks`. */
    traceExportFails(error: unknown): void;
    traceExportWorks(): void;
  };
}

/** Disposing it sends the spans that wait, within a bound. */
export interface TraceExport extends AsyncDisposable {
  readonly provider: TracerProvider;
  /** Makes the active span follow asynchronous calls in this process, unless something does already. */
  readonly followCalls: () => void;
}

/** How long the spans that wait at the end have to leave. */
const flushMs = 2_000;

/** Whether the provider that this process has registered is one that was started here. */
let registeredHere = false;

/** Loads the SDK and starts it. A provider that the process has already, by `node --import` for one, is taken in its place. */
export async function openTraceExport(options: TraceExportOptions): Promise<TraceExport> {
  const { ProxyTracerProvider, trace } = await import('@opentelemetry/api');
  const provider = trace.getTracerProvider();
  // Where none is registered, it is a proxy that passes nothing on.
  const registered = !(
    provider instanceof ProxyTracerProvider && provider.getDelegateTracer('llm-service') === undefined
  );
  if (!registered || registeredHere) return startSdk(options);
  return { provider, followCalls() {}, async [Symbol.asyncDispose]() {} };
}

async function startSdk({ url, protocol, lines }: TraceExportOptions): Promise<TraceExport> {
  const [{ BasicTracerProvider, BatchSpanProcessor }, resources, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/resources'),
    protocol === 'http/json'
      ? import('@opentelemetry/exporter-trace-otlp-http')
      : import('@opentelemetry/exporter-trace-otlp-proto'),
  ]);
  const [{ context, trace }, { AsyncLocalStorageContextManager }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/context-async-hooks'),
  ]);
  const agent = url.startsWith('https:') ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  let over = false;
  const exporter = new WatchedExporter(
    new OTLPTraceExporter({
      url,
      httpAgentOptions: () => agent,
      // Called for each request. The exporter would go on trying after the end, and keep the process alive.
      async headers() {
        if (over) throw new Error('the service has ended');
        return {};
      },
    }),
    lines,
  );
  const provider = new BasicTracerProvider({
    resource: resources
      .defaultResource()
      .merge(resources.resourceFromAttributes({ 'service.name': 'llm-service', 'service.instance.id': randomUUID() }))
      .merge(resources.detectResources({ detectors: [resources.envDetector] })),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  // What tools trace with OpenTelemetry's API goes the same way.
  const registered = !registeredHere && trace.setGlobalTracerProvider(provider);
  if (registered) registeredHere = true;
  let follows = false;
  return {
    provider,
    followCalls() {
      if (follows) return;
      follows = true;
      // Before the first tool it would only cost time: on Node 20 and 22, each asynchronous call pays for what follows it.
      context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    },
    async [Symbol.asyncDispose]() {
      await within(
        flushMs,
        provider.shutdown().catch(() => {}),
      );
      over = true;
      exporter.close();
      agent.destroy();
      if (!registered) return;
      trace.disable();
      registeredHere = false;
    },
  };
}

/** The code of the result where a collector has taken the spans. */
const exported = 0;

type Done = Parameters<SpanExporter['export']>[1];

/** Says once that spans are lost, and once that they are not any more. */
class WatchedExporter implements SpanExporter {
  readonly #exporter: SpanExporter;
  readonly #lines: TraceExportOptions['lines'];
  #fails = false;
  #closed = false;

  constructor(exporter: SpanExporter, lines: TraceExportOptions['lines']) {
    this.#exporter = exporter;
    this.#lines = lines;
  }

  export(spans: ReadableSpan[], done: Done): void {
    this.#exporter.export(spans, (result) => {
      const { error = new Error('not exported') } = result;
      const code: number = result.code;
      if (!this.#closed) this.#note(code === exported ? undefined : error);
      done(result);
    });
  }

  /** From then on failures are no news: whoever has closed it has given up on the spans. */
  close(): void {
    this.#closed = true;
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown();
  }

  async forceFlush(): Promise<void> {
    await this.#exporter.forceFlush?.();
  }

  #note(error: Error | undefined): void {
    if (error && !this.#fails) this.#lines.traceExportFails(error);
    if (!error && this.#fails) this.#lines.traceExportWorks();
    this.#fails = error !== undefined;
  }
}
