/** A server by other hands as upstream, so that our simulator isn't the only judge of what comes out. */
import { LLMock, type FixtureFileResponse, type FixtureOpts } from '@copilotkit/aimock';
import { describe, expect, it } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import type { Reply, SimulatorRequest } from '../src/simulator.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, plainConfig, startTestService } from './support/service.ts';

finishesCleanly();

/** The same behaviour, told to either server, and what is to come of it. */
interface Scenario {
  readonly what: string;
  readonly aimock: { readonly response: FixtureFileResponse; readonly options?: FixtureOpts };
  readonly simulator: Reply | ((request: SimulatorRequest) => Reply);
  readonly requests: number;
  readonly text: RegExp;
  readonly thinking?: string;
  readonly blocks?: readonly object[];
  readonly terminal: object;
}

const usage = { input_tokens: 11, output_tokens: 7 };
const billed = { inputTokens: 11, outputTokens: 7, estimated: false };
const notBilled = { inputTokens: 0, outputTokens: 0, estimated: false };
const tool = { type: 'tool_use', id: 'toolu_1', name: 'add', input: { numbers: [1, 2] } };

const scenarios: readonly Scenario[] = [
  {
    what: 'text',
    aimock: { response: { content: 'Hello from afar', usage } },
    simulator: { kind: 'text', text: 'Hello from afar', usage },
    requests: 1,
    text: /^Hello from afar$/,
    terminal: { type: 'done', stopReason: 'end_turn', usage: billed, costUsd: 0.000092 },
  },
  {
    what: 'thinking',
    aimock: { response: { content: 'So.', reasoning: 'Let me see.', reasoningSignature: 'c2ln', usage } },
    simulator: {
      kind: 'blocks',
      blocks: [
        { type: 'thinking', thinking: 'Let me see.', signature: 'c2ln' },
        { type: 'text', text: 'So.' },
      ],
      usage,
    },
    requests: 1,
    text: /^So\.$/,
    thinking: 'Let me see.',
    blocks: [{ type: 'thinking', signature: 'c2ln' }],
    terminal: { type: 'done', stopReason: 'end_turn', usage: billed },
  },
  {
    what: 'a tool call',
    aimock: { response: { toolCalls: [{ id: tool.id, name: tool.name, arguments: tool.input }], usage } },
    simulator: { kind: 'blocks', blocks: [tool], usage },
    requests: 1,
    text: /^$/,
    blocks: [tool],
    terminal: { type: 'done', stopReason: 'tool_use', usage: billed },
  },
  {
    what: '429',
    aimock: { response: { error: { type: 'rate_limit_error', message: 'Slow down' }, status: 429, retryAfter: 60 } },
    simulator: { kind: 'fault', fault: 'rate_limited_retry_after', arg: 60 },
    // A minute is more than retries have.
    requests: 1,
    text: /^$/,
    terminal: { type: 'error', code: 'upstream_rate_limited', retryable: true, retryAfterMs: 60_000, usage: notBilled },
  },
  {
    what: 'truncation',
    // With a pause between its writes, so that they go out before the cut.
    aimock: {
      response: { content: 'x'.repeat(100), usage },
      options: { truncateAfterChunks: 6, chunkSize: 10, latency: 1 },
    },
    simulator: { kind: 'fault', fault: 'socket_cut', text: 'x'.repeat(50) },
    requests: 1,
    text: /^x{10,50}$/,
    terminal: { type: 'error', code: 'upstream_truncated', retryable: true, usage: { estimated: true } },
  },
  {
    what: 'disconnect',
    aimock: { response: { content: 'never' }, options: { chaos: { disconnectRate: 1 } } },
    simulator: { kind: 'fault', fault: 'cut_before_headers' },
    requests: 3,
    text: /^$/,
    terminal: { type: 'error', code: 'upstream_unreachable', retryable: true, usage: { estimated: true } },
  },
];

describe.each(['aimock', 'simulator'] as const)('%s', (server) => {
  it.each(scenarios)('$what', async (scenario) => {
    const { response, options } = scenario.aimock;
    const mock = new LLMock({ port: 0 }).onMessage('hi', response, options);
    const baseUrl = await mock.start();
    try {
      const config = { ...plainConfig, thinking: { show: true } };
      await using service = await startTestService({
        // No key, no other setting: a base URL is all that a compatible server takes.
        configs: { default: server === 'aimock' ? { ...config, base_url: baseUrl } : config },
      });
      service.upstream.respondWith(scenario.simulator);

      const seen = await readAll(doors[0]!.stream(service.url, ask('hi')));
      const events = seen.map(({ event }) => event);
      expect(terminalOf(seen)).toMatchObject(scenario.terminal);
      expect(textOf(seen)).toMatch(scenario.text);
      expect(joined(events)).toBe(scenario.thinking ?? '');
      expect(events.flatMap((event) => (event.type === 'block' ? [event.block] : []))).toEqual(scenario.blocks ?? []);

      const requests = { aimock: mock.getRequests().length, simulator: service.upstream.requestCount };
      expect(requests).toEqual({ aimock: 0, simulator: 0, [server]: scenario.requests });
      // The service has a key, for another server than this.
      const headers = mock.getRequests().flatMap((request) => Object.keys(request.headers));
      expect(headers.filter((name) => /authorization|key/.test(name))).toEqual([]);
    } finally {
      await mock.stop();
    }
  });
});

function joined(events: readonly LlmEvent[]): string {
  return events.map((event) => (event.type === 'thinking' ? event.text : '')).join('');
}
