import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, takeApart, testConfig, type Bench } from './support/llm-stream.ts';
import { frameOf } from './support/upstream-frames.ts';
import type { CancelReason, LlmEvent } from '../src/protocol.ts';

finishesCleanly();

/** An answer that was requested, and whose upstream waits for the test before it sends anything. */
async function startByHand(bench: Bench) {
  bench.simulator.enqueue({ kind: 'manual' });
  const abort = new AbortController();
  const stream = bench.stream(testConfig(), abort.signal);
  const first = stream.next();
  return { abort, stream, first, upstream: await bench.simulator.nextRequest() };
}

describe('an abort', () => {
  test.each(['requested', 'disconnected', 'shutdown'] satisfies CancelReason[])(
    'for the reason %s says so, after the socket is closed',
    async (reason) => {
      await using bench = await startBench();
      const { abort, stream, first, upstream } = await startByHand(bench);
      await upstream.text('x'.repeat(400));
      await first;
      abort.abort(reason);
      const { value } = await stream.next();
      expect(value).toEqual([
        expect.objectContaining({
          type: 'cancelled',
          reason,
          usage: expect.objectContaining({ outputTokens: 100, estimated: true }),
        }),
      ]);
      expect(await upstream.outcome).toBe('client_closed');
      expect((await stream.next()).done).toBe(true);
    },
  );

  test('before the start makes no request', async () => {
    await using bench = await startBench();
    const { events } = await bench.hear(testConfig(), AbortSignal.abort());
    expect(events).toEqual([
      expect.objectContaining({
        type: 'cancelled',
        reason: 'requested',
        costUsd: 0,
        usage: expect.objectContaining({ estimated: false, raw: null }),
      }),
    ]);
    expect(bench.simulator.requestCount).toBe(0);
  });

  test('before the first byte closes the socket, and leaves open what it cost', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'manual' });
    const abort = new AbortController();
    const heard = bench.hear(testConfig(), abort.signal);
    const upstream = await bench.simulator.nextRequest();
    abort.abort('requested');
    const { terminal } = await heard;
    expect(terminal).toMatchObject({ type: 'cancelled', usage: { inputTokens: 0, outputTokens: 0, estimated: true } });
    expect(await upstream.outcome).toBe('client_closed');
  });

  test('closes the socket, also if nobody pulls', async () => {
    await using bench = await startBench();
    const { abort, stream, first, upstream } = await startByHand(bench);
    await upstream.text('one');
    await first;
    abort.abort('requested');
    expect(await upstream.outcome).toBe('client_closed');
    expect((await stream.next()).value).toMatchObject([{ type: 'cancelled' }]);
  });

  test('ends the wait before a retry', async () => {
    await using bench = await startBench({
      retryTiming: { firstDelayMs: 10_000, delayMaxMs: 10_000, random: () => 0 },
    });
    const failed = bench.nextFailure();
    bench.simulator.enqueue({ kind: 'fault', fault: 'overloaded' });
    const abort = new AbortController();
    const heard = bench.hear(testConfig({ retries: { max: 1 } }), abort.signal);
    await failed;
    abort.abort('shutdown');
    expect((await heard).terminal).toMatchObject({
      type: 'cancelled',
      reason: 'shutdown',
      usage: { estimated: false },
    });
    expect(bench.simulator.requestCount).toBe(1);
  });

  test('leaves no listener on its signal', async () => {
    await using bench = await startBench();
    const abort = new AbortController();
    await bench.hear(testConfig(), abort.signal);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
  });
});

describe('a consumer', () => {
  test('that leaves closes the socket', async () => {
    await using bench = await startBench();
    const { stream, first, upstream } = await startByHand(bench);
    await upstream.text('one');
    await first;
    await stream.return(undefined);
    expect(await upstream.outcome).toBe('client_closed');
  });

  test('that is slow makes upstream wait, and causes no timeout', async () => {
    await using bench = await startBench();
    const config = testConfig({ max_tokens: 100_000_000, timeouts: { idle_ms: 3_000 } });
    const deltas = Array.from({ length: 256 }, (_, index) => String(index).padEnd(64 * 1024, '.'));
    bench.simulator.enqueue({ kind: 'text', text: deltas }, { kind: 'fault', fault: 'stall_mid_stream' });
    const stream = bench.stream(config);
    const events: LlmEvent[] = [...(await stream.next()).value!];

    // Another answer, whose upstream stalls, shows when the time is up for both.
    const { terminal } = await bench.hear(config);
    expect(terminal).toMatchObject({ type: 'error', code: 'upstream_timeout' });

    const [upstream] = bench.simulator.requests;
    expect(upstream!.closedAt).toBeUndefined();
    for await (const batch of stream) events.push(...batch);
    const heard = takeApart(events);
    expect(heard.terminal.type).toBe('done');
    expect(heard.text === deltas.join('')).toBe(true);
  });

  test('that is slow to take the end of a failed answer holds no socket, and changes nothing by leaving', async () => {
    await using bench = await startBench();
    const { abort, stream, first, upstream } = await startByHand(bench);
    const events = [
      { type: 'message_start', message: { usage: { input_tokens: 1, output_tokens: 1 } } },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'all there is' } },
      { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } },
    ];
    await upstream.write(events.map(frameOf).join(''));
    expect((await first).value).toMatchObject([{ type: 'text', text: 'all there is' }]);
    expect(await upstream.outcome).toBe('client_closed');
    abort.abort('requested');
    expect((await stream.next()).value).toMatchObject([{ type: 'error', code: 'upstream_overloaded' }]);
  });
});

describe('a complete message', () => {
  test('is reported while upstream holds the socket open, and the socket is closed then', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'fault', fault: 'held_open' });
    const { terminal } = await bench.hear(testConfig());
    expect(terminal.type).toBe('done');
    expect(await bench.simulator.requests[0]!.outcome).toBe('client_closed');
  });
});
