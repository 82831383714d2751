/** What a service does can be followed in a trace: from whoever asks through the request and the model's messages to upstream and tools. */
import { createRequire } from 'node:module';
import { trace } from '@opentelemetry/api';
import { beforeAll, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { ToolError, tool } from '../src/tools/tool.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { startCollector, type CollectedSpan, type Collector } from './support/collector.ts';
import { doors, readAll, terminalOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson, send, upgrade } from './support/raw-http.ts';
import { openSocket, query, subscription } from './support/raw-websocket.ts';
import { ask, plainConfig, startTestService, type TestServiceOptions } from './support/service.ts';
import { bySteps, call, city, message, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();
// The SDK reads it of the process: spans leave soon, not after five seconds.
vi.stubEnv('OTEL_BSP_SCHEDULE_DELAY', '10');

const loaded = () =>
  Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('@opentelemetry/'));
const [sse] = doors as [(typeof doors)[number]];

/** A service whose spans come to a collector as JSON. */
async function traced(options: TestServiceOptions = {}) {
  const collector = await startCollector();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', ...options.env };
  const service = await startTestService({ ...options, env });
  return {
    ...service,
    collector,
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await collector[Symbol.asyncDispose]();
    },
  };
}

/** As a browser's instrumentation makes it for each of its requests. */
function newTrace() {
  const hex = (bytes: number) => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString('hex');
  const [traceId, spanId] = [hex(16), hex(8)];
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-01` };
}

const lines: string[] = [];
const telemetry = () =>
  new Telemetry({ logLevel: 'info', logContent: false, destination: { write: (line) => void lines.push(line) } });

let names: ReadonlySet<unknown>;
beforeAll(async () => {
  const conventions = await import('@opentelemetry/semantic-conventions/incubating');
  names = new Set<unknown>(Object.values(conventions));
});

/** Every attribute has the name of a convention, or begins with the service's own. */
function expectNames({ name, attributes }: CollectedSpan): void {
  for (const key of Object.keys(attributes)) {
    if (!key.startsWith('llm_service.')) expect(names.has(key), `${key} of ${name}`).toBe(true);
  }
}

it('without an endpoint, OpenTelemetry’s SDK is not even loaded', async () => {
  await using service = await startTestService();
  expect(terminalOf(await readAll(sse.stream(service.url, ask('hi'))))).toMatchObject({ type: 'done' });
  expect(loaded().filter((path) => path.includes('sdk-trace'))).toEqual([]);
});

type Ask = (url: string, traceparent: string) => Promise<unknown>;

async function overWebSocket(url: string, input: object, params?: object): Promise<void> {
  using socket = await openSocket(url, params ? '?connectionParams=1' : '');
  if (params) socket.send({ method: 'connectionParams', data: params });
  socket.send(subscription(1, 'llm.stream', input));
  while ((await socket.next()).result?.type !== 'stopped');
}

const ways: readonly (readonly [way: string, name: string, ask: Ask])[] = [
  [
    'SSE, in a header',
    'POST /trpc/llm.stream',
    (url, traceparent) => postJson(`${url}/trpc/llm.stream`, { json: ask('hi') }, { traceparent }),
  ],
  [
    'SSE by GET, in the input',
    'GET /trpc/llm.stream',
    (url, traceparent) => {
      const input = encodeURIComponent(JSON.stringify({ json: { ...ask('hi'), traceparent } }));
      return send(`${url}/trpc/llm.stream?input=${input}`, {
        headers: { accept: 'text/event-stream', 'x-llm-client': 'test' },
      });
    },
  ],
  [
    'WebSocket, in the input',
    'llm.stream',
    (url, traceparent) => overWebSocket(url, { ...ask('hi'), traceparent }, { traceparent: newTrace().traceparent }),
  ],
  [
    'WebSocket, as a connection param',
    'llm.stream',
    (url, traceparent) => overWebSocket(url, ask('hi'), { traceparent }),
  ],
  [
    'REST',
    'POST /api/llm/process_stream/:config',
    (url, traceparent) =>
      postJson(`${url}/api/llm/process_stream/default`, { messages: ask('hi').messages }, { traceparent }),
  ],
];

it('a trace goes on from whoever asks, over every door, through request and message to upstream', async () => {
  await using service = await traced({ configs: { default: { ...plainConfig, stop_sequences: ['END'] } } });
  const { collector, upstream } = service;
  for (const [way, name, request] of ways) {
    const browser = newTrace();
    upstream.enqueue({ kind: 'text', text: ['Hello ', 'there'] });
    await request(service.url, browser.traceparent);
    const spans = await collector.traceWith((span) => span.kind === 'server' && span.traceId === browser.traceId);
    expect(spans.map((span) => `${span.name}, ${span.kind}`).toSorted(), way).toEqual(
      [`${name}, server`, 'chat claude-sonnet-5-5, client'].toSorted(),
    );
    const server = spans.find(({ kind }) => kind === 'server')!;
    const chat = spans.find(({ kind }) => kind === 'client')!;
    expect([server.parentSpanId, chat.parentSpanId], way).toEqual([browser.spanId, server.spanId]);
    const { headers } = upstream.requests.at(-1)!;
    expect(headers['traceparent'], way).toBe(`00-${browser.traceId}-${chat.spanId}-01`);

    expect(server.attributes, way).toMatchObject({
      'llm_service.config': 'default',
      'llm_service.request_id': expect.stringMatching(/^[\da-f-]{36}$/) as string,
    });
    expect(chat.attributes, way).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'anthropic',
      'gen_ai.request.model': 'claude-sonnet-5-5',
      'gen_ai.request.max_tokens': 100_000,
      'gen_ai.request.stop_sequences': ['END'],
      'gen_ai.request.stream': true,
      'gen_ai.response.model': 'claude-sonnet-5-5',
      'gen_ai.response.id': expect.stringMatching(/^msg_/) as string,
      'gen_ai.response.finish_reasons': ['end_turn'],
      'gen_ai.output.type': 'text',
      'llm_service.generation_id': server.attributes['llm_service.generation_id'],
    });
    expect(chat.attributes['gen_ai.usage.input_tokens'], way).toBeGreaterThan(0);
    expect(chat.attributes['gen_ai.usage.output_tokens'], way).toBeGreaterThan(0);
    expect(
      chat.events.map((event) => event.name),
      way,
    ).toEqual(['first_token']);
    expect([server.failed, chat.failed], way).toEqual([false, false]);
    expect(server.startedAt <= chat.startedAt && chat.startedAt <= chat.endedAt, way).toBe(true);
    for (const span of spans) expectNames(span);
  }
  expect(collector.resource).toMatchObject({ 'service.name': 'llm-service' });
  // Health, metrics and the page are no requests to a door.
  expect(new Set(collector.spans.map(({ name }) => name))).toEqual(
    new Set([...ways.map(([, name]) => name), 'chat claude-sonnet-5-5']),
  );
  const everything = JSON.stringify(collector.requests.map(({ body }) => body.toString()));
  for (const content of ['hi"', 'Hello', plainConfig.system_prompt]) expect(everything).not.toContain(content);
  expect(loaded().some((path) => path.includes('sdk-trace'))).toBe(true);
});

it('each message of the model and each call of a tool is a span, and the tool runs in that of its call', async () => {
  const inTool: (readonly [traceparent: string | undefined, active: string | undefined])[] = [];
  const weather = tool({
    description: 'The weather',
    input: city,
    output: z.object({ celsius: z.number() }),
    execute: async (_input, { traceparent }) => {
      await new Promise(setImmediate);
      inTool.push([traceparent, trace.getActiveSpan()?.spanContext().spanId]);
      return { celsius: 4 };
    },
  });
  const broken = tool({
    description: 'Does not work',
    input: city,
    execute: async () => {
      throw new ToolError('no');
    },
  });
  await using service = await traced({ configs: { default: withTools({ weather, broken }) } });
  const { collector, upstream } = service;
  upstream.respondWith(
    bySteps(
      () => message(call('toolu_1', 'weather', { city: 'Oslo' }), call('toolu_2', 'broken', { city: 'Oslo' })),
      () => message(text('It is 4.')),
    ),
  );
  const browser = newTrace();
  await postJson(`${service.url}/trpc/llm.stream`, { json: ask('hi') }, browser);
  const spans = await collector.traceWith((span) => span.kind === 'server');
  const server = spans.find(({ kind }) => kind === 'server')!;
  expect(spans.map(({ name }) => name).toSorted()).toEqual([
    'POST /trpc/llm.stream',
    'chat claude-sonnet-5-5',
    'chat claude-sonnet-5-5',
    'execute_tool broken',
    'execute_tool weather',
  ]);
  for (const span of spans) {
    expectNames(span);
    if (span !== server) expect(span.parentSpanId).toBe(server.spanId);
  }
  const [first, second] = spans.filter(({ name }) => name.startsWith('chat'));
  expect([first, second].map((span) => span?.attributes['gen_ai.response.finish_reasons'])).toEqual([
    ['tool_use'],
    ['end_turn'],
  ]);
  const ofWeather = spans.find(({ name }) => name === 'execute_tool weather')!;
  expect(ofWeather).toMatchObject({
    kind: 'internal',
    failed: false,
    attributes: {
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'weather',
      'gen_ai.tool.call.id': 'toolu_1',
      'gen_ai.tool.type': 'function',
    },
  });
  expect(inTool).toEqual([[`00-${browser.traceId}-${ofWeather.spanId}-01`, ofWeather.spanId]]);
  expect(spans.find(({ name }) => name === 'execute_tool broken')).toMatchObject({
    failed: true,
    attributes: { 'error.type': 'failed' },
  });
});

it('retries, the fallback and the failure that ends an answer are in the span of the message', async () => {
  const frail = { ...plainConfig, retries: { max: 1 }, fallback: 'spare' };
  await using service = await traced({
    configs: { default: frail, spare: { ...plainConfig, model: 'claude-haiku-5-5', retries: { max: 0 } } },
  });
  const { collector, upstream } = service;
  const overloaded = { kind: 'fault', fault: 'overloaded' } as const;
  upstream.enqueue(overloaded, overloaded, { kind: 'text', text: ['Well'] });
  await readAll(sse.stream(service.url, ask('hi')));
  const isChat = ({ name }: CollectedSpan) => name.startsWith('chat');
  const saved = (await collector.traceWith(isChat)).find(isChat);
  expect(saved).toMatchObject({
    failed: false,
    attributes: { 'gen_ai.request.model': 'claude-sonnet-5-5', 'gen_ai.response.model': 'claude-haiku-5-5' },
    events: [
      { name: 'retry', attributes: { 'error.type': 'upstream_overloaded', 'llm_service.attempt': 1 } },
      { name: 'fallback', attributes: { 'error.type': 'upstream_overloaded', 'llm_service.config': 'spare' } },
      { name: 'first_token' },
    ],
  });
  expect(upstream.requests.map(({ headers }) => headers['traceparent']?.slice(36, 52))).toEqual(
    Array.from({ length: 3 }, () => saved!.spanId),
  );

  upstream.enqueue({ kind: 'fault', fault: 'invalid_request' });
  await readAll(sse.stream(service.url, ask('hi')));
  await collector.traceWith((span) => isChat(span) && span.failed);
  const failed = collector.spans.find((span) => isChat(span) && span.failed)!;
  expect(failed.attributes['error.type']).toBe('upstream_invalid_request');

  upstream.enqueue({ kind: 'manual' });
  const view = sse.stream(service.url, ask('hi'));
  const { event } = await view.until(({ type }) => type === 'start');
  const { generationId } = event as { readonly generationId: string };
  await send(`${service.url}/api/llm/generations/${generationId}`, { method: 'DELETE' });
  await readAll(view);
  await collector.traceWith(({ attributes }) => attributes['llm_service.cancelled'] === 'requested');
  for (const span of collector.spans) expectNames(span);
});

it('content is in spans only with LLM_LOG_CONTENT=1', async () => {
  const weather = tool({ description: 'The weather', input: city, execute: async () => 'cold' });
  await using service = await traced({
    configs: { default: withTools({ weather }) },
    env: { LLM_LOG_CONTENT: '1' },
  });
  const { collector, upstream } = service;
  upstream.respondWith(
    bySteps(
      () => message(text('Let me look.'), call('toolu_1', 'weather', { city: 'Oslo' })),
      () => message(text('It is cold.')),
    ),
  );
  await readAll(sse.stream(service.url, ask('How warm is Oslo?')));
  const spans = await collector.traceWith(({ kind }) => kind === 'server');
  const json = (span: CollectedSpan | undefined, key: string): unknown => JSON.parse(String(span?.attributes[key]));
  const [first, last] = spans.filter(({ name }) => name.startsWith('chat'));
  const asked = { role: 'user', parts: [{ type: 'text', content: 'How warm is Oslo?' }] };
  expect(json(first, 'gen_ai.input.messages')).toEqual([asked]);
  expect(json(last, 'gen_ai.input.messages')).toMatchObject([
    asked,
    { role: 'assistant', parts: [{ type: 'text' }, { type: 'tool_call', arguments: { city: 'Oslo' } }] },
    { role: 'user', parts: [{ type: 'tool_call_response', id: 'toolu_1', response: 'cold' }] },
  ]);
  expect(json(last, 'gen_ai.output.messages')).toEqual([
    { role: 'assistant', parts: [{ type: 'text', content: 'It is cold.' }], finish_reason: 'end_turn' },
  ]);
  const ofTool = spans.find(({ name }) => name === 'execute_tool weather');
  expect(json(ofTool, 'gen_ai.tool.call.arguments')).toEqual({ city: 'Oslo' });
  expect(json(ofTool, 'gen_ai.tool.call.result')).toBe('cold');
  for (const span of spans) expectNames(span);
});

const bad = { messages: [{ role: 'robot', content: 'hi' }] };
const refusals: readonly (readonly [door: string, code: string, come: (url: string) => Promise<string>])[] = [
  ['sse', 'invalid_input', async (url) => (await postJson(`${url}/trpc/llm.stream`, { json: bad })).text],
  ['trpc', 'invalid_input', async (url) => (await send(`${url}/trpc/llm.nonsense`)).text],
  ['rest', 'invalid_input', async (url) => (await postJson(`${url}/api/llm/process_stream/default`, bad)).text],
  ['rest', 'config_not_found', async (url) => (await postJson(`${url}/api/llm/process_stream/no`, ask('hi'))).text],
  [
    'rest',
    'forbidden',
    async (url) => (await send(`${url}/api/llm/configs`, { headers: { origin: 'https://evil.example' } })).text,
  ],
  ['websocket', 'forbidden', async (url) => (await upgrade(`${url}/trpc`, { origin: 'https://evil.example' })).text],
  [
    'websocket',
    'invalid_input',
    async (url) => {
      using socket = await openSocket(url);
      socket.send(query(1, 'llm.generation', {}));
      return JSON.stringify(await socket.next());
    },
  ],
];

it('a refusal has one id: in what the client reads, in its log line and in its span', async () => {
  await using service = await traced({ telemetry: telemetry() });
  const { collector } = service;
  for (const [door, code, come] of refusals) {
    lines.length = 0;
    const read = await come(service.url);
    const line = JSON.parse(lines.find((each) => each.includes('"refused"'))!) as Readonly<Record<string, string>>;
    expect(line).toMatchObject({ door, code });
    expect(read, `${door} ${code}`).toContain(line['requestId']);
    const spans = await collector.traceWith((span) => span.attributes['llm_service.request_id'] === line['requestId']);
    expect(spans).toMatchObject([{ traceId: line['traceId'], failed: false, attributes: { 'error.type': code } }]);
    for (const span of spans) expectNames(span);
  }
  lines.length = 0;
  await readAll(sse.stream(service.url, ask('hi')));
  const ended = JSON.parse(lines.find((each) => each.includes('generation ended'))!) as Readonly<
    Record<string, string>
  >;
  await collector.traceWith(({ traceId, name }) => traceId === ended['traceId'] && name.startsWith('chat'));
});

it('whoever asks decides whether its trace is kept, and upstream is told either way', async () => {
  await using service = await traced();
  const dropped = newTrace();
  await postJson(
    `${service.url}/trpc/llm.stream`,
    { json: ask('hi') },
    { traceparent: `${dropped.traceparent.slice(0, -1)}0` },
  );
  expect(service.upstream.requests.at(-1)!.headers['traceparent']).toMatch(new RegExp(`^00-${dropped.traceId}-.*-00$`));
  await postJson(`${service.url}/trpc/llm.stream`, { json: ask('hi') }, { traceparent: 'nonsense' });
  await service.collector.traceWith(({ parentSpanId }) => parentSpanId === undefined);
  expect(service.collector.spans.filter(({ traceId }) => traceId === dropped.traceId)).toEqual([]);
});

it('by default spans leave as protobuf, below the path of the endpoint', async () => {
  await using service = await traced({ env: { OTEL_EXPORTER_OTLP_PROTOCOL: '' } });
  await readAll(sse.stream(service.url, ask('hi')));
  const { requests } = service.collector;
  await vi.waitUntil(() => requests.some(({ body }) => body.includes('chat claude-sonnet-5-5')), { timeout: 60_000 });
  expect(requests[0]).toMatchObject({ path: '/v1/traces', headers: { 'content-type': 'application/x-protobuf' } });
});

it.each([
  ['is disabled', { OTEL_SDK_DISABLED: 'true' }, false],
  ['has no exporter', { OTEL_TRACES_EXPORTER: 'none' }, false],
  ['speaks a protocol that the service does not', { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, true],
])('where the SDK %s, nothing is traced', async (_why, env: Readonly<Record<string, string>>, said) => {
  lines.length = 0;
  await using service = await traced({ env, telemetry: telemetry() });
  await readAll(sse.stream(service.url, ask('hi')));
  expect(service.upstream.requests[0]!.headers).not.toHaveProperty('traceparent');
  expect(service.service.core.telemetry.traces).toBeUndefined();
  expect(lines.join('').includes('nothing is traced')).toBe(said);
});

it.each<[string, Collector['answer']]>([
  ['never answers', 'never'],
  ['refuses', 400],
])('a collector that %s costs no answer anything, and the service ends within a bound', async (_what, answer) => {
  lines.length = 0;
  await using collector = await startCollector();
  collector.answer = answer;
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' };
  const service = await startTestService({ env, telemetry: telemetry() });
  for (let asked = 0; asked < 5; asked += 1) {
    expect(terminalOf(await readAll(sse.stream(service.url, ask('hi'))))).toMatchObject({ type: 'done' });
  }
  await vi.waitUntil(() => collector.requests.length > 0, { timeout: 60_000 });
  if (answer === 400)
    await vi.waitUntil(() => lines.some((line) => line.includes('traces can’t be sent')), { timeout: 60_000 });
  await service[Symbol.asyncDispose]();
  expect(lines.filter((line) => line.includes('traces can’t be sent')).length).toBeLessThanOrEqual(1);
});

it('a collector that is away costs no answer anything', async () => {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' };
  await using service = await startTestService({ env });
  expect(terminalOf(await readAll(sse.stream(service.url, ask('hi'))))).toMatchObject({ type: 'done' });
});
