/** The encoders of other APIs, without a service and without their SDKs. */
import { describe, expect, it } from 'vitest';
import { WholeMessage } from '../src/adapters/anthropic/message.ts';
import { MessageEvents, type MessageEvent } from '../src/adapters/anthropic/message-events.ts';
import { ChatChunks, ChatCompletion } from '../src/adapters/openai/chat-chunks.ts';
import { ResponseEvents, type ResponseEvent } from '../src/adapters/openai/response-events.ts';
import type { DoneEvent, LlmEvent } from '../src/protocol.ts';
import { randomOf } from './support/seeded.ts';

const generationId = '11111111-2222-4333-8444-555555555555';
const usage = {
  inputTokens: 10,
  outputTokens: 7,
  cacheReadInputTokens: 3,
  cacheCreationInputTokens: 2,
  estimated: false,
  raw: null,
};
const account = {
  usage,
  costUsd: 0.01,
  timing: { firstTokenMs: 5, totalMs: 9 },
  config: 'tutor',
  model: 'claude-sonnet-5-5',
};
const start: LlmEvent = {
  type: 'start',
  generationId,
  config: 'tutor',
  model: 'claude-sonnet-5-5',
  simulated: true,
  startedAt: '2026-11-27T10:00:00.000Z',
  protocol: 1,
};
const done = (fields: Partial<DoneEvent> = {}): LlmEvent => ({
  type: 'done',
  stopReason: 'end_turn',
  steps: 1,
  ...account,
  ...fields,
});
const text = (index: number, piece: string): LlmEvent => ({ type: 'text', index, text: piece });
const thinking = (index: number, piece: string): LlmEvent => ({ type: 'thinking', index, text: piece });
const block = (index: number, fields: Record<string, unknown>): LlmEvent => ({ type: 'block', index, block: fields });

/** An answer of several steps: signed thinking, a call of the service's own, citations, a call for the client. */
const answer: readonly LlmEvent[] = [
  start,
  thinking(0, 'Let me '),
  thinking(0, 'think.'),
  block(0, { type: 'thinking', signature: 'signed' }),
  text(1, 'I look '),
  text(1, 'it up 🌍.'),
  { type: 'tool_start', index: 2, id: 'toolu_own', name: 'search' },
  { type: 'tool_call', index: 2, id: 'toolu_own', name: 'search', input: { q: 'x' }, by: 'service' },
  { type: 'tool_result', id: 'toolu_own', name: 'search', ok: true, output: { hits: 2 } },
  { type: 'step', step: 2, stopReason: 'tool_use' },
  block(3, { type: 'redacted_thinking', data: 'secret' }),
  text(4, 'Found.'),
  block(4, { type: 'text', citations: [{ type: 'web_search_result_location', url: 'https://x.example', title: 'X' }] }),
  block(5, { type: 'server_tool_use', id: 'srv_1', name: 'web_search', input: { query: 'y' } }),
  block(6, { type: 'future_block', anything: [1, 2] }),
  { type: 'tool_call', index: 7, id: 'toolu_mine', name: 'show', input: { at: 1 }, by: 'client' },
  done({ stopReason: 'tool_use', steps: 2 }),
];

/** The same answer as a viewer may get it: adjacent text cut and merged in another way. */
function recut(events: readonly LlmEvent[], random: () => number): LlmEvent[] {
  const pieces = events.flatMap((event) => {
    if (event.type !== 'text' && event.type !== 'thinking') return [event];
    return Array.from(event.text, (letter): LlmEvent => ({ ...event, text: letter }));
  });
  const merged: LlmEvent[] = [];
  for (const event of pieces) {
    const last = merged.at(-1);
    const isSame = last && 'text' in last && 'text' in event && last.type === event.type && last.index === event.index;
    if (isSame && random() >= 0.4) merged[merged.length - 1] = { ...last, text: last.text + event.text };
    else merged.push(event);
  }
  return merged;
}

describe('of the Responses API', () => {
  const encode = (events: readonly LlmEvent[], after?: number): ResponseEvent[] => {
    const encoder = new ResponseEvents(after);
    return events.flatMap((event) => encoder.push(event));
  };
  /** What a client has after these events: each delta joined to its item, every other event as it is. */
  const seenBy = (events: readonly ResponseEvent[]) => {
    const seen: unknown[] = [];
    let joined: { item: unknown; type: string; text: string } | undefined;
    for (const { type, sequence_number: _number, delta, ...fields } of events) {
      if (typeof delta !== 'string') {
        seen.push({ type, ...fields });
        joined = undefined;
      } else if (joined?.type === type && joined.item === fields['item_id']) joined.text += delta;
      else seen.push((joined = { type, item: fields['item_id'], text: delta }));
    }
    return seen;
  };

  it('a cursor at any event gives the rest once, however the text is cut', () => {
    const random = randomOf(7);
    const whole = seenBy(encode(answer));
    for (let round = 0; round < 20; round += 1) {
      const first = encode(recut(answer, random));
      expect(seenBy(first)).toEqual(whole);
      for (const [at, { sequence_number: cursor }] of first.entries()) {
        const rest = encode(recut(answer, random), cursor);
        expect(seenBy([...first.slice(0, at + 1), ...rest])).toEqual(whole);
      }
    }
  });

  it('numbers rise, and a cursor at the end gives nothing', () => {
    const numbers = encode(answer).map(({ sequence_number: number }) => number);
    expect(numbers[0]).toBe(0);
    expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b));
    expect(encode(answer, numbers.at(-1))).toEqual([]);
  });

  it('the output has reasoning, messages, the service’s calls as those of a server, and the client’s as functions', () => {
    const last = encode(answer).at(-1)!;
    expect(last).toMatchObject({
      type: 'response.completed',
      response: { id: `resp_${generationId}`, model: 'tutor' },
    });
    const { output, usage: counted } = last['response'] as { output: object[]; usage: object };
    expect(output).toMatchObject([
      { type: 'reasoning', summary: [{ text: 'Let me think.' }], encrypted_content: 'signed' },
      { type: 'message', content: [{ type: 'output_text', text: 'I look it up 🌍.' }] },
      { type: 'mcp_call', name: 'search', arguments: '{"q":"x"}', output: '{"hits":2}', status: 'completed' },
      { type: 'reasoning', summary: [], encrypted_content: 'redacted_thinking:secret' },
      {
        type: 'message',
        content: [{ text: 'Found.', annotations: [{ type: 'url_citation', url: 'https://x.example' }] }],
      },
      { type: 'function_call', call_id: 'toolu_mine', name: 'show', arguments: '{"at":1}' },
    ]);
    expect(counted).toMatchObject({ input_tokens: 15, output_tokens: 7, total_tokens: 22 });
  });

  it.each([
    [
      done({ stopReason: 'max_tokens' }),
      'response.incomplete',
      { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
    ],
    [done({ stopReason: 'refusal' }), 'response.incomplete', { incomplete_details: { reason: 'content_filter' } }],
    [{ type: 'cancelled', reason: 'requested', ...account }, 'response.incomplete', { status: 'cancelled' }],
    [
      { type: 'error', code: 'upstream_overloaded', message: 'busy', retryable: true, ...account },
      'response.failed',
      { status: 'failed', error: { code: 'upstream_overloaded', message: 'busy', retryable: true } },
    ],
  ] as [LlmEvent, string, object][])(
    'end %# has its own event and status, and the usage',
    (terminal, type, response) => {
      const events = encode([start, text(0, 'half'), terminal]);
      expect(events.at(-1)).toMatchObject({ type, response: { ...response, usage: { output_tokens: 7 } } });
      expect(events.at(-2)).toMatchObject({ type: 'response.output_item.done', item: { content: [{ text: 'half' }] } });
    },
  );

  it('a response that is still being written holds the text so far', () => {
    const encoder = new ResponseEvents();
    for (const event of answer.slice(0, 5)) encoder.push(event);
    expect(encoder.response).toMatchObject({
      status: 'in_progress',
      output: [
        { type: 'reasoning', status: 'completed' },
        { status: 'in_progress', content: [{ text: 'I look ' }] },
      ],
    });
  });
});

describe('of the Messages API', () => {
  const encode = (events: readonly LlmEvent[]): MessageEvent[] => {
    const encoder = new MessageEvents();
    return events.flatMap((event) => encoder.push(event));
  };
  const wholeOf = (events: readonly LlmEvent[]) => {
    const message = new WholeMessage();
    for (const event of encode(events)) message.push(event);
    return message.message;
  };

  it('every block is opened, written and closed in order, under one index', () => {
    const open: number[] = [];
    let next = 0;
    for (const { type, index } of encode(answer)) {
      if (type === 'content_block_start') {
        expect(index).toBe(next);
        open.push(next);
        next += 1;
      } else if (type === 'content_block_delta') expect(open).toEqual([index]);
      else if (type === 'content_block_stop') expect(open.pop()).toBe(index);
      expect(open.length).toBeLessThan(2);
    }
    expect(open).toEqual([]);
  });

  it('the whole message has every block, those of kinds not known too', () => {
    const random = randomOf(3);
    for (const events of [answer, recut(answer, random), recut(answer, random)]) {
      expect(wholeOf(events)).toMatchObject({
        id: `msg_${generationId}`,
        type: 'message',
        role: 'assistant',
        model: 'tutor',
        stop_reason: 'tool_use',
        usage: { input_tokens: 10, output_tokens: 7, cache_read_input_tokens: 3 },
        content: [
          { type: 'thinking', thinking: 'Let me think.', signature: 'signed' },
          { type: 'text', text: 'I look it up 🌍.' },
          { type: 'mcp_tool_use', id: 'toolu_own', name: 'search', input: { q: 'x' }, server_name: 'llm-service' },
          { type: 'mcp_tool_result', tool_use_id: 'toolu_own', is_error: false, content: [{ text: '{"hits":2}' }] },
          { type: 'redacted_thinking', data: 'secret' },
          { type: 'text', text: 'Found.', citations: [{ url: 'https://x.example' }] },
          { type: 'server_tool_use', id: 'srv_1', input: { query: 'y' } },
          { type: 'future_block', anything: [1, 2] },
          { type: 'tool_use', id: 'toolu_mine', name: 'show', input: { at: 1 } },
        ],
      });
    }
  });

  it.each([
    [
      done({ stopReason: 'stop_sequence', stopSequence: 'END' }),
      { stop_reason: 'stop_sequence', stop_sequence: 'END' },
    ],
    [done({ stopReason: 'tool_use' }), { stop_reason: 'end_turn' }],
  ])('the end %# is a message_delta and a message_stop', (terminal, delta) => {
    expect(encode([start, text(0, 'a'), terminal]).slice(-2)).toMatchObject([
      { type: 'message_delta', delta },
      { type: 'message_stop' },
    ]);
  });

  it.each([
    [{ type: 'cancelled', reason: 'requested', ...account }, 'api_error', 'cancelled'],
    [
      { type: 'error', code: 'upstream_overloaded', message: 'm', retryable: true, ...account },
      'overloaded_error',
      'upstream_overloaded',
    ],
  ] as [LlmEvent, string, string][])('unhappy end %# is an error with its cost', (terminal, type, code) => {
    const last = encode([start, text(0, 'a'), terminal]).at(-1);
    expect(last).toMatchObject({ type: 'error', error: { type, code, costUsd: 0.01, usage: { output_tokens: 7 } } });
  });
});

describe('of Chat Completions', () => {
  it('has text and the calls for the client, and says what it cost', () => {
    const chunks = new ChatChunks(true);
    const sent = answer.flatMap((event) => chunks.push(event)) as { choices: { delta: Record<string, unknown> }[] }[];
    const deltas = sent.flatMap(({ choices }) => choices.map(({ delta }) => delta));
    expect(deltas.map((delta) => (delta['content'] as string | undefined) ?? '').join('')).toBe(
      'I look it up 🌍.Found.',
    );
    expect(deltas.flatMap((delta) => delta['tool_calls'] ?? [])).toMatchObject([
      { index: 0, id: 'toolu_mine', type: 'function', function: { name: 'show', arguments: '{"at":1}' } },
    ]);
    expect(sent.at(-2)).toMatchObject({ choices: [{ finish_reason: 'tool_calls' }], usage: null });
    expect(sent.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 15, completion_tokens: 7 } });

    const whole = new ChatCompletion();
    for (const event of answer) whole.push(event);
    expect(whole.completion).toMatchObject({
      id: `chatcmpl-${generationId}`,
      choices: [
        {
          finish_reason: 'tool_calls',
          message: { content: 'I look it up 🌍.Found.', tool_calls: [{ id: 'toolu_mine' }] },
        },
      ],
    });
  });

  it.each([
    ['end_turn', 'stop'],
    ['max_tokens', 'length'],
    ['refusal', 'content_filter'],
  ])('the stop reason %s is %s', (stopReason, finish) => {
    const chunks = new ChatChunks(false);
    chunks.push(start);
    expect(chunks.push(done({ stopReason }))).toMatchObject([{ choices: [{ finish_reason: finish }] }]);
  });
});
