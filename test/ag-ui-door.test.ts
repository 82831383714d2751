/** The door for clients of AG-UI, as plain HTTP: runs are started once, resumed and joined, and refused with a name. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { clientTool } from '../src/tools/tool.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { keyFileForEachTest, sha256 } from './support/key-file.ts';
import { postJson, send, type RawAnswer } from './support/raw-http.ts';
import { plainConfig, serviceForEachTest, startTestService } from './support/service.ts';

finishesCleanly();
const pick = clientTool({ description: 'Picks', input: z.object({ kind: z.string() }), output: z.string() });
const configs = {
  default: plainConfig,
  tutor: { ...plainConfig, system_prompt: 'You teach {{subject}}.' },
  picker: { ...plainConfig, tools: { pick }, client_tools: { wait_ms: 0 } },
};
const test = serviceForEachTest({ configs });

interface Frame {
  readonly id: string;
  readonly event: { readonly type: string; readonly delta?: string; readonly [field: string]: unknown };
}

const door = (config = 'default') => `${test.current.url}/api/llm/ag-ui/${config}`;

/** What a client of AG-UI sends. */
const input = (content: string, more: object = {}) => ({
  threadId: 'thread 1',
  runId: crypto.randomUUID(),
  state: {},
  messages: [{ id: '1', role: 'user', content }],
  tools: [],
  context: [],
  forwardedProps: {},
  ...more,
});

function framesIn({ status, text }: RawAnswer): Frame[] {
  if (status !== 200) throw new Error(`refused: ${status} ${text}`);
  return [...text.matchAll(/^id: (.*)\ndata: (.*)\n\n/gm)].map(([, id, data]) => ({
    id: id!,
    event: JSON.parse(data!),
  }));
}

const words = (frames: readonly Frame[]) => frames.map(({ event }) => event.delta ?? '').join('');
const typesOf = (frames: readonly Frame[]) => frames.map(({ event }) => event.type);
const refusalIn = ({ status, text }: RawAnswer) => ({ status, ...JSON.parse(text).error });

it('a run is a generation: its events in order, data lines with ids, under the ids that the client gave', async () => {
  const run = input('/sim echo Hello', { runId: 'run-1764201600000-k3x9f2' });
  const answer = await postJson(door(), run);
  expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8');
  expect(answer.text).not.toContain('\nevent:');
  const frames = framesIn(answer);
  expect(frames[0]!.event).toEqual({ type: 'RUN_STARTED', threadId: 'thread 1', runId: run.runId });
  expect(frames[1]!.event).toMatchObject({ name: 'llm.start', value: { config: 'default', thread: 'thread 1' } });
  expect(words(frames)).toBe('Hello');
  expect(frames.at(-1)!.event).toMatchObject({
    type: 'RUN_FINISHED',
    threadId: 'thread 1',
    runId: run.runId,
    result: { stopReason: 'end_turn', config: 'default', usage: { estimated: false } },
  });
});

it('the same run is one generation, and one bill, whoever asks for it again', async () => {
  const run = input('/sim echo Hello', { runId: 'run-1' });
  const first = framesIn(await postJson(door(), run));
  const again = framesIn(await postJson(door(), run));
  expect(words(again)).toBe(words(first));
  expect(again.at(-1)).toEqual(first.at(-1));
  expect(test.current.upstream.requestCount).toBe(1);
  // The same id in another thread is another run.
  framesIn(await postJson(door(), { ...run, threadId: 'thread 2' }));
  expect(test.current.upstream.requestCount).toBe(2);
  const other = await postJson(door(), { ...run, messages: [{ id: '1', role: 'user', content: 'other' }] });
  expect(refusalIn(other)).toMatchObject({ status: 409, code: 'conflict' });
});

it('from each event that a client may have seen last, the rest follows, and upstream is asked once', async () => {
  const run = input('/sim thinking');
  const whole = framesIn(await postJson(door(), run));
  for (const [at, { id }] of whole.slice(0, -1).entries()) {
    const rest = framesIn(await postJson(door(), run, { 'last-event-id': id }));
    expect(words([...whole.slice(0, at + 1), ...rest])).toBe(words(whole));
    expect(typesOf(rest).at(-1)).toBe('RUN_FINISHED');
    expect(typesOf(rest)).not.toContain('RUN_STARTED');
  }
  expect(test.current.upstream.requestCount).toBe(1);
});

it('a run is joined by its id alone, whether or not that is a UUID, and its thread tells which run goes on', async () => {
  const { upstream } = test.current;
  upstream.enqueue({ kind: 'manual' });
  const run = input('hi', { runId: 'run-7' });
  const running = postJson(door(), run);
  const request = await upstream.nextRequest();
  await request.text('half ');

  const thread = await send(`${door()}?threadId=thread%201`);
  const { messages, activeRun } = JSON.parse(thread.text) as { messages: unknown; activeRun: { runId: string } };
  expect(messages).toEqual([]);
  const joined = [
    send(`${door()}?offset=-1&runId=${activeRun.runId}`),
    send(`${door()}?offset=-1&runId=${activeRun.runId.toUpperCase()}`),
    send(`${door()}?offset=-1&runId=run-7`),
  ];
  await until(() => test.current.service.core.access.load.viewers === 4);
  await request.text('and half');
  request.finish();
  const whole = framesIn(await running);
  expect(words(whole)).toBe('half and half');
  for (const each of await Promise.all(joined)) {
    const frames = framesIn(each);
    expect(words(frames)).toBe('half and half');
    expect(frames[0]!.event['threadId']).toBe('thread 1');
  }
  const rest = framesIn(await send(`${door()}?runId=run-7`, { headers: { 'last-event-id': whole[2]!.id } }));
  expect(words(rest)).toBe('half and half');
  expect(rest.at(-1)!.event).toMatchObject({ type: 'RUN_FINISHED', threadId: 'thread 1', runId: 'run-7' });

  expect(JSON.parse((await send(`${door()}?threadId=thread%201`)).text)).toEqual({ messages: [], activeRun: null });
  expect(JSON.parse((await send(`${door()}?threadId=nobody`)).text)).toEqual({ messages: [], activeRun: null });
  expect(upstream.requestCount).toBe(1);
});

describe('with a file of keys', () => {
  const file = keyFileForEachTest();
  const as = (key: string) => ({ authorization: `Bearer ${key}` });
  const keyOf = (name: string) => ({ name, sha256: sha256(name) });

  it('a run belongs to its caller', async () => {
    await file.write([keyOf('alice'), keyOf('bob')]);
    await using keyed = await startTestService({ env: { LLM_API_KEYS_FILE: file.path } });
    const url = `${keyed.url}/api/llm/ag-ui/default`;
    const run = input('/sim echo Hello', { runId: 'run-1' });
    expect(refusalIn(await postJson(url, run))).toMatchObject({ status: 401, code: 'unauthorized' });
    expect(words(framesIn(await postJson(url, run, as('alice'))))).toBe('Hello');
    const foreign = await send(`${url}?runId=run-1`, { headers: as('bob') });
    expect(refusalIn(foreign)).toMatchObject({ status: 404, code: 'generation_not_found' });
    expect(words(framesIn(await send(`${url}?runId=run-1`, { headers: as('alice') })))).toBe('Hello');
  });

  it('a stream that has to end before its last event is cut off, since clients would take a proper end for a whole answer', async () => {
    await file.write([keyOf('alice')]);
    await using keyed = await startTestService({ env: { LLM_API_KEYS_FILE: file.path } });
    keyed.upstream.enqueue({ kind: 'manual' });
    const response = await fetch(`${keyed.url}/api/llm/ag-ui/default`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...as('alice') },
      body: JSON.stringify(input('hi')),
    });
    const request = await keyed.upstream.nextRequest();
    await request.text('half ');
    const body = response.text();
    await file.write([]);
    await expect(body).rejects.toThrow('terminated');
    request.finish();
  });
});

describe('refused by name:', () => {
  it.each<[string, object, string, object]>([
    [
      'tools that the config does not have',
      { tools: [{ name: 'pick' }, { name: 'deleteAll', description: '', parameters: {} }] },
      'picker',
      {
        status: 400,
        code: 'invalid_input',
        issues: [
          {
            path: 'tools[1].name',
            message: 'the config "picker" has no tool "deleteAll" for clients; known are: pick',
          },
        ],
      },
    ],
    [
      'tools where there are none',
      { tools: [{ name: 'pick' }] },
      'default',
      { message: 'tools[0].name: the config "default" has no tool "pick" for clients; known are: none' },
    ],
    [
      'an answer to an interrupt',
      { resume: [{ interruptId: 'i', status: 'resolved' }] },
      'default',
      { issues: [{ path: 'resume' }] },
    ],
    [
      'sound',
      {
        messages: [
          {
            id: '1',
            role: 'user',
            content: [{ type: 'audio', source: { type: 'data', value: 'AA', mimeType: 'audio/wav' } }],
          },
        ],
      },
      'default',
      { message: 'messages[0].content[0]: the Messages API takes no audio audio/wav here' },
    ],
    ['a thread without a name', { threadId: '' }, 'default', { issues: [{ path: 'thread' }] }],
    ['a thread with a long name', { threadId: 'x'.repeat(201) }, 'default', { issues: [{ path: 'thread' }] }],
    ['a run without an id', { runId: '' }, 'default', { issues: [{ path: 'runId' }] }],
    ['no messages', { messages: [] }, 'default', { issues: [{ path: 'messages' }] }],
    [
      'a message without a role',
      { messages: [{ id: '1', content: 'hi' }] },
      'default',
      { issues: [{ path: 'messages[0].role' }] },
    ],
    ['a variable that is missing', {}, 'tutor', { issues: [{ path: 'variables.subject' }] }],
    ['a config that is not there', {}, 'nobody', { status: 404, code: 'config_not_found' }],
  ])('%s', async (_, more, config, expected) => {
    expect(refusalIn(await postJson(door(config), input('hi', more)))).toMatchObject(expected);
    expect(test.current.upstream.requestCount).toBe(0);
  });

  it.each([
    ['a run that was never started', 'offset=-1&runId=run-1', 404, 'generation_not_found'],
    ['a UUID that is no run', `runId=${crypto.randomUUID()}`, 404, 'generation_not_found'],
    ['neither run nor thread', '', 400, 'invalid_input'],
    ['a run twice', 'runId=a&runId=b', 400, 'invalid_input'],
  ])('%s', async (_, query, status, code) => {
    expect(refusalIn(await send(`${door()}?${query}`))).toMatchObject({ status, code });
  });

  it('a cursor that is none, and one of a run that is not kept', async () => {
    const odd = await postJson(door(), input('hi'), { 'last-event-id': 'x' });
    expect(refusalIn(odd)).toMatchObject({ status: 400, issues: [{ path: 'Last-Event-ID' }] });
    const runId = crypto.randomUUID();
    const gone = await postJson(door(), input('hi', { runId }), { 'last-event-id': `${runId}:3~0~e30` });
    expect(refusalIn(gone)).toMatchObject({ status: 404, code: 'generation_not_found' });
    expect(test.current.upstream.requestCount).toBe(0);
  });

  it('a page of another site', async () => {
    const answer = await postJson(door(), input('hi'), { origin: 'https://evil.example' });
    expect(refusalIn(answer)).toMatchObject({ status: 403, code: 'forbidden' });
  });
});

it('variables, context and instructions reach the model', async () => {
  const run = input('hi', {
    forwardedProps: { variables: { subject: 'rivers' } },
    context: [{ description: 'page', value: 'cart' }],
    messages: [
      { id: '0', role: 'system', content: 'Be brief.' },
      { id: '1', role: 'user', content: 'hi' },
    ],
  });
  framesIn(await postJson(door('tutor'), run));
  const { body } = await test.current.upstream.nextRequest();
  expect(body.system).toBe('You teach rivers.');
  expect(body.messages).toEqual([
    {
      role: 'user',
      content: [
        { type: 'text', text: 'Context:\npage: cart' },
        { type: 'text', text: 'hi' },
      ],
    },
    { role: 'system', content: [{ type: 'text', text: 'Be brief.' }] },
  ]);
});

it('what the model called is answered by the next run, and nothing that upstream sent is changed', async () => {
  const { upstream } = test.current;
  upstream.enqueue(
    {
      kind: 'blocks',
      blocks: [
        { type: 'thinking', thinking: '', signature: 'signed' },
        { type: 'text', text: 'Pick one.' },
        { type: 'tool_use', id: 'a', name: 'pick', input: { kind: 'image' } },
      ],
    },
    { kind: 'text', text: 'Thanks' },
  );
  const run = input('hi', { tools: [{ name: 'pick', description: '', parameters: {} }] });
  const frames = framesIn(await postJson(door('picker'), run));
  expect(frames.at(-1)!.event).toMatchObject({ type: 'RUN_FINISHED', result: { stopReason: 'tool_use' } });
  const encrypted = frames.find(({ event }) => event.type === 'REASONING_ENCRYPTED_VALUE')!.event;
  const called = frames.find(({ event }) => event.type === 'TOOL_CALL_START')!.event;
  const messages = [
    ...run.messages,
    {
      id: called['parentMessageId'],
      role: 'assistant',
      content: 'Pick one.',
      encryptedValue: encrypted['encryptedValue'],
      toolCalls: [{ id: 'a', type: 'function', function: { name: 'pick', arguments: '{"kind":"image"}' } }],
    },
    { id: '3', role: 'tool', toolCallId: 'a', content: 'cat.png' },
  ];
  expect(words(framesIn(await postJson(door('picker'), { ...input(''), messages })))).toBe('Thanks');
  const first = await upstream.nextRequest();
  const second = await upstream.nextRequest();
  expect(second.continues).toBe(first.id);
  expect(second.changedPrefix).toBeUndefined();
});
