/** AG-UI's own clients: our agent on both dialects, the stock HttpAgent and TanStack's stock adapter on the door. */
import * as ag1 from '@ag-ui/client';
import * as ag0 from 'ag-ui-client-0';
import { ChatClient, fetchServerSentEvents } from '@tanstack/ai-client';
import { Observable } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { createLlmAgent } from '../../src/ag-ui.ts';
import { createLlmClient, LlmClientError, type LlmClient } from '../../src/client.ts';
import { clientTool, tool } from '../../src/tools/tool.ts';
import type { AnyConfigRouter } from '../support/doors.ts';
import { until } from '../support/eventually.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { plainConfig, serviceForEachTest } from '../support/service.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

finishesCleanly();
const pick = clientTool({ description: 'Picks', input: z.object({ kind: z.string() }), output: z.string() });
const weather = tool({
  description: 'Tells the weather',
  input: z.object({ city: z.string() }),
  output: z.object({ degrees: z.number() }),
  stream_input: true,
  execute: () => ({ degrees: 21 }),
});
const configs = {
  default: { ...plainConfig, on_disconnect: 'continue' },
  tutor: { ...plainConfig, system_prompt: 'You teach {{subject}}.' },
  thinks: { ...plainConfig, thinking: { show: true } },
  picker: { ...plainConfig, tools: { pick }, client_tools: { wait_ms: 0 } },
  weather: { ...plainConfig, tools: { weather }, thinking: { show: true } },
};
// Each delta by itself, so that there are many events to cut between.
const test = serviceForEachTest({ configs, simulator: { onePerWrite: true } });

let proxy: TcpProxy;
let llm: LlmClient<AnyConfigRouter>;
const connect = (transport: 'sse' | 'ws' = 'sse') => {
  llm = createLlmClient<AnyConfigRouter>({
    url: proxy.url,
    transport,
    reconnect: { delayMs: 1, delayMsMax: 10 },
    // Whoever was cut once is cut once more.
    onReconnect: () => proxy.cuts === 1 && proxy.cutAfter(3_000),
  });
};
beforeEach(async () => {
  proxy = await startTcpProxy(test.current.url);
  connect();
  // 1.0 warns of each field that it doesn't know, and takes it out.
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  vi.spyOn(console, 'error').mockImplementation(() => {});
});
afterEach(async () => {
  expect(console.warn).not.toHaveBeenCalled();
  vi.restoreAllMocks();
  await llm.close();
  await proxy[Symbol.asyncDispose]();
});

const asks = (content: string) => [{ id: crypto.randomUUID(), role: 'user' as const, content }];
/** Words, in many pieces. */
const long = '/sim tokens 3000';
const words = (agent: { readonly messages: readonly { role: string; content?: unknown }[] }) =>
  agent.messages.filter(({ role }) => role === 'assistant').map(({ content }) => content);

/** The text of an answer, as the service has it. */
async function wholeText(generationId: string): Promise<string> {
  return (await llm.trpc.llm.generation.query({ generationId })).text;
}

describe.each([
  ['1.0', ag1 as unknown as typeof ag1],
  ['0.0.59', ag0 as unknown as typeof ag1],
])('our agent on @ag-ui/client %s', (_, { AbstractAgent }) => {
  const LlmAgent = createLlmAgent({ AbstractAgent, Observable });
  type Options = Partial<ConstructorParameters<typeof AbstractAgent>[0]> & { config?: string };
  const agentWith = ({ config = 'default', ...options }: Options = {}) =>
    new LlmAgent({ llm, config, initialMessages: asks(long), ...options });

  /** Collects what subscribers get. */
  function watch(agent: InstanceType<typeof AbstractAgent>) {
    const events: { type: string; [field: string]: unknown }[] = [];
    agent.subscribe({ onEvent: ({ event }) => void events.push(event as never) });
    return events;
  }

  it.each(['sse', 'ws'] as const)(
    'cuts do not show over %s: the whole text once, one upstream request',
    async (transport) => {
      await llm.close();
      connect(transport);
      const agent = agentWith();
      const runId = crypto.randomUUID();
      proxy.cutAfter(3_000);
      const { result, newMessages } = await agent.runAgent({ runId });
      expect(proxy.cuts).toBe(2);
      expect(words(agent)).toEqual([await wholeText(runId)]);
      expect(newMessages.map(({ id }) => id)).toEqual([runId]);
      expect(result).toMatchObject({ generationId: runId, stopReason: 'end_turn', usage: { estimated: false } });
      expect(test.current.upstream.requestCount).toBe(1);
    },
  );

  it('abortRun stops the answer upstream, and the run ends with its account', async () => {
    test.current.upstream.enqueue({ kind: 'manual' });
    const agent = agentWith();
    const events = watch(agent);
    const running = agent.runAgent();
    const request = await test.current.upstream.nextRequest();
    await request.text('half ');
    await until(() => events.some(({ type }) => type === 'TEXT_MESSAGE_CONTENT'));
    agent.abortRun();
    await running;
    expect(await request.outcome).toBe('client_closed');
    expect(events.slice(-3)).toMatchObject([
      { type: 'TEXT_MESSAGE_END' },
      { type: 'CUSTOM', name: 'llm.account', value: { type: 'cancelled', reason: 'requested', usage: {} } },
      { type: 'RUN_ERROR', code: 'abort' },
    ]);
    expect(words(agent)).toEqual(['half ']);
  });

  it('a run that is stopped before it has begun ends in the same way', async () => {
    test.current.upstream.enqueue({ kind: 'manual' });
    const agent = agentWith();
    const events = watch(agent);
    const running = agent.runAgent();
    await until(() => (agent as unknown as { stops: Set<unknown> }).stops.size === 1);
    agent.abortRun();
    await running;
    expect(events.at(-1)).toMatchObject({ type: 'RUN_ERROR', code: 'abort' });
  });

  it('detachActiveRun leaves, the answer goes on, and connectAgent replays it: the whole text once', async () => {
    test.current.upstream.enqueue({ kind: 'manual' });
    const agent = agentWith();
    const events = watch(agent);
    const runId = crypto.randomUUID();
    const running = agent.runAgent({ runId });
    const request = await test.current.upstream.nextRequest();
    await request.text('half ');
    await until(() => events.some(({ type }) => type === 'TEXT_MESSAGE_CONTENT'));
    await agent.detachActiveRun();
    await running;
    await until(() => test.current.service.core.access.load.viewers === 0);
    const back = agent.connectAgent({ runId });
    await request.text('and half');
    request.finish();
    await back;
    expect(words(agent)).toEqual(['half and half']);
    expect(agent.messages[0]).toMatchObject({ role: 'user', content: long });
    expect(await request.outcome).toBe('completed');
    expect(test.current.upstream.requestCount).toBe(1);
  });

  it('what was thought is not there twice after a replay either', async () => {
    const agent = agentWith({ config: 'thinks', initialMessages: asks('/sim thinking') });
    const runId = crypto.randomUUID();
    await agent.runAgent({ runId });
    const before = structuredClone(agent.messages);
    expect(before.map(({ role }) => role)).toEqual(['user', 'reasoning', 'assistant']);
    await agent.connectAgent({ runId });
    expect(agent.messages).toEqual(before);
  });

  it('after a reload, connectAgent without an id finds the newest run of the thread, and nothing where there is none', async () => {
    const first = agentWith({ threadId: 'chat 1' });
    await first.runAgent();
    const reloaded = agentWith({ threadId: 'chat 1' });
    await reloaded.connectAgent();
    expect(words(reloaded)).toEqual(words(first));
    const fresh = agentWith({ threadId: 'chat 2' });
    const { newMessages } = await fresh.connectAgent();
    expect(newMessages).toEqual([]);
    expect(test.current.upstream.requestCount).toBe(1);
  });

  it('a clone runs by itself, and stopping it does not stop the original', async () => {
    const { upstream } = test.current;
    upstream.enqueue({ kind: 'manual' }, { kind: 'manual' });
    const agent = agentWith();
    const clone = agent.clone() as typeof agent;
    const running = agent.runAgent();
    const request = await upstream.nextRequest();
    const ofClone = clone.runAgent();
    const other = await upstream.nextRequest();
    await Promise.all([request.text('mine'), other.text('its')]);
    await until(() => words(clone)[0] === 'its' && words(agent)[0] === 'mine');
    clone.abortRun();
    await ofClone;
    expect(await other.outcome).toBe('client_closed');
    request.finish();
    await running;
    expect(words(agent)).toEqual(['mine']);
  });

  it('a failure is a RUN_ERROR with its code, behind what was written and the account', async () => {
    const agent = agentWith({ initialMessages: asks('/sim error_mid_stream') });
    const events = watch(agent);
    await agent.runAgent();
    expect(events.slice(-2)).toMatchObject([
      { type: 'CUSTOM', name: 'llm.account', value: { code: 'upstream_error', retryable: true, usage: {} } },
      { type: 'RUN_ERROR', code: 'upstream_error' },
    ]);
  });

  it('a refused request rejects with its code', async () => {
    const failing = agentWith({ config: 'nobody' }).runAgent();
    await expect(failing).rejects.toMatchObject({ name: 'LlmClientError', code: 'config_not_found' });
    const noVariable = agentWith({ config: 'tutor' }).runAgent();
    await expect(noVariable).rejects.toMatchObject({ code: 'invalid_input' });
    const sound = { type: 'audio' as const, source: { type: 'data' as const, value: 'AA', mimeType: 'audio/wav' } };
    const unheard = agentWith({ initialMessages: [{ id: '1', role: 'user', content: [sound] }] as never }).runAgent();
    await expect(unheard).rejects.toMatchObject({
      code: 'invalid_input',
      issues: [{ path: 'messages[0].content[0]' }],
    });
    expect(test.current.upstream.requestCount).toBe(0);
  });

  it('variables go with each request', async () => {
    const agent = new LlmAgent({ llm, config: 'tutor', variables: { subject: 'rivers' }, initialMessages: asks('hi') });
    await agent.runAgent();
    expect((await test.current.upstream.nextRequest()).body.system).toBe('You teach rivers.');
  });

  it('tools that the config does not have are refused by name', async () => {
    const agent = agentWith({ config: 'picker', initialMessages: asks('hi') });
    const tools = [{ name: 'pick' }, { name: 'deleteAll' }].map((each) => ({
      ...each,
      description: '',
      parameters: {},
    }));
    const error = await agent.runAgent({ tools }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LlmClientError);
    expect((error as LlmClientError).message).toBe(
      'tools[1].name: the config "picker" has no tool "deleteAll" for clients; known are: pick',
    );
    await agent.runAgent({ tools: tools.slice(0, 1) });
    expect(test.current.upstream.requestCount).toBe(1);
  });

  it('a conversation with thinking, tools and results is sent back as upstream made it', async () => {
    const { upstream } = test.current;
    upstream.enqueue(
      {
        kind: 'blocks',
        blocks: [
          { type: 'thinking', thinking: 'Which city?', signature: 'signed' },
          { type: 'text', text: 'I look.' },
          { type: 'tool_use', id: 'a', name: 'weather', input: { city: 'Turin' } },
        ],
      },
      { kind: 'text', text: 'It is 21 degrees.' },
      { kind: 'text', text: 'You are welcome.' },
    );
    const agent = agentWith({ config: 'weather', initialMessages: asks('Weather?') });
    await agent.runAgent();
    expect(agent.messages.map(({ role, content }) => [role, content])).toEqual([
      ['user', 'Weather?'],
      ['reasoning', 'Which city?'],
      ['assistant', 'I look.'],
      ['tool', '{"degrees":21}'],
      ['assistant', 'It is 21 degrees.'],
    ]);
    expect(agent.messages[2]).toMatchObject({
      toolCalls: [{ id: 'a', function: { name: 'weather', arguments: '{"city":"Turin"}' } }],
    });
    agent.addMessage({ id: 'next', role: 'user', content: 'Thanks' });
    await agent.runAgent();
    const requests = [await upstream.nextRequest(), await upstream.nextRequest(), await upstream.nextRequest()];
    const [, second, third] = requests.map(({ body }) => body.messages as unknown as object[]);
    // What the service itself sent in the second step, and then the rest.
    expect(third!.slice(1, 3)).toEqual(second!.slice(1, 3));
    expect(third!.slice(3)).toEqual([
      { role: 'assistant', content: [{ type: 'text', text: 'It is 21 degrees.' }] },
      { role: 'user', content: [{ type: 'text', text: 'Thanks' }] },
    ]);
  });

  it('a client tool ends the run, and its result begins the next one', async () => {
    const { upstream } = test.current;
    upstream.enqueue(
      { kind: 'blocks', blocks: [{ type: 'tool_use', id: 'a', name: 'pick', input: { kind: 'image' } }] },
      { kind: 'text', text: 'A cat.' },
    );
    const agent = agentWith({ config: 'picker', initialMessages: asks('What is it?') });
    const events = watch(agent);
    const { result } = await agent.runAgent();
    expect(result).toMatchObject({ stopReason: 'tool_use' });
    expect(events).toContainEqual(expect.objectContaining({ name: 'llm.waiting' }));
    agent.addMessage({ id: 'r', role: 'tool', toolCallId: 'a', content: 'cat.png' });
    await agent.runAgent();
    expect(words(agent).at(-1)).toBe('A cat.');
    const [first, second] = [await upstream.nextRequest(), await upstream.nextRequest()];
    expect(second.continues).toBe(first.id);
    expect(second.changedPrefix).toBeUndefined();
  });

  it('an answer that was stopped in a call does not spoil the next question', async () => {
    const { upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const agent = agentWith({ config: 'weather', initialMessages: asks('Weather?') });
    const events = watch(agent);
    const running = agent.runAgent();
    const request = await upstream.nextRequest();
    request.startBlock({ type: 'tool_use', id: 'a', name: 'weather', input: {} });
    request.delta({ type: 'input_json_delta', partial_json: '{"ci' });
    await until(() => events.some(({ type }) => type === 'TOOL_CALL_START'));
    agent.abortRun();
    await running;
    expect(events.filter(({ type }) => type === 'TOOL_CALL_END')).toHaveLength(1);
    upstream.enqueue({ kind: 'text', text: 'Never mind' });
    agent.addMessage({ id: 'next', role: 'user', content: 'No' });
    await agent.runAgent();
    expect(words(agent).at(-1)).toBe('Never mind');
  });

  it('the stock HttpAgent gets the same from the door', async () => {
    const dialect = AbstractAgent === ag1.AbstractAgent ? ag1 : (ag0 as unknown as typeof ag1);
    const agent = new dialect.HttpAgent({
      url: `${test.current.url}/api/llm/ag-ui/thinks`,
      initialMessages: asks('/sim thinking'),
    });
    const { result } = await agent.runAgent();
    expect(agent.messages.map(({ role }) => role)).toEqual(['user', 'reasoning', 'assistant']);
    expect(result).toMatchObject({ stopReason: 'end_turn', config: 'thinks' });
    agent.addMessage({ id: 'next', role: 'user', content: '/sim echo Hello' });
    await agent.runAgent();
    expect(words(agent).at(-1)).toBe('Hello');
  });
});

describe('TanStack AI with its stock adapter on the door', () => {
  const connection = (fetchClient = fetch) =>
    fetchServerSentEvents(`${proxy.url}/api/llm/ag-ui/default`, { reconnect: { delayMs: 1 }, fetchClient });
  const textOf = (chat: ChatClient) =>
    chat
      .getMessages()
      .filter(({ role }) => role === 'assistant')
      .map(({ parts }) => parts.map((part) => (part.type === 'text' ? part.content : '')).join(''));

  it('resumes two cuts by itself: the whole text once, one upstream request', async () => {
    const cutting: typeof fetch = (url, init) => {
      if (proxy.cuts < 2) proxy.cutAfter(3_000);
      return fetch(url, init);
    };
    const chat = new ChatClient({ connection: connection(cutting), threadId: 'chat' });
    await chat.sendMessage(long);
    expect(proxy.cuts).toBe(2);
    const [generation] = await llm.trpc.llm.generations.query({ thread: 'chat' });
    expect(textOf(chat)).toEqual([await wholeText(generation!.generationId)]);
    expect(chat.getError()).toBeUndefined();
    expect(test.current.upstream.requestCount).toBe(1);
    await chat.sendMessage('/sim echo Hello');
    expect(textOf(chat)[1]).toBe('Hello');
    chat.dispose();
  });

  it('after a reload, finds the run that goes on by its thread, and joins it', async () => {
    const { upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const chat = new ChatClient({ connection: connection(), threadId: 'chat' });
    const sending = chat.sendMessage('hi');
    const request = await upstream.nextRequest();
    await request.text('half ');
    await until(() => textOf(chat)[0] === 'half ');
    chat.dispose();
    await sending;

    const { activeRun } = await connection().hydrate!('chat');
    const joined: string[] = [];
    const reading = (async () => {
      for await (const chunk of connection().joinRun(activeRun!.runId)) {
        if (chunk.type === 'TEXT_MESSAGE_CONTENT') joined.push(chunk.delta);
      }
    })();
    await until(() => joined.length > 0);
    proxy.cut();
    await request.text('and half');
    request.finish();
    await reading;
    expect(joined.join('')).toBe('half and half');
    expect(await connection().hydrate!('chat')).toMatchObject({ messages: [], activeRun: null });
    expect(upstream.requestCount).toBe(1);
  });
});
