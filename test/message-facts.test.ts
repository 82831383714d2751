/** What upstream says of a message, beside its content, is in `done` and in the usage; without an origin it isn't there. */
import { describe, expect, it } from 'vitest';
import { doors, readAll, terminalOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig } from './support/llm-stream.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const container = { id: 'container_1', expires_at: '2026-11-27T12:00:00Z', skills: null };
const applied = { applied_edits: [{ type: 'clear_tool_uses_20250919', cleared_tool_uses: 3 }] };

/** A whole message, of which parts can be replaced. */
function message({ start = {}, usage = {}, delta = {}, event = {} }: Readonly<Record<string, object>>): string {
  const frames = [
    ['message_start', { message: { id: 'msg_01abc', model: 'claude-sonnet-5-5', content: [], usage, ...start } }],
    ['content_block_start', { index: 0, content_block: { type: 'text', text: 'Hi' } }],
    ['content_block_stop', { index: 0 }],
    ['message_delta', { delta: { stop_reason: 'end_turn', ...delta }, usage: { output_tokens: 1 }, ...event }],
    ['message_stop', {}],
  ] as const;
  return frames.map(([type, data]) => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`).join('');
}

describe.each(doors)('over $name', (door) => {
  const test = serviceForEachTest({ configs: { default: { ...plainConfig, stop_sequences: ['END'] } } });

  it('done has id, model, container, stop sequence, what was shortened, and how it was served', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({
      kind: 'raw',
      bytes: message({
        start: { model: 'claude-sonnet-5-5-20261001' },
        usage: { input_tokens: 3, service_tier: 'standard', speed: 'fast' },
        delta: { stop_reason: 'stop_sequence', stop_sequence: 'END', container },
        event: { context_management: applied },
      }),
    });
    expect(terminalOf(await readAll(door.stream(url, ask('hi'))))).toMatchObject({
      type: 'done',
      steps: 1,
      messageId: 'msg_01abc',
      model: 'claude-sonnet-5-5',
      upstreamModel: 'claude-sonnet-5-5-20261001',
      container,
      stopSequence: 'END',
      contextManagement: applied,
      usage: { inputTokens: 3, serviceTier: 'standard', speed: 'fast' },
    });
  });
});

describe('done', () => {
  const hear = async (parts: Readonly<Record<string, object>>, keys: object = {}, content = 'Hello') => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'raw', bytes: message(parts) });
    const { terminal } = await bench.hear(testConfig(keys), undefined, [{ role: 'user', content }]);
    return terminal;
  };

  it('has only what upstream said', async () => {
    const terminal = await hear({ start: { id: undefined, container: null }, event: { context_management: null } });
    expect(terminal.type).toBe('done');
    for (const field of ['messageId', 'upstreamModel', 'container', 'contextManagement', 'object', 'limit']) {
      expect(terminal).not.toHaveProperty(field);
    }
    expect(Object.keys(terminal.usage)).not.toContain('serviceTier');
    expect(Object.keys(terminal.usage)).not.toContain('speed');
  });

  it('has the ids of other servers, and no words of the request in their place', async () => {
    expect(await hear({ start: { id: 'chatcmpl-123', model: 'llama3' } })).toMatchObject({
      messageId: 'chatcmpl-123',
      upstreamModel: 'llama3',
    });
    const echoed = await hear({ start: { id: 'a-canary-in-a-prompt', model: 'a-canary' } }, {}, 'a-canary-in-a-prompt');
    expect(JSON.stringify(echoed)).not.toContain('canary');
  });

  it.each([
    [{ speed: 'fast' }, null],
    [{ service_tier: 'priority' }, null],
    [{ inference_geo: 'us' }, null],
    [{ speed: 'standard', service_tier: 'standard', inference_geo: 'global' }, 0.000016],
  ])('has a cost only where the list has a price: %j', async (usage, cost) => {
    const parts = { usage: { input_tokens: 3, ...usage } };
    expect(await hear(parts)).toMatchObject({ costUsd: cost });
    const price = { input: 1_000, output: 0, cache_write: 0, cache_read: 0 };
    expect(await hear(parts, { price })).toMatchObject({ costUsd: 0.003 });
  });
});
