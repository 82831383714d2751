/**
 * An answer whose config has an `output` is judged at its end, and `done` says what became of it: valid, refused, cut or
 * invalid. Nothing is repaired.
 */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { HeldBytes } from '../src/access/held-bytes.ts';
import { AnswerRoom } from '../src/upstream/answer-room.ts';
import { MessageReader } from '../src/upstream/messages-api/message-reader.ts';
import type { Reply } from '../src/simulator.ts';
import { blockDelta, blockStart, blockStop, messageStart, textStart } from './support/attack-upstream.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig } from './support/llm-stream.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';
import { frameOf } from './support/upstream-frames.ts';

finishesCleanly();

const output = z.object({ title: z.string(), pages: z.int().min(1) });
const asJsonSchema = {
  type: 'object',
  properties: { title: { type: 'string' }, pages: { type: 'integer', minimum: 1 } },
  required: ['title', 'pages'],
};
const book = { title: 'Emma “E” 👋', pages: 474 };
const text = JSON.stringify(book);

const says = (answer: string, more: object = {}): Reply => ({
  kind: 'blocks',
  blocks: [{ type: 'text', text: answer }],
  ...more,
});

const nothing: Reply = { kind: 'blocks', blocks: [] };

describe.each(doors)('over $name', (door) => {
  const test = serviceForEachTest({
    configs: {
      default: { ...plainConfig, output },
      json: { ...plainConfig, output: asJsonSchema },
      plain: plainConfig,
    },
  });
  const heard = async (reply: Reply, config = 'default') => {
    const { url, upstream } = test.current;
    upstream.enqueue(reply);
    return await readAll(door.stream(url, ask('A book, please.', { config })));
  };

  it.each(['default', 'json'])('an object that fits is valid, and its text is the answer: %s', async (config) => {
    const seen = await heard(says(text), config);
    expect(JSON.parse(textOf(seen))).toEqual(book);
    expect(terminalOf(seen)).toMatchObject({ type: 'done', object: 'valid', stopReason: 'end_turn' });
    expect(terminalOf(seen)).not.toHaveProperty('issues');
  });

  it.each([
    ['a refusal', says('I would rather not', { stopReason: 'refusal' }), { object: 'refused' }],
    ['the end of max_tokens', says(text.slice(0, 12), { stopReason: 'max_tokens' }), { object: 'cut' }],
    ['the end of max_tokens after a whole object', says(text, { stopReason: 'max_tokens' }), { object: 'cut' }],
    ['a full context', says(text, { stopReason: 'model_context_window_exceeded' }), { object: 'cut' }],
    ['a stop sequence within it', says(text.slice(0, 12), { stopReason: 'stop_sequence' }), { object: 'cut' }],
    ['text that is no JSON', says('Sure! '), { object: 'invalid', issues: [{ path: '', message: 'expected JSON' }] }],
    ['no text at all', nothing, { object: 'invalid' }],
    [
      'an object that doesn’t fit',
      says('{"title": "Emma", "pages": 0}'),
      { object: 'invalid', issues: [{ path: 'pages', message: expect.any(String) as string }] },
    ],
  ])('after %s the object is none', async (_, reply, fields) => {
    const terminal = terminalOf(await heard(reply));
    expect(terminal).toMatchObject({ type: 'done', ...fields });
    if (fields.object !== 'invalid') expect(terminal).not.toHaveProperty('issues');
  });

  it('a config without an output says nothing of an object', async () => {
    const terminal = terminalOf(await heard(says(text), 'plain'));
    expect(terminal.type).toBe('done');
    expect(terminal).not.toHaveProperty('object');
  });
});

describe('the object', () => {
  it('is the last text of a message in which upstream called its own tools', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({
      kind: 'blocks',
      blocks: [
        { type: 'text', text: 'I will look that up.' },
        { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: {} },
        { type: 'web_search_tool_result', tool_use_id: 'srvtoolu_1', content: [] },
        { type: 'text', text },
      ],
    });
    expect((await bench.hear(testConfig({ output }))).terminal).toMatchObject({ object: 'valid' });
  });

  it('with half of a letter is judged with U+FFFD in its place', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue(says('{"title": "\\ud83d", "pages": 1}'));
    const exact = z.object({ title: z.literal('\ufffd'), pages: z.number() });
    expect((await bench.hear(testConfig({ output: exact }))).terminal).toMatchObject({ object: 'valid' });
  });

  it('nested too deep to be parsed is invalid', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue(says('['.repeat(100_000)));
    const { terminal } = await bench.hear(testConfig({ output }));
    expect(terminal).toMatchObject({ object: 'invalid', issues: [{ path: '', message: /fewer values/ }] });
  });

  it('is held while it arrives, within the bounds of an answer', () => {
    const bytesMax = 64 * 1_024;
    const held = new HeldBytes({ heldBytesMax: 1e9, heldBytesPerCallerMax: 1e9 });
    const reader = (keeps: boolean) =>
      new MessageReader({
        showThinking: false,
        room: new AnswerRoom({ bytesMax, hold: held.take('ada', 0) }),
        ...(keeps ? { output: {} } : {}),
      });
    const pour = (into: MessageReader) => {
      into.push([Buffer.from(frameOf(messageStart) + frameOf(textStart))]);
      const piece = Buffer.from(frameOf(blockDelta({ type: 'text_delta', text: 'x'.repeat(1_024) })));
      for (let kib = 0; kib < 2 * 64; kib++) into.push([piece]);
    };
    expect(() => pour(reader(true))).toThrow(expect.objectContaining({ code: 'log_limit' }));
    expect(() => pour(reader(false))).not.toThrow();
  });
});

describe('with output_mode: tool', () => {
  const toolCall = (deltas: readonly string[], input: object = {}) => ({
    kind: 'blocks' as const,
    blocks: [
      {
        type: 'tool_use',
        id: 'toolu_1',
        name: 'output',
        input,
        deltas: deltas.map((partial_json) => ({ type: 'input_json_delta', partial_json })),
      },
    ],
  });
  const hear = async (reply: Reply) => {
    await using bench = await startBench();
    bench.simulator.enqueue(reply);
    const { baseUrl: base_url } = { baseUrl: bench.simulator.url };
    const config = testConfig({ model: 'claude-sonnet-4-6', output, output_mode: 'tool', base_url });
    return { ...(await bench.hear(config)), request: bench.simulator.requests[0]! };
  };

  it('the object is the input of a call, and clients see its text', async () => {
    const heard = await hear(toolCall(['', text.slice(0, 9), text.slice(9)]));
    expect(heard.request.body).toMatchObject({ tool_choice: { type: 'tool', name: 'output' } });
    expect(heard.request.body['output_config']).toBeUndefined();
    expect(JSON.parse(heard.text)).toEqual(book);
    expect(heard.events.filter(({ type }) => type !== 'text').map(({ type }) => type)).toEqual(['done']);
    expect(heard.terminal).toMatchObject({ object: 'valid', stopReason: 'end_turn' });
  });

  it('a server that sends the input with the block is understood too', () => {
    const reader = new MessageReader({ showThinking: false, output: { tool: 'output' } });
    const events = [
      messageStart,
      blockStart({ type: 'tool_use', id: 'toolu_1', name: 'output', input: book }),
      blockStop(),
    ];
    expect(reader.push([Buffer.from(events.map((event) => frameOf(event)).join(''))])).toEqual([
      { type: 'text', index: 0, text },
    ]);
    expect(reader.answerText).toBe(text);
  });

  it('a server that ignores the tool and writes text has the text judged', async () => {
    const { terminal } = await hear(says('Emma has 474 pages.'));
    expect(terminal).toMatchObject({ object: 'invalid' });
  });
});
