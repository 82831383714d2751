import { parseRetryAfter } from '../src/flow/retry-after.ts';
import { describe, expect, test } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig, type Bench } from './support/llm-stream.ts';
import { UpstreamFailure, type UpstreamCode, type UpstreamFailureOptions } from '../src/upstream/failures.ts';
import { RetryPlan } from '../src/upstream/retry.ts';

finishesCleanly();

describe('a retry', () => {
  test.each(['overloaded', 'overloaded_first_event', 'server_error', 'html_200', 'empty_200'] as const)(
    'mends %s',
    async (fault) => {
      await using bench = await startBench();
      bench.simulator.enqueue({ kind: 'fault', fault }, { kind: 'fault', fault }, { kind: 'text', text: 'at last' });
      const { text, terminal } = await bench.hear(testConfig());
      expect(terminal.type).toBe('done');
      expect(text).toBe('at last');
      expect(bench.simulator.requestCount).toBe(3);
      expect(bench.failures.map(({ attempt, retryInMs }) => [attempt, retryInMs])).toEqual([
        [1, 0],
        [2, 0],
      ]);
    },
  );

  test('happens as often as the config says', async () => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'fault', fault: 'overloaded' });
    const { terminal } = await bench.hear(testConfig({ retries: { max: 3 } }));
    expect(terminal).toMatchObject({ type: 'error', code: 'upstream_overloaded', retryable: true });
    expect(terminal).toHaveProperty('requestId', bench.simulator.requests.at(-1)!.id);
    expect(bench.simulator.requestCount).toBe(4);
  });

  test.each(['unauthorized', 'invalid_request', 'too_large'] as const)('never follows %s', async (fault) => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'fault', fault });
    expect((await bench.hear(testConfig())).terminal).toMatchObject({ type: 'error', retryable: false });
    expect(bench.simulator.requestCount).toBe(1);
  });

  test.each(['socket_cut', 'clean_end', 'overloaded_mid_stream', 'malformed_json', 'two_message_starts'] as const)(
    'never follows output: %s',
    async (fault) => {
      await using bench = await startBench();
      bench.simulator.respondWith({ kind: 'fault', fault, text: 'x'.repeat(400) });
      const { text, terminal } = await bench.hear(testConfig());
      expect(terminal).toMatchObject({ type: 'error', usage: { outputTokens: 100, estimated: true } });
      expect(text).toBe('x'.repeat(400));
      expect(bench.simulator.requestCount).toBe(1);
    },
  );

  test.each([
    ['false', 500, 1],
    ['FALSE', 529, 1],
    ['false', 429, 1],
    ['true', 400, 3],
    ['true', 404, 3],
    ['true', 500, 3],
    ['perhaps', 500, 3],
    ['perhaps', 400, 1],
  ])('is decided by x-should-retry: %s, over the status %i: %i requests', async (hint, status, requests) => {
    await using bench = await startBench();
    const headers = { 'x-should-retry': hint, 'content-type': 'text/html' };
    bench.simulator.respondWith({ kind: 'raw', bytes: '<html>', status, headers });
    expect((await bench.hear(testConfig())).terminal.type).toBe('error');
    expect(bench.simulator.requestCount).toBe(requests);
  });

  test('that x-should-retry asks for keeps to what the config allows', async () => {
    await using bench = await startBench();
    const headers = { 'x-should-retry': 'true', 'retry-after': '60' };
    bench.simulator.respondWith({ kind: 'raw', bytes: '', status: 400, headers });
    await bench.hear(testConfig());
    await bench.hear(testConfig({ retries: { max: 0 } }));
    expect(bench.simulator.requestCount).toBe(2);
  });

  test('that x-should-retry forbids leaves the fallback', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'fault', fault: 'no_retry' });
    const { terminal } = await bench.hear(testConfig({ fallback: 'other' }, { other: {} }));
    expect(terminal).toMatchObject({ type: 'done', config: 'other' });
    expect(bench.simulator.requestCount).toBe(2);
  });

  test('never follows hidden output', async () => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'manual' });
    const heard = bench.hear(testConfig({ thinking: { show: false } }));
    const upstream = await bench.simulator.nextRequest();
    upstream.startBlock({ type: 'thinking', thinking: '' });
    upstream.end();
    const { events } = await heard;
    expect(events).toEqual([expect.objectContaining({ type: 'error', code: 'upstream_truncated' })]);
    expect(bench.simulator.requestCount).toBe(1);
  });
});

describe('a fallback', () => {
  const chain = { fallback: 'other', retries: { max: 0 } };
  const other = { model: 'claude-haiku-5-5', system_prompt: 'You are another.', retries: { max: 0 } };

  test('answers under its own name, model, prompt and price', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'fault', fault: 'overloaded' });
    bench.simulator.enqueue({ kind: 'text', text: 'hi', usage: { input_tokens: 1_000_000, output_tokens: 2 } });
    const { terminal } = await bench.hear(testConfig(chain, { other }));
    // Over 100,000 tokens of prompt, this model costs five times as much.
    expect(terminal).toMatchObject({ type: 'done', config: 'other', model: 'claude-haiku-5-5', costUsd: 0.500005 });
    expect(bench.simulator.requests[1]?.body).toMatchObject({ model: other.model, system: other.system_prompt });
    expect(bench.failures).toMatchObject([{ config: 'test', retryInMs: 0 }]);
  });

  test.each([
    ['unauthorized', 2],
    ['invalid_request', 1],
  ] as const)('after %s: %i requests', async (fault, requests) => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'fault', fault });
    await bench.hear(testConfig(chain, { other }));
    expect(bench.simulator.requestCount).toBe(requests);
  });

  test('comes after all retries, and has its own', async () => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'fault', fault: 'server_error' });
    const config = testConfig({ fallback: 'other', retries: { max: 2 } }, { other: { ...other, retries: { max: 1 } } });
    const { terminal } = await bench.hear(config);
    expect(terminal).toMatchObject({ type: 'error', code: 'upstream_error', config: 'other', model: other.model });
    expect(bench.simulator.requestCount).toBe(5);
  });
});

describe('a timeout', () => {
  const waits = { first_byte_ms: 60_000, idle_ms: 60_000, total_ms: 60_000 };
  const hearAll = (bench: Bench, timeouts: object, keys: object = {}) =>
    bench.hear(testConfig({ timeouts: { ...waits, ...timeouts }, retries: { max: 1 }, ...keys }));

  test.each(['stall_first_byte', 'stall_headers'] as const)('for the first byte: %s', async (fault) => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'fault', fault });
    const { terminal } = await hearAll(bench, { first_byte_ms: 500 });
    expect(terminal).toMatchObject({
      code: 'upstream_timeout',
      message: expect.stringContaining('first_byte_ms'),
      usage: { estimated: true },
    });
    expect(bench.simulator.requestCount).toBe(2);
    for (const request of bench.simulator.requests) expect(await request.outcome).toBe('client_closed');
  });

  test.each(['stall_mid_stream', 'stall_with_pings'] as const)('for the next event: %s', async (fault) => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'fault', fault, arg: 10 });
    const { terminal, text } = await hearAll(bench, { idle_ms: 1_000 });
    expect(terminal).toMatchObject({ code: 'upstream_timeout', message: expect.stringContaining('idle_ms') });
    expect(text).not.toBe('');
    expect(await bench.simulator.requests[0]!.outcome).toBe('client_closed');
  });

  test('for the whole generation ends it, with or without a fallback', async () => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'fault', fault: 'stall_first_byte' });
    const keys = { timeouts: { ...waits, total_ms: 500 }, fallback: 'other' };
    const { terminal } = await bench.hear(testConfig(keys, { other: {} }));
    expect(terminal).toMatchObject({ code: 'upstream_timeout', message: expect.stringContaining('total_ms') });
    expect(bench.simulator.requestCount).toBe(1);
  });

  test('for the whole generation fires also if nobody pulls', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'manual' });
    const stream = bench.stream(testConfig({ timeouts: { ...waits, total_ms: 1_000 } }));
    const first = stream.next();
    const upstream = await bench.simulator.nextRequest();
    await upstream.text('one');
    await first;
    expect(await upstream.outcome).toBe('client_closed');
    expect((await stream.next()).value).toMatchObject([{ type: 'error', code: 'upstream_timeout' }]);
    await stream.return(undefined);
  });
});

describe('an upstream that isn’t there', () => {
  test('is unreachable, costs nothing, and is not named', async () => {
    await using bench = await startBench({ address: () => ({ baseUrl: 'http://127.0.0.1:1' }) });
    const { terminal } = await bench.hear(testConfig());
    expect(terminal).toMatchObject({ code: 'upstream_unreachable', costUsd: 0, usage: { estimated: false } });
    expect(JSON.stringify(terminal)).not.toContain('127.0.0.1');
    expect(bench.failures).toHaveLength(3);
  });

  test.each([
    ['a redirect', 302, 'upstream_error'],
    ['a status that HTTP doesn’t know', 799, 'upstream_unreachable'],
    ['a refusal without a type', 418, 'upstream_invalid_request'],
  ])('but answers with %s', async (_what, status, code) => {
    await using bench = await startBench();
    const headers = { location: 'http://127.0.0.1:1/', 'content-type': 'text/html' };
    bench.simulator.respondWith({ kind: 'raw', bytes: '<html>secret</html>', status, headers });
    const { terminal } = await bench.hear(testConfig({ retries: { max: 0 } }));
    expect(terminal).toMatchObject({ type: 'error', code });
    expect(JSON.stringify(terminal)).not.toContain('secret');
    expect(bench.simulator.requestCount).toBe(1);
  });
});

describe('the plan after a failure', () => {
  const timing = { firstDelayMs: 500, delayMaxMs: 8_000, random: () => 0 };
  const failure = (code: UpstreamCode, options?: UpstreamFailureOptions) => new UpstreamFailure(code, options);
  const delays = (plan: RetryPlan, ...failures: UpstreamFailure[]) =>
    failures.map((each) => plan.after(each, 0, 1_000_000)?.delayMs);

  test('doubles the wait, up to eight seconds', () => {
    const plan = new RetryPlan(testConfig({ retries: { max: 7, total_ms: 100_000 } }), timing, 0);
    const overloaded = failure('upstream_overloaded');
    expect(delays(plan, ...Array.from({ length: 8 }, () => overloaded))).toEqual([
      500,
      1_000,
      2_000,
      4_000,
      8_000,
      8_000,
      8_000,
      undefined,
    ]);
  });

  test('shortens it by up to a quarter, at random', () => {
    const plan = new RetryPlan(testConfig(), { ...timing, random: () => 0.999 }, 0);
    expect(plan.after(failure('upstream_error'), 0, 1_000_000)!.delayMs).toBeCloseTo(375, 0);
  });

  test('waits as long as upstream asks, if that fits', () => {
    const plan = new RetryPlan(testConfig({ retries: { max: 5, total_ms: 20_000 } }), timing, 0);
    const asks = (retryAfterMs: number) => failure('upstream_rate_limited', { retryAfterMs });
    expect(delays(plan, asks(20_000), asks(20_001), asks(0))).toEqual([20_000, undefined, 1_000]);
  });

  test('keeps to the time that retries have, and to that of the generation', () => {
    const config = testConfig({ retries: { max: 5, total_ms: 20_000 } });
    const plan = new RetryPlan(config, timing, 1_000);
    const error = failure('upstream_error');
    expect(plan.after(error, 20_500, 1_000_000)?.delayMs).toBe(500);
    expect(plan.after(error, 20_501, 1_000_000)).toBeUndefined();
    expect(plan.after(error, 2_000, 2_500)).toBeUndefined();
  });

  test.each([
    ['retry-after-ms', { 'retry-after-ms': '1500.2', 'retry-after': '9' }, 1_501],
    ['seconds', { 'retry-after': '2' }, 2_000],
    ['a date', { 'retry-after': 'Thu, 01 Jan 1970 00:00:30 GMT' }, 20_000],
    ['a date that is over', { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 0],
    ['more than a day', { 'retry-after': '1e303' }, 86_400_000],
    ['nonsense', { 'retry-after': 'soon' }, undefined],
    ['nothing', {}, undefined],
  ])('reads retry-after as %s', (_what, headers, expected) => {
    expect(parseRetryAfter(new Headers(headers as Record<string, string>), 10_000)).toBe(expected);
  });

  test('tells the client what upstream asks for', async () => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'fault', fault: 'rate_limited_retry_after', arg: 60 });
    const { terminal } = await bench.hear(testConfig());
    expect(terminal).toMatchObject({ code: 'upstream_rate_limited', retryable: true, retryAfterMs: 60_000 });
    expect(bench.simulator.requestCount).toBe(1);
  });
});
