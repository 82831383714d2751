/**
 * The memory that an answer takes beside its log is bounded as the log is, counts for the caller, and leads to one
 * terminal event.
 */
import { describe, expect, it } from 'vitest';
import { HeldBytes } from '../src/access/held-bytes.ts';
import type { LlmEvent } from '../src/protocol.ts';
import { AnswerRoom } from '../src/upstream/answer-room.ts';
import { MessageReader } from '../src/upstream/messages-api/message-reader.ts';
import {
  blockDelta,
  blockStart,
  blockStop,
  messageDelta,
  messageStart,
  messageStop,
  startHandUpstream,
  textStart,
  type UpstreamEvent,
} from './support/attack-upstream.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, takeApart, testConfig } from './support/llm-stream.ts';
import { frameOf } from './support/upstream-frames.ts';

finishesCleanly();

const KiB = 1_024;
const bytesMax = 256 * KiB;
/** Far more than any of them may hold, and more than V8 may use for it. */
const writtenMax = 16 * bytesMax;
const roomy = { heldBytesMax: 1e9, heldBytesPerCallerMax: 1e9 };

function readerWith(held: HeldBytes, max = bytesMax) {
  return new MessageReader({ showThinking: true, room: new AnswerRoom({ bytesMax: max, hold: held.take('ada', 0) }) });
}

function push(reader: MessageReader, ...events: (UpstreamEvent | string)[]): LlmEvent[] {
  const text = events.map((event) => (typeof event === 'string' ? event : frameOf(event))).join('');
  return reader.push([Buffer.from(text)]);
}

const piece = 'x'.repeat(KiB);
const toolStart = blockStart({ type: 'tool_use', id: 'toolu_1', name: 'search', input: {} });
const tiny = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`k${at}`, {}]));

/** The first events, and the event that then repeats without end. */
const growing: Readonly<
  Record<string, readonly [first: readonly UpstreamEvent[], next: (number: number) => UpstreamEvent | string]>
> = {
  'input of a tool': [[toolStart], () => blockDelta({ type: 'input_json_delta', partial_json: piece })],
  'citations of many small objects': [
    [textStart],
    () => blockDelta({ type: 'citations_delta', citation: { type: 'page', tiny } }),
  ],
  'fields of deltas': [[blockStart({ type: 'new' })], (number) => blockDelta({ type: 'new', [`f${number}`]: piece })],
  'a field that grows': [[blockStart({ type: 'new' })], () => blockDelta({ type: 'new', field: 'x' })],
  'blocks that stay open': [[], (number) => blockStart({ type: 'text', text: '' }, number)],
  'indexes that were used': [
    [],
    (number) => frameOf(blockStart({ type: 'text', text: '' }, number)) + frameOf(blockStop(number)),
  ],
  usage: [[], (number) => messageDelta({}, { [`n${number}`]: piece })],
  'details of stopping': [[], (number) => messageDelta({ stop_details: { number, piece } })],
  'a line': [[], () => piece],
  'lines of an event': [[], () => `data: ${piece}\n`],
  'short lines of an event': [[], () => 'data:x\n'.repeat(100)],
  'names of an event': [[], () => `event: ${piece}\n`],
};

describe('without an end', () => {
  it.each(Object.keys(growing))('%s end an answer at the bound of its log', (what) => {
    const [first, next] = growing[what]!;
    const held = new HeldBytes(roomy);
    const reader = readerWith(held);
    push(reader, messageStart, ...first);
    const pour = () => {
      for (let written = 0, number = 0; written < writtenMax; number += 1) {
        const event = next(number);
        written += typeof event === 'string' ? event.length : frameOf(event).length;
        push(reader, event);
        expect(held.total).toBeLessThanOrEqual(bytesMax);
      }
    };
    expect(pour).toThrow(expect.objectContaining({ code: 'log_limit' }));
    const { usage } = reader.usage.report(false);
    expect(usage).toMatchObject({ inputTokens: 8, raw: null });
  });
});

it('a block’s memory counts for the caller until the block has ended', () => {
  const held = new HeldBytes(roomy);
  const reader = readerWith(held);
  push(reader, messageStart, toolStart);
  expect(held.total).toBe(0);
  for (let number = 0; number < 64; number += 1) {
    push(reader, blockDelta({ type: 'input_json_delta', partial_json: piece }));
  }
  expect(held.total).toBeGreaterThan(48 * KiB);
  push(reader, blockStop());
  expect(held.total).toBe(0);
});

it('an answer for which the caller has no room ends as log_limit', () => {
  const reader = readerWith(new HeldBytes({ heldBytesMax: 1e9, heldBytesPerCallerMax: 64 * KiB }));
  push(reader, messageStart, toolStart);
  const json = blockDelta({ type: 'input_json_delta', partial_json: 'x'.repeat(80 * KiB) });
  expect(() => push(reader, json)).toThrow(expect.objectContaining({ code: 'log_limit' }));
});

it('input of a tool comes whole out of however many pieces', () => {
  const reader = readerWith(new HeldBytes(roomy), Infinity);
  const input = { words: Array.from({ length: 3_000 }, (_, number) => `w${number} tök🙂`) };
  push(reader, messageStart, toolStart);
  for (const partial_json of JSON.stringify(input).match(/.{1,3}/gu)!) {
    push(reader, blockDelta({ type: 'input_json_delta', partial_json }));
  }
  expect(push(reader, blockStop())).toMatchObject([{ type: 'block', index: 0, block: { input } }]);
});

it('data of many lines comes whole', () => {
  const reader = readerWith(new HeldBytes(roomy));
  const lines = JSON.stringify(messageDelta({ stop_reason: 'end_turn' }), null, 1).split('\n');
  push(reader, messageStart, `${lines.map((line) => `data: ${line}`).join('\n')}\n\n`, messageStop);
  expect(reader).toMatchObject({ complete: true, stopReason: 'end_turn' });
});

it.each(['-1', '1.5', '1e21', '2147483648', '9007199254740993', '"0"', 'null', '[0]'])(
  'a block of index %s is malformed',
  (index) => {
    const reader = new MessageReader({ showThinking: false });
    const start = `data: {"type":"content_block_start","index":${index},"content_block":{"type":"text","text":"x"}}\n\n`;
    expect(push(reader, messageStart, start, messageStop)).toEqual([]);
    expect(reader.failure).toMatchObject({ code: 'upstream_error', cause: { code: 'malformed_event' } });
  },
);

it('a zero below zero is the index zero', () => {
  const start = 'data: {"type":"content_block_start","index":-0,"content_block":{"type":"text","text":"x"}}\n\n';
  const [event] = push(new MessageReader({ showThinking: false }), messageStart, start);
  expect(event).toStrictEqual({ type: 'text', index: 0, text: 'x' });
});

it('an event of more values than any answer has is malformed', () => {
  const reader = new MessageReader({ showThinking: false });
  const values = `[${'{},'.repeat(150_000)}1]`;
  push(reader, messageStart, `data: {"type":"content_block_start","index":0,"content_block":{"a":${values}}}\n\n`);
  expect(reader.failure).toMatchObject({ code: 'upstream_error', cause: { code: 'malformed_event' } });
});

it('an error with invalid numbers and names is upstream’s error', () => {
  const reader = new MessageReader({ showThinking: false });
  const error = { status: { toString: 1, valueOf: 1 }, code: ['x'], type: 'x'.repeat(1_000) };
  push(reader, messageStart, { type: 'error', error });
  expect(reader.failure).toMatchObject({ code: 'upstream_error', cause: { code: 'error_event', type: undefined } });
});

it('upstream is closed at the bound, and one terminal event has the account', async () => {
  await using upstream = await startHandUpstream();
  await using bench = await startBench({ address: () => ({ baseUrl: upstream.url }) });
  const json = blockDelta({ type: 'input_json_delta', partial_json: piece });
  upstream.script = ({ pour }) =>
    pour(
      (function* () {
        yield* [messageStart, toolStart];
        for (;;) yield json;
      })(),
    );
  const held = new HeldBytes(roomy);
  using hold = held.take('ada', 0);
  const request = {
    config: testConfig(),
    messages: [{ role: 'user', content: 'x' }],
    variables: {},
    room: new AnswerRoom({ bytesMax, hold }),
  } as const;
  const events: LlmEvent[] = [];
  for await (const batch of bench.llm.stream(request, new AbortController().signal)) events.push(...batch);
  const { terminal } = takeApart(events);
  expect(terminal).toMatchObject({ type: 'error', code: 'log_limit', usage: { inputTokens: 8, estimated: true } });
  expect(terminal.usage.outputTokens).toBeGreaterThan(bytesMax / 8);
  expect(upstream.requests).toHaveLength(1);
});
