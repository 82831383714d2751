/** An answer as AG-UI's events: what each of ours becomes, what is always closed, and where a cut stream goes on. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AgUiEvent } from '../src/adapters/ag-ui/ag-ui-event.ts';
import { resultNotShown, toAgUiEvents, type AgUiIds } from '../src/adapters/ag-ui/encoder.ts';
import { readConversation } from '../src/adapters/ag-ui/messages.ts';
import { generationIdOf } from '../src/adapters/ag-ui/run-id.ts';
import { parseCursor } from '../src/doors/ag-ui/cursor.ts';
import { AgUiFrames } from '../src/doors/ag-ui/frames.ts';
import type { LlmEvent } from '../src/protocol.ts';
import { LoggedEvent } from '../src/stream-log/logged-event.ts';
import { call, cancelled, done, failed, generationId, result, start, step, text } from './support/scripted-service.ts';

const ids: AgUiIds = { threadId: 'thread', runId: 'run' };
const thinking = (piece: string, index: number): LlmEvent => ({ type: 'thinking', index, text: piece });
const block = (index: number, fields: Record<string, unknown>): LlmEvent => ({ type: 'block', index, block: fields });
const signature = (index: number): LlmEvent => block(index, { type: 'thinking', signature: `signed ${index}` });
const toolStart = (id: string, index = 0): LlmEvent => ({ type: 'tool_start', index, id, name: 'pick' });
const toolInput = (piece: string, index = 0): LlmEvent => ({ type: 'tool_input', index, text: piece });

/** What events become, without the two that every answer begins with. */
const become = (...events: readonly LlmEvent[]) => [...toAgUiEvents([start, ...events], ids)].slice(2);

const m = generationId;
const textStart = { type: 'TEXT_MESSAGE_START', messageId: m, role: 'assistant' };
const content = (delta: string, messageId = m) => ({ type: 'TEXT_MESSAGE_CONTENT', messageId, delta });
const textEnd = { type: 'TEXT_MESSAGE_END', messageId: m };
const callStart = (toolCallId: string, parentMessageId = m) => ({
  type: 'TOOL_CALL_START',
  toolCallId,
  toolCallName: 'pick',
  parentMessageId,
});
const args = (toolCallId: string, delta = '{"kind":"image"}') => ({ type: 'TOOL_CALL_ARGS', toolCallId, delta });
const callEnd = (toolCallId: string) => ({ type: 'TOOL_CALL_END', toolCallId });
const toolResult = (toolCallId: string, words: string) => ({
  type: 'TOOL_CALL_RESULT',
  messageId: `${m}-result-${toolCallId}`,
  toolCallId,
  role: 'tool',
  content: words,
});
const custom = (name: string, value: object) => ({ type: 'CUSTOM', name, value });
const thought = (index: number, pieces: readonly string[], encryptedValue?: string, parent = m) => {
  const messageId = `${parent}-reasoning-${index}`;
  return [
    { type: 'REASONING_START', messageId },
    { type: 'REASONING_MESSAGE_START', messageId, role: 'reasoning' },
    ...pieces.map((delta) => ({ type: 'REASONING_MESSAGE_CONTENT', messageId, delta })),
    ...(encryptedValue === undefined
      ? []
      : [{ type: 'REASONING_ENCRYPTED_VALUE', subtype: 'message', entityId: messageId, encryptedValue }]),
    { type: 'REASONING_MESSAGE_END', messageId },
    { type: 'REASONING_END', messageId },
  ];
};

it('a run begins with RUN_STARTED, and what AG-UI has no words for follows', () => {
  const { type: _, ...value } = start;
  expect([...toAgUiEvents([start], ids)]).toEqual([
    { type: 'RUN_STARTED', threadId: 'thread', runId: 'run' },
    custom('llm.start', value),
  ]);
});

it('without ids, the run is the generation, and its thread the label that it was started with', () => {
  const [first] = toAgUiEvents([{ ...start, thread: 'chat 7' } as LlmEvent]);
  expect(first).toEqual({ type: 'RUN_STARTED', threadId: 'chat 7', runId: generationId });
  expect([...toAgUiEvents([start])][0]).toEqual({ type: 'RUN_STARTED', threadId: generationId, runId: generationId });
});

it('events that arrive one by one become the same', async () => {
  async function* arriving() {
    yield* [start, text('Hello'), done()];
  }
  const events: AgUiEvent[] = [];
  for await (const event of toAgUiEvents(arriving(), ids)) events.push(event);
  expect(events).toEqual([...toAgUiEvents([start, text('Hello'), done()], ids)]);
});

describe('what becomes of', () => {
  it.each<[string, readonly LlmEvent[], readonly object[]]>([
    ['text', [text('Hel'), text('lo')], [textStart, content('Hel'), content('lo')]],
    [
      'text of several blocks: one message',
      [text('One', 0), text('two', 1)],
      [textStart, content('One'), content('two')],
    ],
    ['an empty text: no delta, which older clients refuse', [text('')], [textStart]],
    [
      'thinking, with its signature',
      [thinking('H', 0), thinking('m', 0), signature(0)],
      thought(0, ['H', 'm'], 'signed 0'),
    ],
    ['thinking and then text', [thinking('Hm', 0), text('Yes', 1)], [...thought(0, ['Hm']), textStart, content('Yes')]],
    [
      'hidden thinking: its signature is kept with the message that follows',
      [signature(0), text('Yes', 1)],
      [
        textStart,
        { type: 'REASONING_ENCRYPTED_VALUE', subtype: 'message', entityId: m, encryptedValue: 'signed 0' },
        content('Yes'),
      ],
    ],
    [
      'thinking behind text: no signature, since upstream would not take it back where AG-UI puts it',
      [text('So', 0), thinking('Hm', 1), signature(1), text('Yes', 2)],
      [textStart, content('So'), textEnd, ...thought(1, ['Hm']), textStart, content('Yes')],
    ],
    [
      'citations',
      [text('It is', 0), block(0, { type: 'text', citations: [{ url: 'u' }] })],
      [
        textStart,
        content('It is'),
        textEnd,
        custom('llm.block', { messageId: m, index: 0, block: { type: 'text', citations: [{ url: 'u' }] } }),
      ],
    ],
    [
      'a block of an unknown kind',
      [block(0, { type: 'hologram', rays: 3 })],
      [custom('llm.block', { messageId: m, index: 0, block: { type: 'hologram', rays: 3 } })],
    ],
    [
      'a call and its result',
      [text('Look', 0), toolStart('a', 1), call('a', 'service', { index: 1 }), result('a', { bytes: 3 })],
      [textStart, content('Look'), textEnd, callStart('a'), args('a'), callEnd('a'), toolResult('a', '{"bytes":3}')],
    ],
    [
      'a call whose input is streamed',
      [toolStart('a'), toolInput('{"kind":'), toolInput('"image"}'), call('a', 'service')],
      [callStart('a'), args('a', '{"kind":'), args('a', '"image"}'), callEnd('a')],
    ],
    [
      'calls that overlap, and of which the first is whole last',
      [toolStart('a', 0), toolStart('b', 1), call('b', 'service', { index: 1 }), call('a', 'service')],
      [callStart('a'), callStart('b'), args('b'), callEnd('b'), args('a'), callEnd('a')],
    ],
    ['a call of which the beginning was not sent', [call('a', 'service')], [callStart('a'), args('a'), callEnd('a')]],
    [
      'a call that waits for the client',
      [toolStart('a'), call('a', 'client')],
      [
        callStart('a'),
        args('a'),
        callEnd('a'),
        custom('llm.waiting', { generationId, toolCallId: 'a', name: 'pick', input: { kind: 'image' }, by: 'client' }),
      ],
    ],
    [
      'a call that waits for an approval',
      [call('a', 'service', { approval: true })],
      [
        callStart('a'),
        args('a'),
        callEnd('a'),
        custom('llm.waiting', {
          generationId,
          toolCallId: 'a',
          name: 'pick',
          input: { kind: 'image' },
          by: 'service',
          approval: true,
        }),
      ],
    ],
    [
      'a call whose input was cut short',
      [toolStart('a'), block(0, { type: 'tool_use', id: 'a', name: 'pick', input_json: '{"ki' })],
      [
        callStart('a'),
        callEnd('a'),
        custom('llm.block', {
          messageId: m,
          index: 0,
          block: { type: 'tool_use', id: 'a', name: 'pick', input_json: '{"ki' },
        }),
      ],
    ],
    ['a result that is text', [result('a', 'sunny')], [toolResult('a', 'sunny')]],
    [
      'a result that clients do not get',
      [{ type: 'tool_result', id: 'a', name: 'pick', ok: true }],
      [toolResult('a', resultNotShown)],
    ],
    [
      'a call that failed',
      [{ type: 'tool_result', id: 'a', name: 'pick', ok: false, error: { code: 'timeout', message: 'too late' } }],
      [{ ...toolResult('a', 'too late'), metadata: { error: { code: 'timeout', message: 'too late' } } }],
    ],
    [
      'steps: each is another message',
      [text('One', 0), step(2), text('two', 1), step(3), thinking('Hm', 2), signature(2), text('three', 3)],
      [
        textStart,
        content('One'),
        textEnd,
        { type: 'STEP_STARTED', stepName: 'step 2' },
        { ...textStart, messageId: `${m}-2` },
        content('two', `${m}-2`),
        { ...textEnd, messageId: `${m}-2` },
        { type: 'STEP_FINISHED', stepName: 'step 2' },
        { type: 'STEP_STARTED', stepName: 'step 3' },
        ...thought(2, ['Hm'], 'signed 2', `${m}-3`),
        { ...textStart, messageId: `${m}-3` },
        content('three', `${m}-3`),
      ],
    ],
    [
      'a pause: the same message goes on',
      [text('One', 0), step(2, 'pause_turn'), text('two', 1)],
      [textStart, content('One'), textEnd, { type: 'STEP_STARTED', stepName: 'step 2' }, textStart, content('two')],
    ],
    ['an event that a newer service sends', [{ type: 'hologram' } as never], []],
  ])('%s', (_, events, expected) => {
    expect(become(...events)).toEqual(expected);
  });

  it('the end: everything is closed, the account is the result', () => {
    const events = [thinking('Hm', 0), toolStart('a', 1), step(2), text('x', 2), done({ steps: 2 })];
    const { type: _, ...account } = done({ steps: 2 });
    expect(become(...events).slice(-4)).toEqual([
      { ...textEnd, messageId: `${m}-2` },
      // `a` was begun, and its answer has ended without it.
      callEnd('a'),
      { type: 'STEP_FINISHED', stepName: 'step 2' },
      {
        type: 'RUN_FINISHED',
        ...ids,
        result: { generationId, ...account },
        usage: [{ model: 'm', inputTokens: 1, outputTokens: 1, totalTokens: 2, cachedInputTokens: 0 }],
      },
    ]);
  });

  it.each([
    ['a failure', failed, { message: 'no', code: 'upstream_error' }],
    ['a cancel', cancelled, { message: 'The answer was cancelled: requested', code: 'abort' }],
  ])('%s: the account, and then RUN_ERROR, which nothing may follow', (_, event, expected) => {
    const { type, ...account } = event;
    expect(become(text('So'), event).slice(2)).toEqual([
      textEnd,
      custom('llm.account', { type, generationId, ...account }),
      {
        type: 'RUN_ERROR',
        ...expected,
        usage: [{ model: 'm', inputTokens: 1, outputTokens: 1, totalTokens: 2, cachedInputTokens: 0 }],
      },
    ]);
  });
});

// ------------------------------------------------------------------------------------------------------ random answers

type Piece =
  | { kind: 'text' | 'thinking'; pieces: string[]; extra: boolean }
  | { kind: 'tool'; pieces: string[]; by: 'service' | 'client'; outcome: 'shown' | 'hidden' | 'failed' | 'cut' }
  | { kind: 'block' | 'signature' | 'gap' | 'step' | 'pause' };

const pieces = fc.array(fc.string({ maxLength: 4 }), { minLength: 1, maxLength: 5 });
const piece: fc.Arbitrary<Piece> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('text', 'thinking'), pieces, extra: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('tool' as const),
      pieces: fc.array(fc.string({ maxLength: 4 }), { maxLength: 3 }),
      by: fc.constantFrom('service', 'client'),
      outcome: fc.constantFrom('shown', 'hidden', 'failed', 'cut'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('block', 'signature', 'gap', 'step', 'pause') }) },
) as fc.Arbitrary<Piece>;

/** The log of an answer with these parts: each element is one event, text in its single pieces. */
function logOf(parts: readonly Piece[], terminal: LlmEvent): LlmEvent[] {
  const log: LlmEvent[] = [start];
  const results: LlmEvent[] = [];
  let index = 0;
  let steps = 1;
  for (const part of parts) {
    const at = index;
    if (part.kind === 'text' || part.kind === 'thinking') {
      for (const each of part.pieces) log.push({ type: part.kind, index: at, text: each });
      if (part.extra) log.push(part.kind === 'text' ? block(at, { type: 'text', citations: [] }) : signature(at));
    } else if (part.kind === 'tool') {
      const id = `call-${at}`;
      log.push(toolStart(id, at), ...part.pieces.map((each) => toolInput(each, at)));
      if (part.outcome === 'cut') log.push(block(at, { type: 'tool_use', id, input_json: '{' }));
      // Half of the calls are whole only when the step is, as those that wait for a client are.
      else (part.by === 'client' ? results : log).push(call(id, part.by, { index: at }));
      if (part.outcome === 'shown') results.push(result(id, at));
      if (part.outcome === 'hidden') results.push({ type: 'tool_result', id, name: 'pick', ok: true });
      if (part.outcome === 'failed') {
        const error = { code: 'failed', message: 'no' } as const;
        results.push({ type: 'tool_result', id, name: 'pick', ok: false, error });
      }
    } else if (part.kind === 'step' || part.kind === 'pause') {
      log.push(...results.splice(0), step((steps += 1), part.kind === 'pause' ? 'pause_turn' : 'tool_use'));
      continue;
    } else if (part.kind === 'block') log.push(block(at, { type: 'hologram' }));
    else if (part.kind === 'signature') log.push(signature(at));
    index += 1;
  }
  return [...log, ...results, terminal];
}

const answer = fc
  .tuple(fc.array(piece, { maxLength: 8 }), fc.constantFrom(done(), failed, cancelled))
  .map(([parts, terminal]) => logOf(parts, terminal));

it('whatever an answer holds, everything is opened once, closed before the end, and nothing follows it', () => {
  fc.assert(
    fc.property(answer, (log) => {
      const events = [...toAgUiEvents(log, ids)];
      const open = new Set<string>();
      events.forEach((event, at) => {
        const isLast = at === events.length - 1;
        expect(event.type === 'RUN_FINISHED' || event.type === 'RUN_ERROR').toBe(isLast);
        expect(event.type === 'RUN_STARTED').toBe(at === 0);
        const [, what, how] =
          /^(TEXT_MESSAGE|REASONING_MESSAGE|REASONING|TOOL_CALL|STEP)_(START|STARTED|END|FINISHED|CONTENT|ARGS)$/.exec(
            event.type,
          ) ?? [];
        if (what === undefined) return;
        const { messageId, toolCallId, stepName } = event as unknown as Readonly<Record<string, string | undefined>>;
        const key = `${what} ${toolCallId ?? stepName ?? messageId}`;
        if (how === 'START' || how === 'STARTED') {
          expect(open.has(key), `${key} is open already`).toBe(false);
          open.add(key);
          return;
        }
        expect(open.has(key), `${key} is not open`).toBe(true);
        if (how === 'END' || how === 'FINISHED') open.delete(key);
      });
      expect([...open]).toEqual([]);
    }),
  );
});

// ------------------------------------------------------------------------------------------------------------- cursors

interface Frame {
  readonly id: string;
  readonly event: AgUiEvent;
}

/** What a viewer reads of a log after an event: adjacent text is merged where the bits say so, under the last piece's id. */
function read(log: readonly LlmEvent[], after: number, merges: readonly boolean[]): LoggedEvent[] {
  const events: { offset: number; event: LlmEvent }[] = [];
  for (let offset = after + 1; offset < log.length; offset += 1) {
    const event = log[offset]!;
    const last = events.at(-1);
    const mergeable = last && 'text' in event && 'text' in last.event && event.type === last.event.type;
    if (mergeable && event.index === (last.event as typeof event).index && merges[offset % merges.length]) {
      last.event = { ...event, text: (last.event as typeof event).text + event.text };
      last.offset = offset;
    } else events.push({ offset, event });
  }
  return events.map(({ offset, event }) => {
    const terminal = event.type === 'done' || event.type === 'error' || event.type === 'cancelled';
    return new LoggedEvent(`${generationId}:${offset}`, terminal, event, undefined);
  });
}

/** What a client is sent that comes with this cursor. */
function sent(log: readonly LlmEvent[], merges: readonly boolean[], lastEventId?: string): Frame[] {
  const cursor = lastEventId === undefined ? undefined : parseCursor(lastEventId);
  const after = cursor?.id ? Number(cursor.id.split(':')[1]) : -1;
  const frames = new AgUiFrames(ids, cursor).framesOf(read(log, after, merges));
  return [...frames.matchAll(/^id: (.*)\ndata: (.*)\n\n/gm)].map(([, id, data]) => ({
    id: id!,
    event: JSON.parse(data!),
  }));
}

/** Pieces of one text, joined: where a text is cut means nothing. */
function joined(events: readonly AgUiEvent[]): object[] {
  const all: { delta?: string; type: string }[] = [];
  for (const event of events) {
    const { delta, ...others } = event as { delta?: string; type: string };
    const last = all.at(-1);
    const { delta: before, ...same } = last ?? { type: '' };
    if (delta !== undefined && before !== undefined && JSON.stringify(same) === JSON.stringify(others)) {
      last!.delta = before + delta;
    } else all.push({ ...event });
  }
  return all;
}

const merges = fc.array(fc.boolean(), { minLength: 1, maxLength: 7 });

it('wherever a stream is cut, and however texts are merged then, the client has the same events in the end, each once', () => {
  fc.assert(
    fc.property(answer, fc.tuple(merges, merges, merges), fc.nat(), fc.nat(), (log, merged, first, second) => {
      const whole = sent(log, merged[0]);
      const seen = whole.slice(0, first % whole.length);
      const more = sent(log, merged[1], seen.at(-1)?.id);
      seen.push(...more.slice(0, second % more.length));
      seen.push(...sent(log, merged[2], seen.at(-1)?.id));

      expect(joined(seen.map(({ event }) => event))).toEqual(joined([...toAgUiEvents(log, ids)]));
      // TanStack's adapter drops an event under an id that it has seen.
      expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length);
      // A header takes no more than ASCII.
      for (const { id } of seen) expect(id).toMatch(/^[\w:.~-]+$/);
    }),
    { numRuns: 500 },
  );
});

it('a client that lost the connection right behind the last event is sent that event again, under another id', () => {
  const log = [start, text('Hello'), done()];
  const last = sent(log, [false]).at(-1)!;
  const [again, ...others] = sent(log, [false], last.id);
  expect(again!.event).toEqual(last.event);
  expect(others).toEqual([]);
  expect(again!.id).not.toBe(last.id);
  const [third] = sent(log, [false], again!.id);
  expect(third!.id).not.toBe(again!.id);
});

it.each([
  ['an id of ours', `${generationId}:3`],
  ['a state that is no JSON', `${generationId}:3~0~AAAA`],
  ['a state with other fields', `${generationId}:3~0~${Buffer.from('{"admin":true}').toString('base64url')}`],
  ['a count below zero', `${generationId}:3~-1~e30`],
  ['more than a stream has', `${generationId}:3~0~${'A'.repeat(5_000)}`],
])('%s is refused as a cursor', (_, cursor) => {
  expect(() => parseCursor(cursor)).toThrow('Last-Event-ID: expected the id of an event of this stream');
});

it('a cursor stays short, however many calls are open', () => {
  const calls = Array.from({ length: 50 }, (_, index) => toolStart(`call-${index}-${'x'.repeat(80)}`, index));
  for (const { id } of sent([start, ...calls, done()], [false])) expect(id.length).toBeLessThan(2_000);
});

// ------------------------------------------------------------------------------------------------------- conversations

const user = (words: unknown) => ({ id: 'u', role: 'user', content: words });
const text1 = (words: string) => ({ type: 'text', text: words });
const toolCall = (id: string, json = '{"kind":"image"}') => ({
  id,
  type: 'function',
  function: { name: 'pick', arguments: json },
});

describe('a conversation of AG-UI as messages:', () => {
  it.each<[string, readonly object[], readonly object[]]>([
    ['text', [user('Hi')], [{ role: 'user', content: [text1('Hi')] }]],
    [
      'files',
      [
        user([
          text1('See'),
          { type: 'image', source: { type: 'data', value: 'AAAA', mimeType: 'image/png' } },
          { type: 'document', source: { type: 'url', value: 'https://x/y.pdf' } },
          { type: 'binary', mimeType: 'application/pdf', data: 'BBBB' },
        ]),
      ],
      [
        {
          role: 'user',
          content: [
            text1('See'),
            { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
            { type: 'document', source: { type: 'url', url: 'https://x/y.pdf' } },
            { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'BBBB' } },
          ],
        },
      ],
    ],
    [
      'calls with their results, which precede what the user says then',
      [
        user('Hi'),
        { id: m, role: 'assistant', content: 'Look', toolCalls: [toolCall('a'), toolCall('b')] },
        { id: 'r', role: 'tool', toolCallId: 'b', content: 'no', metadata: { error: { code: 'failed' } } },
        { id: 's', role: 'tool', toolCallId: 'a', content: '3' },
        user('And?'),
      ],
      [
        { role: 'user', content: [text1('Hi')] },
        {
          role: 'assistant',
          content: [
            text1('Look'),
            { type: 'tool_use', id: 'a', name: 'pick', input: { kind: 'image' } },
            { type: 'tool_use', id: 'b', name: 'pick', input: { kind: 'image' } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'a', content: '3' },
            { type: 'tool_result', tool_use_id: 'b', content: 'no', is_error: true },
            text1('And?'),
          ],
        },
      ],
    ],
    [
      'calls without a result that can be handed back are left out: of an answer that was stopped, of a tool that shows none',
      [
        user('Hi'),
        { id: m, role: 'assistant', toolCalls: [toolCall('a', '{"ki')] },
        { id: `${m}-2`, role: 'assistant', content: 'So', toolCalls: [toolCall('b')] },
        { id: 's', role: 'tool', toolCallId: 'b', content: resultNotShown },
        user('And?'),
      ],
      [
        { role: 'user', content: [text1('Hi')] },
        { role: 'assistant', content: [text1('So')] },
        { role: 'user', content: [text1('And?')] },
      ],
    ],
    [
      'thinking with a signature, of the message that it precedes',
      [
        user('Hi'),
        { id: `${m}-reasoning-0`, role: 'reasoning', content: 'Hm', encryptedValue: 's' },
        { id: m, role: 'assistant', content: 'Yes' },
        user('Sure?'),
        { id: 'of-nobody', role: 'reasoning', content: 'Hm', encryptedValue: 't' },
        { id: 'x', role: 'assistant', content: 'Yes', encryptedValue: 'hidden' },
      ],
      [
        { role: 'user', content: [text1('Hi')] },
        { role: 'assistant', content: [{ type: 'thinking', thinking: 'Hm', signature: 's' }, text1('Yes')] },
        { role: 'user', content: [text1('Sure?')] },
        { role: 'assistant', content: [{ type: 'thinking', thinking: '', signature: 'hidden' }, text1('Yes')] },
      ],
    ],
    [
      'input that is no object is wrapped, as upstream wants it',
      [
        user('Hi'),
        { id: m, role: 'assistant', toolCalls: [toolCall('a', '{"ki')] },
        { id: 's', role: 'tool', toolCallId: 'a', content: 'bad input' },
      ],
      [
        { role: 'user', content: [text1('Hi')] },
        {
          role: 'assistant',
          content: [{ type: 'tool_use', id: 'a', name: 'pick', input: { INVALID_JSON: '{"ki' } }],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a', content: 'bad input' }] },
      ],
    ],
    [
      'instructions: those from before the first question follow it, since upstream wants a question first',
      [
        { id: 's', role: 'system', content: 'Be brief.' },
        user('Hi'),
        { id: 'd', role: 'developer', content: 'Be kind.' },
        { id: 'x', role: 'activity', activityType: 'plan', content: { step: 1 } },
        { id: 'y', role: 'assistant', content: '' },
      ],
      [
        { role: 'user', content: [text1('Hi')] },
        { role: 'system', content: [text1('Be brief.'), text1('Be kind.')] },
      ],
    ],
  ])('%s', (_, messages, expected) => {
    expect(readConversation(messages as never)).toEqual({ messages: expected, issues: [] });
  });

  it('context stands before the last question, and behind results', () => {
    const context = [{ description: 'page', value: 'cart' }];
    expect(readConversation([user('Hi')], context).messages).toEqual([
      { role: 'user', content: [text1('Context:\npage: cart'), text1('Hi')] },
    ]);
    const { messages } = readConversation(
      [
        user('Hi'),
        { id: m, role: 'assistant', toolCalls: [toolCall('a')] },
        { id: 's', role: 'tool', toolCallId: 'a', content: '3' },
      ],
      context,
    );
    expect(messages.at(-1)!.content).toEqual([
      { type: 'tool_result', tool_use_id: 'a', content: '3' },
      text1('Context:\npage: cart'),
    ]);
  });

  it('what the Messages API has no form for is named, with its place', () => {
    const odd = [
      user([{ type: 'audio', source: { type: 'data', value: 'AAAA', mimeType: 'audio/mp3' } }]),
      { id: 'x', role: 'narrator', content: 'Once' },
    ];
    expect(readConversation(odd).issues).toEqual([
      { path: 'messages[0].content[0]', message: 'the Messages API takes no audio audio/mp3 here' },
      { path: 'messages[1].role', message: 'unknown: "narrator"' },
    ]);
  });
});

it('a run is the generation of its own id, or of an id that is made of thread and run', async () => {
  expect(await generationIdOf('t', generationId.toUpperCase())).toBe(generationId);
  const made = await generationIdOf('t', 'run-1-abc');
  expect(made).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(await generationIdOf('t', 'run-1-abc')).toBe(made);
  expect(await generationIdOf('u', 'run-1-abc')).not.toBe(made);
  expect(await generationIdOf('t', 'run-1-abd')).not.toBe(made);
});
