/** An app with a tracer provider of its own finds the router's spans among its own. */
import { trace } from '@opentelemetry/api';
import { InMemorySpanExporter, SimpleSpanProcessor, BasicTracerProvider } from '@opentelemetry/sdk-trace-base';
import { expect, it } from 'vitest';
import { defineConfigs } from '../src/configs/configs.ts';
import { createLlmRouter } from '../src/embed.ts';
import { startSimulator } from '../src/simulator.ts';
import { tool } from '../src/tools/tool.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { hostClient, startHostApp } from './support/host-app.ts';
import { plainConfig } from './support/service.ts';
import { bySteps, call, city, message, text } from './support/tool-scripts.ts';

finishesCleanly();

const messages = [{ role: 'user', content: 'hi' }] as const;
const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

function ownProvider() {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const spans = () =>
    exporter.getFinishedSpans().map((span) => ({
      name: span.name,
      traceId: span.spanContext().traceId,
      spanId: span.spanContext().spanId,
      parent: span.parentSpanContext?.spanId,
      attributes: span.attributes,
    }));
  return { provider, spans };
}

it('a call within the process is a span, with the model’s messages and the calls of tools below it', async () => {
  const { provider, spans } = ownProvider();
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  const weather = tool({ description: 'The weather', input: city, execute: async () => 'cold' });
  const configs = defineConfigs({ default: { ...plainConfig, tools: { weather } } });
  await using router = createLlmRouter(configs, {
    baseUrl: upstream.url,
    apiKey: 'sk-test',
    tracerProvider: provider,
  });
  upstream.respondWith(
    bySteps(
      () => message(call('toolu_1', 'weather', { city: 'Oslo' })),
      () => message(text('Cold.')),
    ),
  );
  const { llm } = router.createCaller({ req: { headers: { traceparent } } });
  for await (const _ of await llm.stream({ config: 'default', messages }));
  await expect.poll(() => spans().length).toBe(4);
  const request = spans().find(({ name }) => name === 'llm.stream')!;
  expect(request).toMatchObject({ traceId: traceparent.slice(3, 35), parent: traceparent.slice(36, 52) });
  const below = spans().filter(({ parent }) => parent === request.spanId);
  expect(below.map(({ name }) => name)).toEqual([
    'chat claude-sonnet-5-5',
    'execute_tool weather',
    'chat claude-sonnet-5-5',
  ]);

  const error: unknown = await llm.cancel({ generationId: crypto.randomUUID() }).catch((thrown: unknown) => thrown);
  const refused = spans().find(({ name }) => name === 'llm.cancel')!;
  expect(refused.attributes['error.type']).toBe('generation_not_found');
  expect(error).toMatchObject({ cause: { requestId: refused.attributes['llm_service.request_id'] } });
  // Nothing of the app's process was touched.
  expect(trace.getTracer('the app').startSpan('none').isRecording()).toBe(false);
});

it('a subscription over the app’s own transport is in the trace that its headers name', async () => {
  const { provider, spans } = ownProvider();
  await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  await using host = await startHostApp({
    baseUrl: upstream.url,
    apiKey: 'sk-test',
    env: { KEY_THAT_THROWS: 'sk-own' },
    tracerProvider: provider,
    limits: { drainMs: 0 },
  });
  const client = hostClient(host.url, 'sse');
  await new Promise<void>((resolve, reject) => {
    client.llm.stream.subscribe(
      { config: 'default', messages, traceparent },
      { onComplete: resolve, onError: reject, onData() {} },
    );
  });
  await expect
    .poll(() =>
      spans()
        .map(({ name }) => name)
        .toSorted(),
    )
    .toEqual(['chat claude-sonnet-5-5', 'llm.stream']);
  expect(new Set(spans().map(({ traceId }) => traceId))).toEqual(new Set([traceparent.slice(3, 35)]));
});
