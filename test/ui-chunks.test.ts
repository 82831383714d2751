/** Events as chunks of the AI SDK, and its messages as those of a request. The suites in front-ends/ hold the same with its own client. */
import { describe, expect, it } from 'vitest';
import { answeredCalls } from '../src/adapters/ui-answers.ts';
import { UiChunks } from '../src/adapters/ui-chunks.ts';
import { toMessages, toUIMessageChunks, type UIMessageChunk, type UIMessageLike } from '../src/ai-sdk.ts';
import type { LlmEvent } from '../src/protocol.ts';
import { call, cancelled, done, failed, generationId, result, start, step, text } from './support/scripted-service.ts';

const thinking = (piece: string, index: number): LlmEvent => ({ type: 'thinking', index, text: piece });
const block = (index: number, fields: Record<string, unknown>): LlmEvent => ({ type: 'block', index, block: fields });
const toolStart = (id: string, index = 0): LlmEvent => ({ type: 'tool_start', index, id, name: 'pick' });

/** The chunks of an answer, without the first two and the last two, which every answer has. */
function chunksOf(...events: readonly LlmEvent[]): UIMessageChunk[] {
  const chunks = [...toUIMessageChunks([start, ...events, done()])];
  expect(chunks.slice(0, 2).map(({ type }) => type)).toEqual(['start', 'start-step']);
  expect(chunks.slice(-2).map(({ type }) => type)).toEqual(['finish-step', 'finish']);
  return chunks.slice(2, -2);
}

const typesOf = (chunks: readonly UIMessageChunk[]) => chunks.map(({ type }) => type);

describe('chunks', () => {
  it('begin with the generation’s id, and end with what it has cost', () => {
    const chunks = [...toUIMessageChunks([start, text('Hel'), text('lo'), done({ costUsd: 0.5 })])];
    const known = { generationId, config: 'any', model: 'm' };
    expect(chunks).toEqual([
      { type: 'start', messageId: generationId, messageMetadata: { ...known, simulated: true, state: 'running' } },
      { type: 'start-step' },
      { type: 'text-start', id: '0' },
      { type: 'text-delta', id: '0', delta: 'Hel' },
      { type: 'text-delta', id: '0', delta: 'lo' },
      { type: 'text-end', id: '0' },
      { type: 'finish-step' },
      {
        type: 'finish',
        finishReason: 'stop',
        messageMetadata: {
          ...known,
          state: 'done',
          stopReason: 'end_turn',
          costUsd: 0.5,
          usage: expect.objectContaining({ outputTokens: 1 }) as unknown,
          timing: { firstTokenMs: 1, totalMs: 2 },
        },
      },
    ]);
  });

  it('of an asynchronous source are the same', async () => {
    const events = [start, text('a'), text('b', 1), done()];
    async function* source() {
      yield* events;
    }
    const chunks: UIMessageChunk[] = [];
    for await (const chunk of toUIMessageChunks(source())) chunks.push(chunk);
    expect(chunks).toEqual([...toUIMessageChunks(events)]);
  });

  it.each([
    ['end_turn', 'stop'],
    ['stop_sequence', 'stop'],
    ['max_tokens', 'length'],
    ['tool_use', 'tool-calls'],
    ['refusal', 'content-filter'],
    ['pause_turn', 'other'],
    [null, 'other'],
  ])('the stop reason %s is the finish reason %s', (stopReason, finishReason) => {
    expect([...toUIMessageChunks([start, done({ stopReason })])].at(-1)).toMatchObject({ finishReason });
  });

  it('of a cancelled answer end its parts, and finish as interrupted, or as other where a client refuses that', () => {
    const events = [start, text('a'), toolStart('t', 1), cancelled];
    for (const [options, finishReason] of [
      [{}, 'interrupted'],
      [{ cancelledAs: 'other' }, 'other'],
    ] as const) {
      const chunks = [...toUIMessageChunks(events, options)];
      expect(typesOf(chunks.slice(4))).toEqual([
        'text-end',
        'tool-input-start',
        'tool-input-error',
        'finish-step',
        'finish',
      ]);
      expect(chunks.at(-1)).toMatchObject({ finishReason, messageMetadata: { state: 'cancelled' } });
    }
  });

  it('of a failed answer have the account before the error, since clients drop what follows that', () => {
    const chunks = [...toUIMessageChunks([start, text('a'), failed])];
    expect(typesOf(chunks.slice(4))).toEqual(['text-end', 'finish-step', 'message-metadata', 'error']);
    expect(chunks.at(-2)).toMatchObject({
      messageMetadata: { generationId, state: 'error', error: { code: 'upstream_error', retryable: true } },
    });
    expect(chunks.at(-1)).toEqual({ type: 'error', errorText: 'no' });
  });

  it('of thinking end with its signature, and redacted thinking has no text', () => {
    expect(
      chunksOf(
        thinking('Hm', 0),
        block(0, { type: 'thinking', signature: 's' }),
        block(1, { type: 'redacted_thinking', data: 'x' }),
        block(2, { type: 'thinking', signature: 'hidden' }),
      ),
    ).toEqual([
      { type: 'reasoning-start', id: '0' },
      { type: 'reasoning-delta', id: '0', delta: 'Hm' },
      { type: 'reasoning-end', id: '0', providerMetadata: { anthropic: { signature: 's' } } },
      { type: 'reasoning-start', id: '1', providerMetadata: { anthropic: { redactedData: 'x' } } },
      { type: 'reasoning-end', id: '1' },
      { type: 'reasoning-start', id: '2' },
      { type: 'reasoning-end', id: '2', providerMetadata: { anthropic: { signature: 'hidden' } } },
    ]);
  });

  it('of a text with citations end with them, and name each source once', () => {
    const citations = [
      { type: 'web_search_result_location', url: 'https://a.test/', title: 'A', cited_text: 'one' },
      { type: 'web_search_result_location', url: 'https://a.test/', title: 'A', cited_text: 'two' },
      { type: 'page_location', document_index: 0, document_title: 'Thesis', cited_text: 'three' },
    ];
    expect(chunksOf(text('yes', 3), block(3, { type: 'text', citations })).slice(2)).toEqual([
      { type: 'text-end', id: '3', providerMetadata: { anthropic: { citations } } },
      { type: 'source-url', sourceId: '3-0', url: 'https://a.test/', title: 'A' },
      { type: 'source-document', sourceId: '3-2', mediaType: 'application/pdf', title: 'Thesis' },
    ]);
  });

  it('of upstream’s own tools are dynamic, and run by the provider where upstream runs them', () => {
    const chunks = chunksOf(
      block(0, { type: 'server_tool_use', id: 's', name: 'web_search', input: { query: 'q' } }),
      block(1, { type: 'web_search_tool_result', tool_use_id: 's', content: [{ url: 'u' }] }),
      block(2, { type: 'server_tool_use', id: 'f', name: 'web_search', input: {} }),
      block(3, { type: 'web_search_tool_result', tool_use_id: 'f', content: { error_code: 'unavailable' } }),
      block(4, { type: 'tool_use', id: 't', name: 'bash', input: { command: 'ls' } }),
      block(5, { type: 'tool_use', id: 'c', name: 'bash', input_json: '{"comm' }),
      block(6, { type: 'web_fetch_tool_result', tool_use_id: 'unknown', content: {} }),
      block(7, { type: 'novelty', value: 1 }),
    );
    expect(chunks).toMatchObject([
      { type: 'tool-input-available', toolCallId: 's', dynamic: true, providerExecuted: true, input: { query: 'q' } },
      { type: 'tool-output-available', toolCallId: 's', providerExecuted: true, output: [{ url: 'u' }] },
      { type: 'tool-input-available', toolCallId: 'f' },
      { type: 'tool-output-error', toolCallId: 'f', errorText: 'unavailable' },
      { type: 'tool-input-available', toolCallId: 't', toolName: 'bash', dynamic: true },
      { type: 'tool-input-error', toolCallId: 'c', input: '{"comm' },
      { type: 'data-block', data: { type: 'web_fetch_tool_result' } },
      { type: 'data-block', data: { type: 'novelty', value: 1 } },
    ]);
    expect(chunks[4]).not.toHaveProperty('providerExecuted');
  });

  it('of the config’s tools are static, with pieces of the input, results, errors and denials', () => {
    const denial = { type: 'tool_result', id: 'r', name: 'pick', ok: false } as const;
    const chunks = chunksOf(
      toolStart('s'),
      { type: 'tool_input', index: 0, text: '{"k' },
      call('s', 'service'),
      toolStart('r', 1),
      call('r', 'service', { index: 1, approval: true }),
      result('s', { bytes: 3 }),
      { ...denial, error: { code: 'denied', message: 'no' } },
      step(2),
      text('ok', 2),
    );
    expect(chunks).toMatchObject([
      { type: 'tool-input-start', toolCallId: 's', toolName: 'pick' },
      { type: 'tool-input-delta', toolCallId: 's', inputTextDelta: '{"k' },
      { type: 'tool-input-available', toolCallId: 's', providerExecuted: true },
      { type: 'tool-input-start', toolCallId: 'r' },
      { type: 'tool-input-available', toolCallId: 'r' },
      { type: 'tool-approval-request', approvalId: 'r', toolCallId: 'r' },
      { type: 'tool-output-available', toolCallId: 's', output: { bytes: 3 } },
      { type: 'tool-output-denied', toolCallId: 'r' },
      { type: 'finish-step' },
      { type: 'start-step' },
      { type: 'text-start', id: '2' },
      { type: 'text-delta', id: '2' },
      { type: 'text-end', id: '2' },
    ]);
    expect(chunks[2]).not.toHaveProperty('dynamic');
    expect(chunks[4], 'complete calls are sent by themselves').not.toHaveProperty('providerExecuted');
    const approved = chunksOf(toolStart('r'), call('r', 'service', { approval: true }), result('r', 1));
    expect(approved.at(-1)).toMatchObject({ type: 'tool-output-available', toolCallId: 'r', providerExecuted: true });
  });

  it('of a valid object end with the object', () => {
    const events = [start, text('About it:'), text('{"a":', 1), text('1}', 1), done({ object: 'valid' })];
    const chunks = [...toUIMessageChunks(events)];
    expect(chunks.at(-3)).toEqual({ type: 'data-object', data: { a: 1 } });
    const invalid = [...toUIMessageChunks([start, text('{'), done({ object: 'invalid', issues: [] })])];
    expect(typesOf(invalid)).not.toContain('data-object');
    expect(invalid.at(-1)).toMatchObject({ messageMetadata: { object: 'invalid', issues: [] } });
  });

  it('wait once all calls are written and none runs, and after the answers only what is new is made', () => {
    const events = [
      toolStart('a'),
      toolStart('b', 1),
      call('a', 'client'),
      call('s', 'service', { index: 2 }),
      call('b', 'client', { index: 1 }),
      result('s', 1),
    ];
    const chunks = new UiChunks();
    const waited = [start, ...events].map((event) => {
      chunks.of(event);
      return chunks.waits;
    });
    expect(waited).toEqual([false, false, false, false, false, false, true]);

    const both = new Set(['a', 'b']);
    const again = new UiChunks({}, { answered: both, shown: both });
    const made = [start, ...events, result('a', 2), result('b', 3), step(2), done()].flatMap((event) =>
      again.of(event),
    );
    expect(typesOf(made)).toEqual([
      'tool-output-available',
      'tool-output-available',
      'tool-output-available',
      'finish-step',
      'start-step',
      'finish-step',
      'finish',
    ]);
  });

  it('make nothing again of a call that still waits, since the client may be answering it at this moment', () => {
    const chunks = new UiChunks({}, { answered: new Set(['a']), shown: new Set(['a', 'b']) });
    const events = [start, call('a', 'client'), call('b', 'service', { index: 1, approval: true }), result('a', 2)];
    expect(typesOf(events.flatMap((event) => chunks.of(event)))).toEqual(['tool-output-available']);
    expect(chunks.waits).toBe(true);
  });
});

/** The message that a client makes of parts. */
type AnyPart = { readonly type: string; readonly [field: string]: unknown };
const assistant = (...parts: AnyPart[]): UIMessageLike => ({
  id: 'a',
  role: 'assistant',
  parts,
});
const user = (...parts: AnyPart[]): UIMessageLike => ({
  role: 'user',
  parts,
});
const says = (words: string) => ({ type: 'text', text: words });

describe('toMessages', () => {
  it('makes texts strings, and leaves out what upstream would refuse', () => {
    const messages = [
      user(says('one'), says('')),
      assistant({ type: 'step-start' }, says('two'), { type: 'reasoning', text: 'unsigned' }, { type: 'source-url' }),
      user(says('three'), { type: 'data-chart', data: {} }),
    ];
    expect(toMessages(messages)).toEqual([
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'two' },
      { role: 'user', content: 'three' },
    ]);
  });

  it('gives calls and results back in their order, with the next question behind the results', () => {
    const messages = [
      user(says('q')),
      assistant(
        { type: 'step-start' },
        { type: 'tool-a', toolCallId: '1', state: 'output-available', input: { x: 1 }, output: { y: 2 } },
        {
          type: 'dynamic-tool',
          toolName: 'b',
          toolCallId: '2',
          state: 'output-error',
          input: 'no JSON',
          errorText: 'e',
        },
        { type: 'step-start' },
        says('so'),
        { type: 'step-start' },
        {
          type: 'tool-c',
          toolCallId: '3',
          state: 'output-denied',
          input: {},
          approval: { id: '3', approved: false, reason: 'not now' },
        },
      ),
      user(says('next')),
    ];
    expect(toMessages(messages).slice(1)).toEqual([
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: '1', name: 'a', input: { x: 1 } },
          { type: 'tool_use', id: '2', name: 'b', input: { INVALID_JSON: 'no JSON' } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: '1', content: '{"y":2}' },
          { type: 'tool_result', tool_use_id: '2', content: 'e', is_error: true },
        ],
      },
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'so' },
          { type: 'tool_use', id: '3', name: 'c', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: '3', content: 'not now', is_error: true },
          { type: 'text', text: 'next' },
        ],
      },
    ]);
  });

  it('leaves out a call without a result, and the thinking around it', () => {
    const signed = { type: 'reasoning', text: 't', providerMetadata: { anthropic: { signature: 's' } } };
    const whole = assistant(signed, says('a'));
    expect(toMessages([whole])).toEqual([
      { role: 'assistant', content: [{ type: 'thinking', thinking: 't', signature: 's' }, says('a')] },
    ]);
    for (const state of ['input-streaming', 'input-available', 'approval-requested', 'output-available']) {
      const open = { type: 'tool-a', toolCallId: '1', state, input: {} };
      expect(toMessages([assistant(signed, says('a'), open)]), state).toEqual([{ role: 'assistant', content: 'a' }]);
    }
  });

  it('sends images, PDFs and texts, and refuses all other files by their place', () => {
    const file = (mediaType: string, url: string, more: object = {}) => ({ type: 'file', mediaType, url, ...more });
    const content = (part: ReturnType<typeof file>) => toMessages([user(part)])[0]!.content;
    expect(content(file('image/png', 'data:image/png;base64,AAAA'))).toEqual([
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
    ]);
    expect(content(file('image', 'https://a.test/b.png'))).toEqual([
      { type: 'image', source: { type: 'url', url: 'https://a.test/b.png' } },
    ]);
    expect(content(file('application/pdf', 'data:application/pdf;base64,AAAA', { filename: 'a.pdf' }))).toEqual([
      {
        type: 'document',
        source: { type: 'base64', media_type: 'application/pdf', data: 'AAAA' },
        title: 'a.pdf',
      },
    ]);
    for (const url of ['data:text/plain;charset=utf-8;base64,w6k=', 'data:text/plain,%C3%A9']) {
      expect(content(file('text/plain', url))).toEqual([
        { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'é' } },
      ]);
    }
    const bad = [
      user(says('a')),
      user(file('audio/mpeg', 'data:,'), says('b'), file('image/png', 'blob:x'), file('text/plain', 'data:,%')),
    ];
    expect(() => toMessages(bad)).toThrow(
      expect.objectContaining({
        issues: [
          { path: 'messages[1].parts[0]', message: expect.stringContaining('audio/mpeg') as string },
          { path: 'messages[1].parts[2]', message: expect.stringContaining('data:') as string },
          { path: 'messages[1].parts[3]', message: expect.any(String) as string },
        ],
      }),
    );
  });

  it('survives messages that are none', () => {
    const strange = [{ role: 'user' }, assistant(null as never, { type: 'tool-a' }, { type: 'reasoning', text: 1 })];
    expect(toMessages(strange as never)).toEqual([]);
  });
});

describe('answers to calls that wait', () => {
  const waiting = (waitsFor: 'result' | 'approval') => ({ callProviderMetadata: { llm: { by: 'client', waitsFor } } });
  const chosen = { type: 'tool-pick', toolCallId: 'p', state: 'output-available', output: 1, ...waiting('result') };
  const allowed = {
    type: 'tool-rm',
    toolCallId: 'r',
    state: 'approval-responded',
    approval: { id: 'r', approved: false, reason: 'no' },
    ...waiting('approval'),
  };
  const message = (state: string, ...parts: Parameters<typeof assistant>) => ({
    ...assistant(...parts),
    metadata: { generationId, state },
  });

  it('are those of the last step of an answer that runs', () => {
    const before = { ...chosen, toolCallId: 'before' };
    const failure = { ...chosen, toolCallId: 'e', state: 'output-error', errorText: 'gone' };
    const waits = { ...allowed, toolCallId: 'w', state: 'approval-requested' };
    const cut = { type: 'tool-pick', toolCallId: 'c', state: 'input-streaming' };
    const last = message('running', before, { type: 'step-start' }, chosen, allowed, failure, waits, cut);
    expect(answeredCalls([user(says('q')), last])).toEqual({
      generationId,
      answers: [
        { id: 'p', output: 1 },
        { id: 'r', approved: false, reason: 'no' },
        { id: 'e', error: 'gone' },
      ],
      shown: new Set(['p', 'r', 'e', 'w']),
    });
  });

  it('are none where the answer has ended, where the service ran the tool, and where a question follows', () => {
    expect(answeredCalls([message('done', chosen)])).toBeUndefined();
    expect(answeredCalls([message('running', { ...chosen, callProviderMetadata: { llm: { by: 'service' } } })])).toBe(
      undefined,
    );
    expect(answeredCalls([message('running', chosen), user(says('q'))])).toBeUndefined();
    expect(answeredCalls([assistant(chosen)])).toBeUndefined();
  });
});
