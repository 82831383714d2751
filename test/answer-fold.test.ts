/** `answer`: what an app shows of the events. */
import { expect, it } from 'vitest';
import type { LlmEvent } from '../src/protocol.ts';
import { answer, emptyAnswer } from '../src/react.ts';
import { call, cancelled, done, failed, generationId, result, start, step, text } from './support/scripted-service.ts';

const thinking = (piece: string): LlmEvent => ({ type: 'thinking', index: 0, text: piece });
const toolStart: LlmEvent = { type: 'tool_start', index: 0, id: 'a', name: 'pick' };

it('text and thinking are joined by block, in reading order', () => {
  const block = { type: 'block' as const, index: 3, block: { type: 'web_search_tool_result' } };
  const folded = answer([
    start,
    thinking('Hm'),
    thinking('m'),
    text('a', 1),
    text('b', 1),
    text('c', 2),
    block,
    done(),
  ]);
  expect(folded).toMatchObject({
    status: 'done',
    generationId,
    text: 'abc',
    thinking: 'Hmm',
    parts: [
      { kind: 'thinking', index: 0, text: 'Hmm' },
      { kind: 'text', index: 1, text: 'ab' },
      { kind: 'text', index: 2, text: 'c' },
      { kind: 'block', index: 3, block: { type: 'web_search_tool_result' } },
    ],
    blocks: [{ index: 3 }],
    usage: { outputTokens: 1 },
    costUsd: null,
    timing: { totalMs: 2 },
  });
});

it.each<[string, readonly LlmEvent[], object]>([
  ['is being written', [toolStart, { type: 'tool_input', index: 0, text: '{"k' }], { state: 'writing', draft: '{"k' }],
  ['runs', [toolStart, call('a', 'service')], { state: 'running', input: { kind: 'image' } }],
  ['waits for the client', [call('a', 'client')], { state: 'waiting', by: 'client' }],
  ['waits for an approval', [call('a', 'service', { approval: true })], { state: 'waiting', approval: true }],
  ['has its result', [call('a', 'client'), result('a', 7), step(2)], { state: 'done', output: 7 }],
  [
    'has none',
    [
      call('a', 'service'),
      { type: 'tool_result', id: 'a', name: 'pick', ok: false, error: { code: 'denied', message: 'no' } },
    ],
    { state: 'failed', error: { code: 'denied' } },
  ],
])('a call %s', (_, events, expected) => {
  const folded = answer([start, ...events]);
  expect(folded.calls).toMatchObject([{ kind: 'call', id: 'a', name: 'pick', ...expected }]);
  expect(folded.pending).toHaveLength('state' in expected && expected.state === 'waiting' ? 1 : 0);
  expect(answer([done()], folded).pending).toEqual([]);
});

it.each<[LlmEvent, object]>([
  [failed, { status: 'error', error: { code: 'upstream_error', message: 'no', retryable: true }, usage: {} }],
  [cancelled, { status: 'cancelled', terminal: { reason: 'requested' }, usage: {} }],
])('an end of type $type has its account', (event, expected) => {
  expect(answer([start, text('so far'), event])).toMatchObject({ text: 'so far', ...expected });
});

it('an object grows, and shares what stayed the same', () => {
  const first = answer([start, text('{"list": [{"a": 1}], "title": "He')]);
  expect(first.object).toEqual({ list: [{ a: 1 }], title: 'He' });
  const second = answer([text('llo"}'), done({ object: 'valid' })], first);
  expect(second.object).toEqual({ list: [{ a: 1 }], title: 'Hello' });
  expect((second.object as { list: unknown }).list).toBe((first.object as { list: unknown }).list);
  // From the same answer once more.
  expect(answer([text('y"}')], first).object).toEqual({ list: [{ a: 1 }], title: 'Hey' });
  expect(first.object).toEqual({ list: [{ a: 1 }], title: 'He' });
});

it('a text is no object, nor is JSON of a config without an output', () => {
  expect(answer([start, text('Hello {')]).object).toBeUndefined();
  expect(answer([start, text('{"a": 1}'), done()]).object).toBeUndefined();
});

it('nothing that was returned changes, and parts that stay are the same objects', () => {
  const before = answer([start, text('a'), call('a', 'service'), text('b', 1)]);
  const copy = structuredClone(before);
  const after = answer([text('c', 1)], before);
  expect(before).toEqual(copy);
  expect(after.parts[0]).toBe(before.parts[0]);
  expect(after.calls).toBe(before.calls);
  expect(after.text).toBe('abc');
});

it('ids are kept where the events have them, and a stored answer goes on after its last event', () => {
  const stored = JSON.stringify(
    answer([
      { id: 'x:0', data: start },
      { id: 'x:1', data: text('a') },
    ]),
  );
  const after = answer([{ id: 'x:2', data: text('b') }], JSON.parse(stored));
  expect(after).toMatchObject({ lastEventId: 'x:2', text: 'ab' });
});

it('start begins the answer anew', () => {
  const before = answer([start, text('old'), call('a', 'client')]);
  expect(answer([start, text('new')], before)).toMatchObject({
    status: 'running',
    text: 'new',
    calls: [],
    pending: [],
  });
  expect(emptyAnswer).toMatchObject({ status: 'idle', parts: [] });
});

it('an event that this version does not know changes nothing but the cursor', () => {
  const before = answer([start, text('a')]);
  const unknown = { type: 'of_a_newer_service' } as unknown as LlmEvent;
  expect(answer([{ id: 'x:9', data: unknown }], before)).toEqual({ ...before, lastEventId: 'x:9' });
});
