/**
 * Nothing that goes out contains half of a surrogate pair, to upstream or to clients, and no pair is lost on the way.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import { MessageReader } from '../src/upstream/messages-api/message-reader.ts';
import { Pieces, wellFormedJson } from '../src/upstream/messages-api/well-formed.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig } from './support/llm-stream.ts';

finishesCleanly();

/** Text in which pairs, halves and escapes of halves are likely. */
const anyText = fc.string({
  unit: fc.constantFrom('a', '\ud83d', '\ude00', '\\', '\\ud83d', 'u', 'd', '"', '\n', 'é', '😀'),
});

describe('a request', () => {
  const sent = async (content: unknown, keys: object = {}) => {
    await using bench = await startBench();
    await bench.hear(testConfig(keys), undefined, [{ role: 'user', content: content as string }]);
    return bench.simulator.requests[0]!.body;
  };

  it('goes out well-formed wherever text can stand', async () => {
    const half = '\ud83d';
    const blocks = [
      { type: 'text', text: `one${half}` },
      { type: 'tool_use', id: 't', name: 'n', input: { [`key${half}`]: ['\ude00', { deep: `${half}${half}\ude00` }] } },
      { type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: '\ude00\ud83d' }] },
    ];
    const keys = { system_prompt: `system${half}`, stop_sequences: [`END${half}`] };
    const body = await sent(blocks, keys);
    expect(body).toMatchObject({
      system: 'system\ufffd',
      stop_sequences: ['END\ufffd'],
      messages: [
        {
          content: [
            { text: 'one\ufffd' },
            { input: { 'key\ufffd': ['\ufffd', { deep: '\ufffd😀' }] } },
            { content: [{ text: '\ufffd\ufffd' }] },
          ],
        },
      ],
    });
  });

  it('keeps pairs, and keeps the text `\\ud83d` unchanged', async () => {
    const content = 'a 😀 pair, \\ud83d in words, \\\\ud83d, "\\u0041", and \u0007';
    expect((await sent(content)).messages[0]!.content).toBe(content);
  });

  it('replaces each lone half in any text and key by U+FFFD, and changes nothing else', () => {
    fc.assert(
      fc.property(anyText, anyText, (key, value) => {
        const mended = JSON.parse(wellFormedJson(JSON.stringify({ [key]: [value] }))) as object;
        expect(mended).toEqual({ [key.toWellFormed()]: [value.toWellFormed()] });
      }),
      { numRuns: 2_000 },
    );
  });
});

it('each piece of a text is well-formed, and together they are the same as the whole', () => {
  fc.assert(
    fc.property(fc.array(anyText), (texts) => {
      const pieces = new Pieces();
      const passed = [...texts.map((text) => pieces.join(0, text)), pieces.end(0)];
      expect(passed.every((piece) => piece.isWellFormed())).toBe(true);
      expect(passed.join('')).toBe(texts.join('').toWellFormed());
      expect(pieces.holding).toBe(false);
    }),
    { numRuns: 2_000 },
  );
});

// ------------------------------------------------------------------------------------------------------- an answer

const start = { type: 'message_start', message: { usage: { input_tokens: 1, output_tokens: 1 } } };
const open = (content_block: object, index = 0) => ({ type: 'content_block_start', index, content_block });
const delta = (fields: object, index = 0) => ({ type: 'content_block_delta', index, delta: fields });
const text = (piece: string, index = 0) => delta({ type: 'text_delta', text: piece }, index);
const stop = (index = 0) => ({ type: 'content_block_stop', index });
const end = [
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 1 } },
  { type: 'message_stop' },
];

/** Reads each of these in a read of its own. `raw` is not written by JSON.stringify. */
function hear(events: readonly (object | { readonly raw: string })[], showThinking = true) {
  const reader = new MessageReader({ showThinking });
  const heard: LlmEvent[] = events.flatMap((event) =>
    reader.push([Buffer.from(`data: ${'raw' in event ? event.raw : JSON.stringify(event)}\n\n`)]),
  );
  expect(JSON.stringify(heard)).not.toMatch(/(?<!\\)(?:\\\\)*\\ud[89a-f]/);
  return { heard, reader };
}

function textsOf(heard: readonly LlmEvent[], index = 0) {
  return heard.flatMap((event) => ('text' in event && event.index === index ? [event.text] : []));
}

describe('a pair that upstream cuts in two', () => {
  it('goes out whole, with the next piece', () => {
    const { heard } = hear([start, open({ type: 'text', text: '' }), text('a\ud83d'), text('\ude00b'), stop(), ...end]);
    expect(textsOf(heard)).toEqual(['a', '😀b']);
  });

  it('goes out whole, also if an event is only one half, between pings and other blocks', () => {
    const { heard } = hear([
      start,
      open({ type: 'text', text: 'x\ud83d' }),
      { type: 'ping' },
      open({ type: 'text', text: '' }, 1),
      text('\ud83c', 1),
      text('plain', 1),
      text('', 0),
      text('\ude00', 0),
      stop(),
      stop(1),
      ...end,
    ]);
    expect(textsOf(heard)).toEqual(['x', '😀']);
    expect(textsOf(heard, 1).join('')).toBe('\ufffdplain');
  });

  it('goes out whole in thinking that is shown', () => {
    const think = (thinking: string) => delta({ type: 'thinking_delta', thinking });
    const { heard } = hear([
      start,
      open({ type: 'thinking', thinking: '' }),
      think('\ud83d'),
      think('\ude00'),
      stop(),
      ...end,
    ]);
    expect(heard).toEqual([{ type: 'thinking', index: 0, text: '😀' }]);
  });

  it.each([
    [
      'written in capitals',
      String.raw`{"type":"text_delta","text":"\uD83D"}`,
      String.raw`{"type":"text_delta","text":"\uDE00"}`,
    ],
    [
      'before text as it is',
      String.raw`{"type":"text_delta","text":"\ud83d"}`,
      String.raw`{"type":"text_delta","text":"\ude00 ü"}`,
    ],
  ])('leaves whole %s', (_how, first, second) => {
    const raw = (fields: string) => ({ raw: `{"type":"content_block_delta","index":0,"delta":${fields}}` });
    const { heard } = hear([start, open({ type: 'text', text: '' }), raw(first), raw(second), stop(), ...end]);
    expect(textsOf(heard).join('')).toMatch(/^😀/);
  });

  it('is assembled in the input of a tool and in fields of unknown kinds', () => {
    const input = (partial_json: string) => delta({ type: 'input_json_delta', partial_json }, 1);
    const { heard } = hear([
      start,
      open({ type: 'melody', notes: 'a\ud83d' }),
      delta({ type: 'melody_delta', notes: '\ude00' }),
      stop(),
      open({ type: 'tool_use', id: 't', name: 'n', input: {} }, 1),
      input('{"raw":"\ud83d'),
      input('\ude00","escaped":"\\ud8'),
      input('3d\\ude00","alone":"\\ud83d","k\\ude00":1}'),
      stop(1),
      ...end,
    ]);
    expect(heard).toEqual([
      { type: 'block', index: 0, block: { type: 'melody', notes: 'a😀' } },
      {
        type: 'block',
        index: 1,
        block: {
          type: 'tool_use',
          id: 't',
          name: 'n',
          input: { raw: '😀', escaped: '😀', alone: '\ufffd', 'k\ufffd': 1 },
        },
      },
    ]);
  });
});

describe('a lone half', () => {
  it.each([
    ['at the end of its block', [stop(), ...end]],
    ['in a block that is open at the end', end],
  ])('%s becomes U+FFFD', (_where, events) => {
    const { heard } = hear([start, open({ type: 'text', text: '' }), text('a\ud83d'), ...events]);
    expect(textsOf(heard).join('')).toBe('a\ufffd');
  });

  it.each([
    ['before other text', ['\ud83d', 'b'], '\ufffdb'],
    ['before text that comes by the short way', ['\ud83d', 'ü'], '\ufffdü'],
    ['that is a second one', ['\ude00', 'b'], '\ufffdb'],
    ['before another', ['\ud83d', '\ud83d\ude00'], '\ufffd😀'],
  ])('%s becomes U+FFFD', (_where, pieces, whole) => {
    const { heard } = hear([
      start,
      open({ type: 'text', text: '' }),
      ...pieces.map((piece) => text(piece)),
      stop(),
      ...end,
    ]);
    expect(textsOf(heard).join('')).toBe(whole);
  });

  it('becomes U+FFFD in blocks, citations, stop sequence, stop details and usage', () => {
    const { heard, reader } = hear([
      { ...start, message: { usage: { input_tokens: 1, 'tier\ud83d': '\ud83d' } } },
      open({ type: 'text', text: '', citations: [] }),
      delta({ type: 'citations_delta', citation: { cited_text: 'x\ud83d', 'y\ude00': 1 } }),
      stop(),
      open({ type: 'result', content: [{ deep: '\ude00' }] }, 1),
      stop(1),
      {
        type: 'message_delta',
        delta: { stop_reason: 'stop_\ud83d', stop_sequence: 'END\ud83d', stop_details: { why: '\ud83d' } },
        usage: { output_tokens: 1, service_tier: '\ud83d' },
      },
      end[1]!,
    ]);
    expect(heard).toEqual([
      { type: 'block', index: 0, block: { type: 'text', citations: [{ cited_text: 'x\ufffd', 'y\ufffd': 1 }] } },
      { type: 'block', index: 1, block: { type: 'result', content: [{ deep: '\ufffd' }] } },
    ]);
    expect([reader.stopReason, reader.about.stopSequence, reader.about.stopDetails]).toEqual([
      'stop_\ufffd',
      'END\ufffd',
      { why: '\ufffd' },
    ]);
    expect(reader.usage.report(true).usage.raw).toEqual({ output_tokens: 1, service_tier: '\ufffd' });
  });

  it('in bytes that are no UTF-8 becomes U+FFFD too, and a character that two reads share stays whole', () => {
    const reader = new MessageReader({ showThinking: false });
    const line = Buffer.from(`data: ${JSON.stringify(text('?😀'))}\n\n`);
    // A half as WTF-8 encodes it.
    const at = line.indexOf('?');
    const broken = Buffer.concat([line.subarray(0, at), Buffer.from([0xed, 0xa0, 0xbd]), line.subarray(at + 1)]);
    const opening = Buffer.from(
      [start, open({ type: 'text', text: '' })].map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''),
    );
    const heard = [opening, ...[...broken].map((byte) => Buffer.from([byte]))].flatMap((read) => reader.push([read]));
    expect(textsOf(heard).join('')).toBe('\ufffd\ufffd\ufffd😀');
  });

  it.each(['\\ud83d', 'well-formed'])(
    'in what is nested too deep ends the answer as an error of upstream’s: %s',
    (innermost) => {
      const reader = new MessageReader({ showThinking: false });
      const deep = `${'['.repeat(4_200)}"${innermost}"${']'.repeat(4_200)}`;
      const raw = `{"type":"content_block_start","index":0,"content_block":{"type":"odd","x":${deep}}}`;
      reader.push([
        Buffer.from(`data: ${JSON.stringify(start)}\n\ndata: ${raw}\n\ndata: ${JSON.stringify(stop())}\n\n`),
      ]);
      expect(reader.failure).toMatchObject({ code: 'upstream_error', cause: { code: 'malformed_event' } });
    },
  );
});
