/** An answer as messages for the next request: what upstream takes back, and nothing that it would refuse. */
import { expect, it } from 'vitest';
import { readMessages } from '../src/client/history.ts';
import type { DoneEvent, LlmEvent } from '../src/protocol.ts';
import { call, cancelled, done, failed, result, start, step, text } from './support/scripted-service.ts';

async function messagesOf(...events: readonly LlmEvent[]) {
  async function* all() {
    yield* [start, ...events];
  }
  return await readMessages(all());
}

const thinking = (piece: string, index: number): LlmEvent => ({ type: 'thinking', index, text: piece });
const block = (index: number, fields: Record<string, unknown>): LlmEvent => ({ type: 'block', index, block: fields });
const signature = (index: number): LlmEvent => block(index, { type: 'thinking', signature: `signature ${index}` });
const steps = (number: number, more: Partial<DoneEvent> = {}) => done({ steps: number, ...more });

it('an answer of text is one message', async () => {
  const content = [{ type: 'text', text: 'Hello' }];
  expect(await messagesOf(text('Hel'), text('lo'), done())).toEqual([{ role: 'assistant', content }]);
});

it('thinking has its signature, text its citations, and other blocks stay as they are', async () => {
  const redacted = { type: 'redacted_thinking', data: 'x' };
  const search = { type: 'server_tool_use', id: 's', name: 'web_search', input: { query: 'q' } };
  const events = [
    thinking('Hm', 0),
    thinking('m', 0),
    signature(0),
    block(1, redacted),
    block(2, search),
    text('It is', 3),
    block(3, { type: 'text', citations: [{ url: 'u' }] }),
  ];
  const [message] = await messagesOf(...events, done());
  expect(message!.content).toEqual([
    { type: 'thinking', thinking: 'Hmm', signature: 'signature 0' },
    redacted,
    search,
    { type: 'text', text: 'It is', citations: [{ url: 'u' }] },
  ]);
});

it('hidden thinking is sent back as upstream sent it: without a word, with its signature', async () => {
  const [message] = await messagesOf(signature(0), text('Yes', 1), done());
  expect(message!.content).toEqual([
    { type: 'thinking', thinking: '', signature: 'signature 0' },
    { type: 'text', text: 'Yes' },
  ]);
});

it('calls are answered in one message, in the order of the calls, and before the next step', async () => {
  const events = [
    signature(0),
    text('Let me look.', 1),
    call('a', 'service', { index: 2 }),
    call('b', 'client', { index: 3 }),
    { ...result('b', { bytes: 3 }) },
    { type: 'tool_result', id: 'a', name: 'pick', ok: false, error: { code: 'timeout', message: 'too late' } } as const,
    step(2),
    text('Three bytes.', 4),
  ];
  expect(await messagesOf(...events, steps(2))).toEqual([
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: '', signature: 'signature 0' },
        { type: 'text', text: 'Let me look.' },
        { type: 'tool_use', id: 'a', name: 'pick', input: { kind: 'image' } },
        { type: 'tool_use', id: 'b', name: 'pick', input: { kind: 'image' } },
      ],
    },
    {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'a', content: 'too late', is_error: true },
        { type: 'tool_result', tool_use_id: 'b', content: '{"bytes":3}' },
      ],
    },
    { role: 'assistant', content: [{ type: 'text', text: 'Three bytes.' }] },
  ]);
});

it('the event of a call that waited comes late, and its block is in its place', async () => {
  const events = [call('late', 'client', { index: 1 }), call('first', 'service', { index: 0 })];
  const [message] = await messagesOf(...events, result('first', 'x'), result('late', 'y'), step(2), steps(2));
  expect((message!.content as readonly { id?: unknown }[]).map(({ id }) => id)).toEqual(['first', 'late']);
});

it.each([
  ['is no JSON', '{"a": ', '{"a": '],
  ['is no object', [1], '[1]'],
])('input that %s is wrapped in an object, which upstream takes', async (_, input, wrapped) => {
  const [message] = await messagesOf(
    call('a', 'service', { input }),
    result('a', 'x'),
    step(2),
    text('y', 1),
    steps(2),
  );
  expect(message!.content).toEqual([{ type: 'tool_use', id: 'a', name: 'pick', input: { INVALID_JSON: wrapped } }]);
});

it('after a pause the model goes on in the same message', async () => {
  const events = [text('One'), step(2, 'pause_turn'), text('two', 1)];
  const content = [
    { type: 'text', text: 'One' },
    { type: 'text', text: 'two' },
  ];
  expect(await messagesOf(...events, steps(2))).toEqual([{ role: 'assistant', content }]);
});

it('a call whose result clients do not get is left out, and all thinking with it', async () => {
  const events = [
    signature(0),
    call('a', 'service', { index: 1 }),
    { type: 'tool_result', id: 'a', name: 'pick', ok: true } as const,
    step(2),
    signature(2),
    text('Done', 3),
  ];
  expect(await messagesOf(...events, steps(2))).toEqual([
    { role: 'assistant', content: [{ type: 'text', text: 'Done' }] },
  ]);
});

it('a hidden call shows by its missing index: all thinking is left out, and what is left is one message', async () => {
  const events = [signature(0), text('Let me look.', 1), step(2), signature(3), text('Done', 4)];
  const content = [
    { type: 'text', text: 'Let me look.' },
    { type: 'text', text: 'Done' },
  ];
  expect(await messagesOf(...events, steps(2))).toEqual([{ role: 'assistant', content }]);
});

it('a call that waits for the client is the last block, and the next request answers it', async () => {
  const messages = await messagesOf(signature(0), call('a', 'client', { index: 1 }), done({ stopReason: 'tool_use' }));
  expect(messages).toEqual([
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: '', signature: 'signature 0' },
        { type: 'tool_use', id: 'a', name: 'pick', input: { kind: 'image' } },
      ],
    },
  ]);
});

it('a call that nobody can answer any more is left out: one that waited for an approval, one of an answer that was cut', async () => {
  const approval = call('a', 'service', { index: 1, approval: true });
  const kept = [{ role: 'assistant', content: [{ type: 'text', text: 'So' }] }];
  expect(await messagesOf(text('So'), approval, done({ stopReason: 'tool_use' }))).toEqual(kept);
  expect(await messagesOf(text('So'), call('a', 'client', { index: 1 }), done({ stopReason: 'max_tokens' }))).toEqual(
    kept,
  );
  const cutShort = block(1, { type: 'tool_use', id: 'a', name: 'pick', input_json: '{"ki' });
  expect(await messagesOf(text('So'), cutShort, done({ stopReason: 'max_tokens' }))).toEqual(kept);
});

it('an answer without a word is no message', async () => {
  expect(await messagesOf(done({ stopReason: 'refusal' }))).toEqual([]);
});

it.each([
  ['upstream_error', failed],
  ['cancelled', cancelled],
] as const)('an answer that ended as %s throws it', async (code, event) => {
  await expect(messagesOf(text('So'), event)).rejects.toMatchObject({ code, event });
});
