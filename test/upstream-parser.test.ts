import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import { MessageReader } from '../src/upstream/messages-api/message-reader.ts';
import { SseParser } from '../src/upstream/messages-api/sse-parser.ts';

/** What the parser emits for these bytes, given in chunks that end at `cuts`. */
function parse(bytes: Buffer, cuts: readonly number[] = []): [name: string, data: string][] {
  const events: [string, string][] = [];
  const parser = new SseParser((name, data) => events.push([name, data]));
  for (const chunk of cut(bytes, cuts)) parser.push(chunk);
  return events;
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...cuts.map((at) => at % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

describe('server-sent events', () => {
  test('are the same however their bytes are cut', () => {
    const line = fc.oneof(
      fc.string({ unit: 'grapheme' }).map((text) => `data: ${text.replaceAll(/[\r\n]/g, ' ')}`),
      fc.constantFrom(
        'event: a',
        'event:b',
        'data',
        'data:',
        'data:  two blanks',
        ': comment',
        'id: 7',
        'dataset: x',
        '',
      ),
    );
    const stream = fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r')), { maxLength: 30 });
    fc.assert(
      fc.property(stream, fc.array(fc.nat(), { maxLength: 20 }), (lines, cuts) => {
        // A CR and an LF of two lines would be one line end. And at the end of the bytes one can't see which of the two
        // a last CR is.
        const bytes = Buffer.from(`${lines.map(([text, end]) => text + end).join('')}data: last\n\n`);
        const whole = parse(bytes);
        expect(parse(bytes, cuts)).toEqual(whole);
        expect(parse(bytes, [...bytes.keys()])).toEqual(whole);
      }),
    );
  });

  test.each([
    ['lines that end in LF', 'event: a\ndata: 1\n\n', [['a', '1']]],
    ['lines that end in CR LF', 'event: a\r\ndata: 1\r\n\r\n', [['a', '1']]],
    [
      'lines that end in CR',
      'event: a\rdata: 1\r\rdata: 2\r\r',
      [
        ['a', '1'],
        ['', '2'],
      ],
    ],
    ['a byte order mark', '\uFEFFdata: 1\n\n', [['', '1']]],
    ['several data lines', 'data: 1\ndata:2\ndata:  3\n\n', [['', '1\n2\n 3']]],
    ['comments and other fields', ': hi\nid: 1\nretry: 2\ndata: 1\n\n', [['', '1']]],
    ['a name that belongs to one event alone', 'event: a\n\ndata: 1\n\n', [['', '1']]],
    ['an event without data', 'event: a\ndata\n\ndata: 1\n\n', [['', '1']]],
    ['an event without its blank line', 'data: 1\n\ndata: 2\n', [['', '1']]],
  ])('may have %s', (_what, text, expected) => {
    expect(parse(Buffer.from(text))).toEqual(expected);
  });

  test('may not be larger than the limit, in one line or in many, in one read or in many', () => {
    const parser = () => new SseParser(() => {}, { eventBytesMax: 100 });
    const long = Buffer.from(`data: ${'x'.repeat(95)}`);
    const lines = Buffer.from(`data: ${'x'.repeat(40)}\n`.repeat(3));
    expect(() => parser().push(long)).toThrow(expect.objectContaining({ code: 'event_too_large' }));
    expect(() => parser().push(lines)).toThrow(expect.objectContaining({ code: 'event_too_large' }));
    const slow = parser();
    expect(() => {
      for (const byte of long) slow.push(Buffer.from([byte]));
    }).toThrow(expect.objectContaining({ code: 'event_too_large' }));
    const several = parser();
    for (let event = 0; event < 10; event += 1) several.push(Buffer.from(`data: ${'x'.repeat(60)}\n\n`));
  });
});

// ------------------------------------------------------------------------------------------------------- the message

const messageStart = { type: 'message_start', message: { usage: { input_tokens: 10, output_tokens: 1 } } };
const messageEnd = [
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 20 } },
  { type: 'message_stop' },
];
const startOf = (block: object, index = 0) => ({ type: 'content_block_start', index, content_block: block });
const deltaOf = (delta: object, index = 0) => ({ type: 'content_block_delta', index, delta });
const stopOf = (index = 0) => ({ type: 'content_block_stop', index });
const textOf = (text: string, index = 0) => deltaOf({ type: 'text_delta', text }, index);

function encode(events: readonly (object | string)[]): Buffer {
  return Buffer.from(
    events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join(''),
  );
}

interface ReadOptions {
  readonly showThinking?: boolean;
}

/** Reads these events in one read. */
function read(events: readonly (object | string)[], { showThinking = false }: ReadOptions = {}) {
  const reader = new MessageReader({ showThinking });
  const heard: LlmEvent[] = reader.push([encode(events)]);
  return { reader, heard };
}

/** The events of a message whose one content block is streamed by these. */
function blockEvents(start: object, deltas: readonly object[], options?: ReadOptions): LlmEvent[] {
  const events = [messageStart, startOf(start), ...deltas.map((delta) => deltaOf(delta)), stopOf(), ...messageEnd];
  const { reader, heard } = read(events, options);
  expect(reader.complete).toBe(true);
  return heard;
}

describe('a streamed message', () => {
  const everything = encode([
    messageStart,
    { type: 'ping' },
    startOf({ type: 'thinking', thinking: '' }),
    deltaOf({ type: 'thinking_delta', thinking: 'Hm… 思考' }),
    deltaOf({ type: 'signature_delta', signature: 'c2ln' }),
    stopOf(),
    startOf({ type: 'text', text: '' }, 1),
    textOf('Grüße, ', 1),
    textOf('世界 👋', 1),
    { type: 'unheard_of', index: 1 },
    deltaOf({ type: 'citations_delta', citation: { cited_text: 'x' } }, 1),
    stopOf(1),
    startOf({ type: 'tool_use', id: 'toolu_1', name: 'add', input: {}, caller: { type: 'direct' } }, 2),
    deltaOf({ type: 'input_json_delta', partial_json: '{"a":' }, 2),
    deltaOf({ type: 'input_json_delta', partial_json: ' 1}' }, 2),
    stopOf(2),
    ...messageEnd,
  ]);

  test('has the same events however its bytes are cut', () => {
    const joined = (cuts: readonly number[]) => {
      const reader = new MessageReader({ showThinking: true });
      const events = cut(everything, cuts).flatMap((chunk) => reader.push([chunk]));
      expect(reader.complete).toBe(true);
      const spoken = (type: 'text' | 'thinking') =>
        events.map((event) => (event.type === type ? event.text : '')).join('');
      return {
        text: spoken('text'),
        thinking: spoken('thinking'),
        blocks: events.filter(({ type }) => type === 'block'),
      };
    };
    const whole = joined([]);
    expect(whole.text).toBe('Grüße, 世界 👋');
    expect(whole.thinking).toBe('Hm… 思考');
    expect(whole.blocks).toHaveLength(3);
    expect(joined([...everything.keys()])).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.nat()), (cuts) => {
        expect(joined(cuts)).toEqual(whole);
      }),
    );
  });

  test('has the same text delta whether its line arrives whole or in two parts, valid or not', () => {
    const opening = encode([messageStart, startOf({ type: 'text', text: '' })]);
    const quoted = fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
      fc.string({ unit: 'grapheme' }).map((text) => JSON.stringify(text)),
      // Raw text between quotes: control characters, lone backslashes, quotes that end it early.
      fc
        .string({ unit: fc.constantFrom('a', '"', '\\', '\\n', '\t', '\u0001', '\u007f', 'é', '}') })
        .map((raw) => `"${raw}"`),
    );
    const line = fc
      .record({
        index: fc.constantFrom('0', '1', '00', '10', '-1', '"0"'),
        text: quoted,
        inner: fc.constantFrom('', ' ', ',"more":1'),
        outer: fc.constantFrom('', '   ', '\t', ',"index":0'),
        end: fc.constantFrom('', ' ', '}', 'x'),
      })
      .map(
        ({ index, text, inner, outer, end }) =>
          `data: {"type":"content_block_delta","index":${index},"delta":{"type":"text_delta","text":${text}${inner}}${outer}}${end}\n\n`,
      );
    const heardOf = (chunks: readonly Buffer[]) => {
      const reader = new MessageReader({ showThinking: false });
      const heard = [opening, ...chunks].flatMap((chunk) => reader.push([chunk]));
      return { heard, failure: reader.failure?.cause.code, signsOfLife: reader.signsOfLife };
    };
    let understood = 0;
    fc.assert(
      fc.property(line, fc.nat(), (text, at) => {
        const bytes = Buffer.from(text);
        const whole = heardOf([bytes]);
        expect(heardOf(cut(bytes, [1 + (at % (bytes.length - 3))]))).toEqual(whole);
        if (whole.heard.length > 0) understood += 1;
      }),
      { numRuns: 2_000 },
    );
    expect(understood).toBeGreaterThan(100);
  });

  test('is complete after its last byte, and not before', () => {
    for (let length = 0; length < everything.length; length += 1) {
      const reader = new MessageReader({ showThinking: false });
      reader.push([everything.subarray(0, length)]);
      expect(reader.complete, `cut after ${length} bytes`).toBe(false);
      expect(reader.failure).toBeUndefined();
    }
  });

  test('gives the text of one read in one event, and of two blocks in two', () => {
    const { heard } = read([
      messageStart,
      startOf({ type: 'text', text: 'a' }),
      textOf('b'),
      textOf(''),
      textOf('c'),
      stopOf(),
      startOf({ type: 'text', text: '' }, 1),
      textOf('d', 1),
    ]);
    expect(heard).toEqual([
      { type: 'text', index: 0, text: 'abc' },
      { type: 'text', index: 1, text: 'd' },
    ]);
  });

  test('is not read beyond message_stop', () => {
    const { reader, heard } = read([messageStart, ...messageEnd, '[DONE]', messageStart, textOf('late')]);
    expect(reader.complete).toBe(true);
    expect(reader.failure).toBeUndefined();
    expect(heard).toEqual([]);
  });

  test('uses the name of an event only if its data has no type', () => {
    const reader = new MessageReader({ showThinking: false });
    reader.push([Buffer.from(`event: ping\ndata: ${JSON.stringify(messageStart)}\n\n`)]);
    reader.push([Buffer.from('event: message_stop\ndata: {}\n\n')]);
    expect(reader.complete).toBe(true);
  });

  test('counts every event but pings as a sign of life', () => {
    const { reader } = read([messageStart, { type: 'ping' }, { type: 'ping' }, { type: 'unheard_of' }]);
    expect(reader.signsOfLife).toBe(2);
  });

  test.each([
    ['a second message_start', 'second_message_start', [messageStart, messageStart]],
    ['a delta without its block', 'block_not_open', [messageStart, textOf('x')]],
    ['a delta after its block', 'block_not_open', [messageStart, startOf({ type: 'text' }), stopOf(), textOf('x')]],
    ['the end of no block', 'block_not_open', [messageStart, stopOf()]],
    [
      'a block that starts twice',
      'block_started_twice',
      [messageStart, startOf({ type: 'x' }), startOf({ type: 'x' })],
    ],
    ['content before message_start', 'no_message_start', [startOf({ type: 'text' })]],
    ['message_stop before message_start', 'no_message_start', [{ type: 'message_stop' }]],
    ['broken JSON', 'malformed_event', [messageStart, '{"type":"content_bl']],
    ['[DONE]', 'malformed_event', [messageStart, '[DONE]']],
    ['JSON that is no object', 'malformed_event', [messageStart, '[1]']],
    ['a block without a number', 'malformed_event', [messageStart, { ...startOf({ type: 'text' }), index: 'one' }]],
    ['a block without a kind', 'malformed_event', [messageStart, startOf({})]],
    [
      'a delta without a delta',
      'malformed_event',
      [messageStart, startOf({ type: 'x' }), { ...deltaOf({}), delta: 1 }],
    ],
  ])('fails at %s', (_what, code, events) => {
    const { reader } = read([...events, ...messageEnd]);
    expect(reader.failure).toMatchObject({ code: 'upstream_error', cause: { code } });
    expect(reader.complete).toBe(false);
  });

  test('yields the events before a failure', () => {
    const { reader, heard } = read([messageStart, startOf({ type: 'text', text: '' }), textOf('so far'), 'oops']);
    expect(heard).toEqual([{ type: 'text', index: 0, text: 'so far' }]);
    expect(reader.failure?.code).toBe('upstream_error');
  });

  test('fails by the type of an error event, and keeps its sentence apart', () => {
    const error = { type: 'error', error: { type: 'overloaded_error', message: 'secret' }, request_id: 'req_1' };
    const { reader } = read([error]);
    expect(reader.failure).toMatchObject({
      code: 'upstream_overloaded',
      requestId: 'req_1',
      cause: { type: 'overloaded_error' },
      said: 'secret',
    });
    expect(JSON.stringify(reader.failure?.cause) + String(reader.failure?.cause)).not.toContain('secret');
  });
});

describe('a content block', () => {
  test('of hidden thinking gives its signature alone', () => {
    const deltas = [
      { type: 'thinking_delta', thinking: 'secret' },
      { type: 'signature_delta', signature: 'first' },
      { type: 'signature_delta', signature: 'last' },
    ];
    const signature = { type: 'block', index: 0, block: { type: 'thinking', signature: 'last' } };
    expect(blockEvents({ type: 'thinking', thinking: '', signature: '' }, deltas)).toEqual([signature]);
    expect(blockEvents({ type: 'thinking', thinking: '' }, deltas, { showThinking: true })).toEqual([
      { type: 'thinking', index: 0, text: 'secret' },
      signature,
    ]);
  });

  test('of text gives its citations at its end, without the text', () => {
    const deltas = [
      { type: 'citations_delta', citation: { cited_text: 'b' } },
      { type: 'text_delta', text: 'said' },
    ];
    expect(blockEvents({ type: 'text', text: '', citations: [{ cited_text: 'a' }] }, deltas)).toEqual([
      { type: 'text', index: 0, text: 'said' },
      { type: 'block', index: 0, block: { type: 'text', citations: [{ cited_text: 'a' }, { cited_text: 'b' }] } },
    ]);
    expect(blockEvents({ type: 'text', text: '', citations: [] }, [])).toEqual([]);
    expect(blockEvents({ type: 'text', text: '', citations: null }, [])).toEqual([]);
  });

  const tool = { type: 'tool_use', id: 'toolu_1', name: 'add', input: {}, caller: { type: 'direct' } };
  const input = (partialJson: string) => ({ type: 'input_json_delta', partial_json: partialJson });

  test.each([
    ['assembled', [input('{"a": [1,'), input(' 2]}')], { ...tool, input: { a: [1, 2] } }],
    ['as it started where nothing comes', [input('')], tool],
    ['as text where it was cut short', [input('{"a": [1,')], { ...tool, input: undefined, input_json: '{"a": [1,' }],
  ])('of tool use has its input %s', (_how, deltas, block) => {
    expect(blockEvents(tool, deltas)).toEqual([{ type: 'block', index: 0, block }]);
  });

  test('of an unknown kind comes whole, with what deltas of unknown kinds added', () => {
    const start = { type: 'melody', notes: 'c', key: null, bars: [1] };
    const deltas = [
      { type: 'melody_delta', notes: ' d', key: 'F' },
      { type: 'melody_delta', bars: [2], tempo: 120 },
    ];
    const block = { type: 'melody', notes: 'c d', key: 'F', bars: [2], tempo: 120 };
    expect(blockEvents(start, deltas)).toEqual([{ type: 'block', index: 0, block }]);
  });

  test('of compaction has the content that its delta says', () => {
    const deltas = [{ type: 'compaction_delta', content: 'summary', encrypted_content: 'xyz' }];
    const block = { type: 'compaction', content: 'summary', encrypted_content: 'xyz' };
    expect(blockEvents({ type: 'compaction', content: 'old' }, deltas)).toEqual([{ type: 'block', index: 0, block }]);
  });

  test('keeps fields that have the names of JavaScript’s own', () => {
    const start = JSON.parse('{"type":"odd","__proto__":{"a":1},"constructor":"c"}') as object;
    const delta = JSON.parse('{"type":"odd_delta","__proto__":"p","toString":"t"}') as object;
    const [event] = blockEvents(start, [delta]);
    expect(JSON.stringify(event)).toBe(
      '{"type":"block","index":0,"block":{"type":"odd","__proto__":"p","constructor":"c","toString":"t"}}',
    );
  });

  test('that is open at message_stop is emitted, and one that is open at a break is not', () => {
    const open = [messageStart, startOf({ type: 'redacted_thinking', data: 'x' })];
    expect(read([...open, ...messageEnd]).heard).toHaveLength(1);
    expect(read(open).heard).toHaveLength(0);
  });
});
