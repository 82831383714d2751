/**
 * Upstream may think as long as it gives signs of life. Without them a generation ends in time, and every generation
 * ends at last.
 */
import { describe, expect, it, vi } from 'vitest';
import type { SimulatorRequest } from '../src/simulator.ts';
import { MessageReader } from '../src/upstream/messages-api/message-reader.ts';
import { Watchdog } from '../src/upstream/watchdog.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig } from './support/llm-stream.ts';

finishesCleanly();

const start = { type: 'message_start', message: { usage: { input_tokens: 1, output_tokens: 1 } } };
const open = (content_block: object, index = 0) => ({ type: 'content_block_start', index, content_block });
const delta = (fields: object, index = 0) => ({ type: 'content_block_delta', index, delta: fields });
const stop = (index = 0) => ({ type: 'content_block_stop', index });
const thinking = open({ type: 'thinking', thinking: '' });
const text = open({ type: 'text', text: '' });
const said = delta({ type: 'text_delta', text: 'a' });

/** How many signs of life a stream shows after these events. */
function signsIn(raw: string, before: readonly object[]): number {
  const reader = new MessageReader({ showThinking: false });
  reader.push([Buffer.from(before.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))]);
  const { signsOfLife } = reader;
  reader.push([Buffer.from(raw)]);
  expect(reader.failure).toBeUndefined();
  return reader.signsOfLife - signsOfLife;
}

const pings = [
  'event: ping\ndata: {"type": "ping"}\n\n',
  'data: {"type":"ping"}\n\n',
  'event: ping\ndata: {}\n\n',
  'event: ping\n\n',
  'event: ping\ndata: \n\n',
  'event: ping\ndata: pong\n\n',
  ': keep-alive\n\n',
  ':\n\n',
];

describe.each(pings)('a ping, as %j,', (ping) => {
  it.each([
    ['of hidden thinking', [start, thinking]],
    ['of text that has begun', [start, text, said]],
    ['of a tool’s input', [start, open({ type: 'tool_use', id: 't', name: 'n', input: {} })]],
    ['of a kind that is not known', [start, open({ type: 'hologram' })]],
    ['beside one that has ended', [start, thinking, stop(), open({ type: 'text', text: '' }, 1)]],
  ])('is a sign of life in a block %s', (_what, before) => {
    expect(signsIn(ping, before)).toBe(1);
  });

  it.each(['server_tool_use', 'mcp_tool_use'])('is one while upstream runs a tool of its own: %s', (type) => {
    const call = [start, open({ type, id: 't', name: 'search', input: {} }), stop()];
    expect(signsIn(ping, call)).toBe(1);
    const paused = { type: 'message_delta', delta: { stop_reason: 'pause_turn' }, usage: { output_tokens: 1 } };
    expect(signsIn(ping, [...call, paused])).toBe(0);
    expect(signsIn(ping, [...call, open({ type: 'text', text: '' }, 1), stop(1)])).toBe(0);
  });

  it.each([
    ['before the message', []],
    ['before its first block', [start]],
    ['after its last block', [start, text, said, stop()]],
    ['after a call of the client’s tool', [start, open({ type: 'tool_use', id: 't', name: 'n', input: {} }), stop()]],
  ])('is none %s', (_what, before) => {
    expect(signsIn(ping, before)).toBe(0);
  });
});

it.each([
  ['an empty delta', [start, text], delta({ type: 'text_delta', text: '' })],
  ['a signature', [start, thinking], delta({ type: 'signature_delta', signature: 's' })],
  ['an event of an unknown kind', [start], { type: 'weather_report' }],
])('%s is a sign of life', (_what, before, event) => {
  expect(signsIn(`data: ${JSON.stringify(event)}\n\n`, before)).toBe(1);
});

describe('an answer', () => {
  const timeouts = { first_byte_ms: 60_000, idle_ms: 150, total_ms: 60_000 };

  it('survives hidden thinking that is longer than any allowed silence', async () => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'fault', fault: 'quiet_thinking', arg: 40 });
    const { terminal, text: heard } = await bench.hear(testConfig({ timeouts }));
    expect(terminal).toMatchObject({ type: 'done', usage: { estimated: false } });
    expect(terminal.timing.totalMs).toBeGreaterThan(timeouts.idle_ms);
    expect(heard).not.toBe('');
  });

  /** Sends pings until the service gives the answer up. */
  async function pingOn(request: SimulatorRequest): Promise<void> {
    let over = false;
    void request.outcome.then(() => (over = true));
    while (!over) {
      await request.event('ping', { type: 'ping' });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  it.each([
    ['in an open block, but not for ever', 'total_ms', { idle_ms: 60_000, total_ms: 300 }, true],
    ['before its first block', 'idle_ms', { idle_ms: 150 }, false],
  ] as const)('ends in time where only pings come %s', async (_where, name, short, opened) => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'manual' });
    const heard = bench.hear(testConfig({ retries: { max: 0 }, timeouts: { ...timeouts, ...short } }));
    const request = await bench.simulator.nextRequest();
    if (opened) request.startBlock({ type: 'thinking', thinking: '' });
    await pingOn(request);
    expect((await heard).terminal).toMatchObject({
      code: 'upstream_timeout',
      message: expect.stringContaining(name),
    });
  });

  it('ends in silence, whatever is open', async () => {
    await using bench = await startBench();
    bench.simulator.respondWith({ kind: 'manual' });
    const heard = bench.hear(testConfig({ timeouts }));
    (await bench.simulator.nextRequest()).startBlock({ type: 'thinking', thinking: '' });
    expect((await heard).terminal).toMatchObject({
      code: 'upstream_timeout',
      message: expect.stringContaining('idle_ms'),
    });
  });

  it('of 130 s with a ping every 10 s is not too long for the defaults', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'performance'] });
    try {
      const { timeouts: defaults } = testConfig();
      const missed: string[] = [];
      using watchdog = new Watchdog(defaults.totalMs, (name) => missed.push(name));
      const reader = new MessageReader({ showThinking: false });
      reader.push([Buffer.from([start, thinking].map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))]);
      watchdog.expect('idle_ms', defaults.idleMs);
      for (let second = 10; second <= 130; second += 10) {
        vi.advanceTimersByTime(10_000);
        const before = reader.signsOfLife;
        reader.push([Buffer.from(pings[0]!)]);
        if (reader.signsOfLife > before) watchdog.expect('idle_ms', defaults.idleMs);
      }
      expect(missed).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });
});
