import { describe, expect, test } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig } from './support/llm-stream.ts';
import { classify } from '../src/upstream/failures.ts';
import { costUsd } from '../src/upstream/prices.ts';
import { UsageMeter, type TokenCounts } from '../src/upstream/usage.ts';

finishesCleanly();

describe('usage', () => {
  test('is message_delta’s over message_start’s, field by field', () => {
    const meter = new UsageMeter();
    meter.start({ input_tokens: 5, cache_read_input_tokens: 7, output_tokens: 1 });
    meter.update({ input_tokens: 6, cache_read_input_tokens: null, output_tokens: 9 }, true);
    expect(meter.report(true).usage).toEqual({
      inputTokens: 6,
      outputTokens: 9,
      cacheReadInputTokens: 7,
      cacheCreationInputTokens: 0,
      estimated: false,
      raw: { input_tokens: 6, cache_read_input_tokens: null, output_tokens: 9 },
    });
  });

  test.each([
    ['zeros', { input_tokens: 0, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 }],
    ['null', { input_tokens: null, cache_read_input_tokens: null, cache_creation_input_tokens: null }],
    ['nothing', {}],
    ['text', { input_tokens: '8', cache_read_input_tokens: 'NaN', cache_creation_input_tokens: '' }],
    ['fractions', { input_tokens: 0.5, cache_read_input_tokens: 1e300, cache_creation_input_tokens: 2.5 }],
    ['negative numbers', { input_tokens: -1, cache_read_input_tokens: -7, cache_creation_input_tokens: -1 }],
    ['lists', { input_tokens: [], cache_read_input_tokens: {}, cache_creation_input_tokens: [1], cache_creation: 0 }],
  ])('that was told is not undone by %s in message_delta', (_what, later) => {
    const meter = new UsageMeter();
    meter.start({
      input_tokens: 8,
      cache_read_input_tokens: 7,
      cache_creation_input_tokens: 6,
      cache_creation: { ephemeral_1h_input_tokens: 5 },
      output_tokens: 1,
    });
    const told = { ...later, output_tokens: 9 };
    meter.received(4);
    meter.update(told, true);
    const { usage, billed } = meter.report(true);
    expect(usage).toEqual({
      inputTokens: 8,
      outputTokens: 9,
      cacheReadInputTokens: 7,
      cacheCreationInputTokens: 6,
      estimated: false,
      raw: told,
    });
    expect(billed).toMatchObject([{ input: 8, output: 9, cacheRead: 7, cacheWrite: 6, cacheWriteHour: 5 }]);
  });

  test.each([0, null, '9', -1, 0.5])('of an output of %j is estimated where some has come', (output_tokens) => {
    const meter = new UsageMeter();
    meter.start({ input_tokens: 8, output_tokens: 1 });
    meter.received(40);
    meter.update({ output_tokens }, true);
    expect(meter.report(true).usage).toMatchObject({ inputTokens: 8, outputTokens: 10, estimated: true });
  });

  test('is zero if upstream has only ever reported zero', () => {
    const meter = new UsageMeter();
    meter.start({ input_tokens: 0, output_tokens: 0 });
    meter.update({ input_tokens: 0, output_tokens: 0 }, true);
    expect(meter.report(true).usage).toMatchObject({ inputTokens: 0, outputTokens: 0, estimated: false });
  });

  test('is zero if upstream reports zero beside iterations, which have the missing part', () => {
    const meter = new UsageMeter();
    meter.start({ input_tokens: 100, cache_read_input_tokens: 55_096, output_tokens: 1 });
    const iterations = [
      { type: 'compaction', input_tokens: 100, cache_read_input_tokens: 55_096, output_tokens: 83 },
      { type: 'message', input_tokens: 181, cache_read_input_tokens: 0, output_tokens: 8 },
    ];
    meter.received(8);
    meter.update({ input_tokens: 181, cache_read_input_tokens: 0, output_tokens: 8, iterations }, true);
    const { usage, billed } = meter.report(true);
    expect(usage).toMatchObject({ inputTokens: 181, cacheReadInputTokens: 0, outputTokens: 8, estimated: false });
    expect(billed).toMatchObject([{ cacheRead: 55_096 }, { cacheRead: 0 }]);
  });

  test('keeps the iterations that were reported', () => {
    const meter = new UsageMeter();
    meter.start({ input_tokens: 8, output_tokens: 1, iterations: [{ input_tokens: 3, output_tokens: 4 }] });
    meter.update({ output_tokens: 5, iterations: [] }, true);
    expect(meter.report(true).billed).toMatchObject([{ input: 3, output: 4 }]);
  });

  test('of a stream that broke off is estimated from the text that arrived', () => {
    const meter = new UsageMeter();
    meter.start({ input_tokens: 5, output_tokens: 1 });
    meter.received(9);
    expect(meter.report(false).usage).toMatchObject({ inputTokens: 5, outputTokens: 3, estimated: true });
  });

  test('of a stream that broke off after its stop reason is as reported, and exact', () => {
    const meter = new UsageMeter();
    meter.start({ input_tokens: 5, output_tokens: 1 });
    meter.received(9);
    meter.update({ output_tokens: 2 }, true);
    expect(meter.report(false).usage).toMatchObject({ outputTokens: 2, estimated: false });
  });

  test('of a server that reports none is estimated', () => {
    const meter = new UsageMeter();
    meter.start(undefined);
    meter.received(8);
    meter.update(undefined, true);
    expect(meter.report(true).usage).toMatchObject({ inputTokens: 0, outputTokens: 2, estimated: true, raw: null });
  });

  test('counts tool input and hidden thinking, too', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'manual' });
    const heard = bench.hear(testConfig());
    const upstream = await bench.simulator.nextRequest();
    upstream.startBlock({ type: 'thinking', thinking: '' });
    await upstream.delta({ type: 'thinking_delta', thinking: 'x'.repeat(40) });
    upstream.startBlock({ type: 'tool_use', id: 'toolu_1', name: 'add', input: {} });
    await upstream.delta({ type: 'input_json_delta', partial_json: 'x'.repeat(40) });
    upstream.end();
    expect((await heard).terminal.usage).toMatchObject({ outputTokens: 20, estimated: true });
  });

  test('stays unknown if an attempt of unknown cost came before the answer', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'fault', fault: 'empty_200' }, { kind: 'text', text: 'four' });
    const { terminal } = await bench.hear(testConfig());
    expect(terminal).toMatchObject({ type: 'done', usage: { outputTokens: 1, estimated: true } });
  });

  test('is exact where the attempt before the answer was refused', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'fault', fault: 'overloaded_first_event' }, { kind: 'text', text: 'four' });
    const { terminal } = await bench.hear(testConfig());
    expect(terminal).toMatchObject({ type: 'done', usage: { outputTokens: 1, estimated: false } });
  });
});

describe('the cost', () => {
  const none = { model: undefined, input: 0, output: 0, cacheRead: 0, cacheWrite: 0, cacheWriteHour: 0 };
  const million = 1_000_000;
  const ordinary = (billed: readonly (typeof none | TokenCounts)[]) => ({ billed, specialPrice: false });

  test.each([
    ['claude-opus-5-5', [4, 20, 5, 0.2]],
    ['claude-sonnet-5-5', [2, 10, 2.5, 0.1]],
    ['claude-haiku-5-5', [0.5, 0.5, 0.625, 0.05]],
    ['claude-sonnet-4-6', [3, 15, 3.75, 0.3]],
    ['claude-haiku-4-5', [1, 5, 1.25, 0.1]],
  ])('of a million tokens of %s is as listed', (model, [input, output, cacheWrite, cacheRead]) => {
    const cost = (counts: object) => costUsd({ model }, ordinary([{ ...none, ...counts }]));
    expect(cost({ input: million })).toBeCloseTo(input!, 9);
    expect(cost({ output: million })).toBeCloseTo(output!, 9);
    expect(cost({ cacheWrite: million })).toBeCloseTo(cacheWrite!, 9);
    expect(cost({ cacheRead: million })).toBeCloseTo(cacheRead!, 9);
  });

  test('of a long prompt is five times as high if the list says so, from one token over its bound', () => {
    const cost = (cacheRead: number) =>
      costUsd({ model: 'claude-haiku-5-5' }, ordinary([{ ...none, input: 50_000, cacheRead }]));
    expect(cost(50_000)).toBeCloseTo(0.0055, 9);
    expect(cost(50_001)).toBeCloseTo(0.0275, 6);
  });

  test('of tokens cached for an hour is twice that of input', () => {
    const counts = { ...none, cacheWrite: 2 * million, cacheWriteHour: million };
    expect(costUsd({ model: 'claude-sonnet-5-5' }, ordinary([counts]))).toBeCloseTo(2.5 + 4, 9);
  });

  test.each(['claude-sonnet-5', 'claude-sonnet-5-5-mini', 'llama3'])('of %s is unknown', (model) => {
    expect(costUsd({ model }, ordinary([{ ...none, input: 1 }]))).toBeNull();
  });

  test('of an unknown model is what the config says', () => {
    const price = { input: 1, output: 2, cacheWrite: 3, cacheRead: 4 };
    expect(costUsd({ model: 'llama3', price }, ordinary([{ ...none, input: million, output: million }]))).toBe(3);
  });

  test('counts all iterations, each by its model', () => {
    const meter = new UsageMeter();
    meter.start({ input_tokens: 1, output_tokens: 1 });
    const iterations = [
      { type: 'compaction', input_tokens: million, output_tokens: 0 },
      { type: 'advisor_message', model: 'claude-opus-5-5', input_tokens: million, output_tokens: 0 },
      { type: 'message', model: null, input_tokens: 0, output_tokens: million },
    ];
    meter.update({ input_tokens: 0, output_tokens: million, iterations }, true);
    expect(costUsd({ model: 'claude-sonnet-5-5' }, meter.report(true))).toBeCloseTo(2 + 4 + 10, 9);
  });

  test('is null in the event if the price is unknown, but 0 if nothing was billed', async () => {
    await using bench = await startBench();
    const config = testConfig({ model: 'claude-of-tomorrow' });
    expect((await bench.hear(config)).terminal).toMatchObject({ type: 'done', costUsd: null });
    bench.simulator.respondWith({ kind: 'fault', fault: 'unauthorized' });
    expect((await bench.hear(config)).terminal).toMatchObject({ type: 'error', costUsd: 0 });
  });
});

describe('a failure', () => {
  test.each([
    ['authentication_error', 401, 'upstream_auth'],
    ['permission_error', 403, 'upstream_auth'],
    ['billing_error', 402, 'upstream_auth'],
    ['invalid_request_error', 400, 'upstream_invalid_request'],
    ['not_found_error', 404, 'upstream_invalid_request'],
    ['request_too_large', 413, 'upstream_invalid_request'],
    ['rate_limit_error', 429, 'upstream_rate_limited'],
    ['overloaded_error', 529, 'upstream_overloaded'],
    ['timeout_error', 504, 'upstream_timeout'],
    ['api_error', 500, 'upstream_error'],
  ])('of type %s has the same code with any status, and its status alone says it too', (type, status, code) => {
    expect(classify(type, undefined)).toBe(code);
    expect(classify(type, 200)).toBe(code);
    expect(classify(undefined, status)).toBe(code);
    expect(classify('unheard_of', status)).toBe(code);
  });

  test.each([[302], [501], [502], [409]])('of status %i alone is upstream_error', (status) => {
    expect(classify(null, status)).toBe('upstream_error');
  });
});
