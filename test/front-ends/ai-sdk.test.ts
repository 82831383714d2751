/** The chat of the AI SDK, lines 6 and 7, over our transport and its own. */
import { describe, expect, it } from 'vitest';
import type { UIMessage } from 'ai';
import { z } from 'zod';
import { createChatTransport, toMessages, type LlmMetadata } from '../../src/ai-sdk.ts';
import { createLlmClient, type LlmClientOptions } from '../../src/client.ts';
import { clientTool, tool } from '../../src/tools/tool.ts';
import type { Reply, ScriptedBlock } from '../../src/simulator.ts';
import type { AnyConfigRouter } from '../support/doors.ts';
import { eventually } from '../support/eventually.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { plainConfig, serviceForEachTest } from '../support/service.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { bySteps, call, city, message, text, withTools } from '../support/tool-scripts.ts';
import { lines, partsOf, textOf, type PlainChat } from './chat.ts';

finishesCleanly();

const pick = clientTool({ description: 'Picks', input: city, output: z.string() });
const weather = tool({
  description: 'Knows the weather',
  input: city,
  output: z.object({ celsius: z.number() }),
  execute: ({ city: name }) => ({ celsius: name.length }),
});
const remove = tool({
  description: 'Removes',
  input: city,
  output: z.string(),
  approval: true,
  execute: ({ city: name }) => `removed ${name}`,
});
const configs = {
  default: plainConfig,
  leaves: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } },
  goes_on: { ...plainConfig, on_disconnect: 'continue' },
  tutor: { ...plainConfig, system_prompt: 'You teach {{subject}}.' },
  thinks: { ...plainConfig, thinking: { type: 'adaptive', show: true } },
  tools: withTools({ pick, weather, remove }, { on_disconnect: { cancel_after_ms: 1 } }),
  at_once: withTools({ pick }, { client_tools: { wait_ms: 0 } }),
  object: { ...plainConfig, output: z.object({ answer: z.number() }) },
};
const test = serviceForEachTest({ configs });
const transports = ['sse', 'ws'] as const;

function connect(options: Partial<LlmClientOptions> = {}) {
  return createLlmClient<AnyConfigRouter>({
    url: test.current.url,
    transport: 'sse',
    reconnect: { delayMs: 1, delayMsMax: 10 },
    ...options,
  });
}

/** A script of one answer, and then of texts. */
function answering(...replies: readonly Reply[]): void {
  test.current.upstream.enqueue(...replies);
}

const metadataOf = (chat: PlainChat) => chat.messages.at(-1)?.metadata as LlmMetadata;

describe.each(lines)('line $name', ({ ai, chat: chatOf }) => {
  const sendAutomaticallyWhen = ({ messages }: { messages: UIMessage[] }) =>
    ai.lastAssistantMessageIsCompleteWithToolCalls({ messages }) ||
    ai.lastAssistantMessageIsCompleteWithApprovalResponses({ messages });

  it.each(transports)(
    'over %s, two cuts and a reload in mid-answer lose no letter, double none, and cost once',
    async (transport) => {
      const { url, upstream } = test.current;
      await using proxy = await startTcpProxy(url);
      await using llm = connect({ url: proxy.url, transport });
      upstream.enqueue({ kind: 'manual' });
      const first = chatOf({ id: 'chat', transport: createChatTransport(llm, { config: 'goes_on' }) });
      const sent = first.sendMessage({ text: 'hi' });
      const request = await upstream.nextRequest();
      let whole = '';
      const say = async (chat: PlainChat, piece: string) => {
        whole += piece;
        await request.text(piece);
        await chat.until((each) => textOf(each) === whole);
      };
      await say(first, 'one ');
      proxy.cut();
      await say(first, 'two ');
      proxy.cut();
      await say(first, 'three ');
      // What a reload leaves: the messages that the app kept, and a new transport.
      const kept = structuredClone(first.messages.slice(0, 1));
      await first.stop();
      await sent;

      await using other = connect({ transport });
      const second = chatOf({
        id: 'chat',
        messages: kept,
        transport: createChatTransport(other, { config: 'goes_on' }),
      });
      const resumed = second.resumeStream();
      await say(second, 'four');
      request.finish();
      await resumed;
      expect(textOf(second)).toBe('one two three four');
      expect(second.messages).toHaveLength(2);
      expect(second.messages[1]).toMatchObject({ id: metadataOf(second).generationId, metadata: { state: 'done' } });
      expect(partsOf(second)).toMatchObject([{ type: 'text', state: 'done' }]);
      await second.resumeStream();
      expect([second.status, second.messages.length], 'there is nothing to resume then').toEqual(['ready', 2]);
      expect(upstream.requestCount).toBe(1);
    },
  );

  it.each(transports)(
    'over %s, stop closes upstream and ends the message, with what it has cost',
    async (transport) => {
      const { upstream } = test.current;
      await using llm = connect({ transport });
      const own = createChatTransport(llm, { config: 'default' });
      let automatic = 0;
      const chat = chatOf({ id: 'chat', transport: own, sendAutomaticallyWhen: () => (automatic += 1) > 100 });
      upstream.enqueue({ kind: 'manual' });
      const sent = chat.sendMessage({ text: 'hi' });
      const request = await upstream.nextRequest();
      await request.text('half of it');
      await chat.until((each) => textOf(each) === 'half of it');
      expect(await own.stop('chat')).toBe('cancelled');
      expect(await request.outcome).toBe('client_closed');
      await sent;
      expect(chat.status).toBe('ready');
      expect(partsOf(chat)).toMatchObject([{ type: 'text', text: 'half of it', state: 'done' }]);
      expect(metadataOf(chat)).toMatchObject({
        state: 'cancelled',
        usage: { estimated: true },
        costUsd: expect.any(Number),
      });
      expect(chat.finishes).toEqual([
        { finishReason: 'interrupted', isAbort: false, isDisconnect: false, isError: false },
      ]);
      if (ai === lines[1]!.ai) expect(automatic, 'nothing goes on with an answer that was stopped').toBe(0);
      expect(await own.stop('chat')).toBe('already_ended');
      await expect(own.stop('another chat')).rejects.toMatchObject({ code: 'generation_not_found' });
    },
  );

  it('what unmounts leaves: the config decides, unless an abort is to cancel', async () => {
    const { upstream } = test.current;
    await using llm = connect();
    for (const [config, onAbort, outcome] of [
      ['goes_on', undefined, 'completed'],
      ['goes_on', 'cancel', 'client_closed'],
      ['leaves', 'leave', 'client_closed'],
    ] as const) {
      upstream.enqueue({ kind: 'manual' });
      const chat = chatOf({ id: crypto.randomUUID(), transport: createChatTransport(llm, { config, onAbort }) });
      const sent = chat.sendMessage({ text: 'hi' });
      const request = await upstream.nextRequest();
      await request.text('half');
      await chat.until((each) => textOf(each) === 'half');
      await chat.stop();
      await sent;
      expect(chat.status).toBe('ready');
      if (outcome === 'completed') {
        await request.text('whole');
        request.finish();
      }
      expect(await request.outcome).toBe(outcome);
    }
  });

  it('an error has its code, and the message has what it has cost', async () => {
    await using llm = connect();
    const chat = chatOf({ id: 'chat', transport: createChatTransport(llm, { config: 'default' }) });
    answering({ kind: 'fault', fault: 'overloaded_mid_stream' });
    await chat.sendMessage({ text: 'hi' });
    expect(chat.status).toBe('error');
    expect(chat.error).toMatchObject({ name: 'LlmClientError', code: 'upstream_overloaded', retryable: true });
    expect(partsOf(chat)).toMatchObject([{ type: 'text', state: 'done' }]);
    expect(metadataOf(chat)).toMatchObject({
      state: 'error',
      usage: { estimated: true },
      error: { code: 'upstream_overloaded' },
    });
  });

  it('a refusal has its code and its issues, and nothing is asked of upstream', async () => {
    await using llm = connect();
    const refusalOf = async (config: string, body: object = {}) => {
      const chat = chatOf({ id: 'chat', transport: createChatTransport(llm, { config }) });
      await chat.sendMessage({ text: 'hi' }, { body });
      return chat.error;
    };
    expect(await refusalOf('none')).toMatchObject({ code: 'config_not_found', retryable: false });
    expect(await refusalOf('tutor')).toMatchObject({ code: 'invalid_input', issues: [{ path: 'variables.subject' }] });
    expect(await refusalOf('default', { tools: { hammer: {} } })).toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining('hammer') as string,
    });
    const files = chatOf({ id: 'chat', transport: createChatTransport(llm, { config: 'default' }) });
    await files.sendMessage({ files: [{ type: 'file', mediaType: 'audio/mpeg', url: 'data:audio/mpeg;base64,AAAA' }] });
    expect(files.error).toMatchObject({ code: 'invalid_input', issues: [{ path: 'messages[0].parts[0]' }] });
    expect(test.current.upstream.requestCount).toBe(0);
  });

  it('a service out of reach is a lost connection, after which the chat resumes by itself', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    await using llm = connect({ url: proxy.url, reconnect: { delayMs: 1, delayMsMax: 1, attemptsMax: 2 } });
    const chat = chatOf({ id: 'chat', transport: createChatTransport(llm, { config: 'goes_on' }) });
    upstream.enqueue({ kind: 'manual' });
    const sent = chat.sendMessage({ text: 'hi' });
    const request = await upstream.nextRequest();
    await request.text('half ');
    await chat.until((each) => textOf(each) === 'half ');
    proxy.retarget('http://127.0.0.1:1');
    proxy.cut();
    await sent;
    expect(chat.error).toBeInstanceOf(TypeError);
    expect(chat.error).toMatchObject({ code: 'unreachable', retryable: true });
    expect(chat.finishes).toMatchObject([{ isDisconnect: true }]);
    // The answer ends meanwhile. The transport knows that it has not shown the end.
    await request.text('whole');
    request.finish();
    await request.outcome;
    proxy.retarget(url);
    await chat['~resumeStreamIfDisconnected']();
    expect([textOf(chat), chat.status, chat.messages.length]).toEqual(['half whole', 'ready', 2]);
  });

  it('thinking, tools of upstream, citations and blocks of no known kind come, and go back as they were', async () => {
    await using llm = connect();
    const chat = chatOf({ id: 'chat', transport: createChatTransport(llm, { config: 'thinks' }) });
    const citation = {
      type: 'web_search_result_location',
      url: 'https://a.test/',
      title: 'A',
      cited_text: 'x',
      encrypted_index: 'e',
    };
    const results = [{ type: 'web_search_result', url: 'https://a.test/', title: 'A', encrypted_content: 'c' }];
    const blocks: ScriptedBlock[] = [
      { type: 'thinking', thinking: 'Hm. ', signature: 'sig' },
      { type: 'redacted_thinking', data: 'abc' },
      { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: { query: 'q' } },
      { type: 'web_search_tool_result', tool_use_id: 'srvtoolu_1', content: results },
      { type: 'novelty', value: { deep: [1] } },
      { type: 'text', text: 'It is so.', citations: [citation] },
    ];
    answering(message(...blocks));
    await chat.sendMessage({ text: 'hi' });
    expect(chat.error).toBeUndefined();
    expect(partsOf(chat)).toMatchObject([
      { type: 'reasoning', text: 'Hm. ', state: 'done', providerMetadata: { anthropic: { signature: 'sig' } } },
      { type: 'reasoning', text: '', providerMetadata: { anthropic: { redactedData: 'abc' } } },
      {
        type: 'dynamic-tool',
        toolName: 'web_search',
        providerExecuted: true,
        state: 'output-available',
        output: results,
      },
      { type: 'data-block', data: { type: 'novelty', value: { deep: [1] } } },
      { type: 'text', text: 'It is so.', state: 'done' },
      { type: 'source-url', url: 'https://a.test/', title: 'A' },
    ]);
    expect(toMessages(JSON.parse(JSON.stringify(chat.messages)) as UIMessage[])).toEqual([
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: blocks },
    ]);
  });

  it('a second turn with thinking and tools is what upstream takes, and begins as the first one ended', async () => {
    const { upstream } = test.current;
    await using llm = connect();
    const chat = chatOf({ id: 'chat', transport: createChatTransport(llm, { config: 'tools' }) });
    const thought = { type: 'thinking', thinking: 'Hm. ', signature: 'sig' };
    const answers = bySteps(
      () => message(thought, text('Let me look. '), call('toolu_1', 'weather', { city: 'Oslo' })),
      () => message(text('It is 4.')),
      () => message(text('Bye.')),
    );
    upstream.respondWith(answers);
    await chat.sendMessage({ text: 'How warm is Oslo?' });
    expect(partsOf(chat)).toMatchObject([
      { type: 'reasoning' },
      { type: 'text', text: 'Let me look. ' },
      { type: 'tool-weather', state: 'output-available', providerExecuted: true, output: { celsius: 4 } },
      { type: 'text', text: 'It is 4.' },
    ]);
    expect(sendAutomaticallyWhen({ messages: chat.messages }), 'a tool of the service asks nothing of the client').toBe(
      false,
    );
    await chat.sendMessage({ text: 'Thanks' });
    expect([chat.error, textOf(chat)]).toEqual([undefined, 'Bye.']);
    const last = upstream.requests.at(-1)!;
    expect(last.body.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant', 'user']);
    expect(last.changedPrefix).toBeUndefined();
  });

  it.each(transports)(
    'over %s, calls that wait for the client go on in one generation, on one bill',
    async (transport) => {
      const { upstream } = test.current;
      await using llm = connect({ transport });
      const chat = chatOf({
        id: 'chat',
        transport: createChatTransport(llm, { config: 'tools' }),
        sendAutomaticallyWhen,
      });
      upstream.respondWith(
        bySteps(
          () =>
            message(text('Let me. '), call('toolu_p', 'pick', { city: 'A' }), call('toolu_r', 'remove', { city: 'B' })),
          () => message(call('toolu_s', 'remove', { city: 'C' })),
          () => message(text('Done.')),
        ),
      );
      await chat.sendMessage({ text: 'hi' });
      expect(chat.finishes.at(-1)).toMatchObject({ finishReason: 'tool-calls', isError: false });
      expect(partsOf(chat)).toMatchObject([
        { type: 'text', state: 'done' },
        { type: 'tool-pick', state: 'input-available', input: { city: 'A' } },
        { type: 'tool-remove', state: 'approval-requested' },
      ]);
      const { generationId } = metadataOf(chat);
      await chat.addToolOutput({ tool: 'pick', toolCallId: 'toolu_p', output: 'a.txt' } as never);
      expect(sendAutomaticallyWhen(chat), 'nothing is sent while somebody thinks of an approval').toBe(false);
      await chat.addToolApprovalResponse({ id: 'toolu_r', approved: true });
      const state = (each: PlainChat, id: string) =>
        partsOf(each).map((part) => ('toolCallId' in part && part.toolCallId === id ? part.state : undefined));
      await chat.until((each) => each.status === 'ready' && state(each, 'toolu_s').includes('approval-requested'));
      await chat.addToolApprovalResponse({ id: 'toolu_s', approved: false, reason: 'not that one' });
      await chat.until((each) => each.status === 'ready' && metadataOf(each).state !== 'running');
      expect([chat.error, chat.messages.length]).toEqual([undefined, 2]);
      expect(partsOf(chat)).toMatchObject([
        { type: 'text', text: 'Let me. ' },
        { type: 'tool-pick', state: 'output-available', output: 'a.txt' },
        { type: 'tool-remove', state: 'output-available', output: 'removed B', providerExecuted: true },
        { type: 'tool-remove', state: 'output-denied', approval: { approved: false } },
        { type: 'text', text: 'Done.' },
      ]);
      expect(metadataOf(chat)).toMatchObject({ generationId, state: 'done' });
      expect(await llm.trpc.llm.generations.query()).toHaveLength(1);
      expect(upstream.requestCount).toBe(3);
    },
  );

  it('results that come after the wait begin a new generation, whose parts join the message', async () => {
    const { upstream } = test.current;
    await using llm = connect();
    const chat = chatOf({
      id: 'chat',
      transport: createChatTransport(llm, { config: 'at_once' }),
      sendAutomaticallyWhen,
    });
    upstream.respondWith(
      bySteps(
        () => message(call('toolu_p', 'pick', { city: 'A' })),
        () => message(text('Done.')),
      ),
    );
    await chat.sendMessage({ text: 'hi' });
    expect(metadataOf(chat)).toMatchObject({ state: 'done', stopReason: 'tool_use', usage: { estimated: false } });
    await chat.addToolOutput({ tool: 'pick', toolCallId: 'toolu_p', output: 'a.txt' } as never);
    await chat.until((each) => each.status === 'ready' && each.finishes.length === 2);
    expect([chat.error, chat.messages.length, textOf(chat)]).toEqual([undefined, 2, 'Done.']);
    expect(await llm.trpc.llm.generations.query({ thread: 'chat' })).toHaveLength(2);
    expect(upstream.requests[1]!.body.messages.at(-1)!.content).toMatchObject([
      { type: 'tool_result', tool_use_id: 'toolu_p', content: 'a.txt' },
    ]);
  });

  it('an object is a part, and the metadata says that it is valid', async () => {
    await using llm = connect();
    const chat = chatOf({ id: 'chat', transport: createChatTransport(llm, { config: 'object' }) });
    answering({ kind: 'text', text: '{"answer": 42}' });
    await chat.sendMessage({ text: 'hi' });
    expect(partsOf(chat)).toMatchObject([{ type: 'text' }, { type: 'data-object', data: { answer: 42 } }]);
    expect(metadataOf(chat)).toMatchObject({ object: 'valid' });
  });

  it('regenerating asks anew, under a new id', async () => {
    const { upstream } = test.current;
    await using llm = connect();
    const chat = chatOf({ id: 'chat', transport: createChatTransport(llm, { config: 'default' }) });
    answering({ kind: 'text', text: 'first' }, { kind: 'text', text: 'second' });
    await chat.sendMessage({ text: 'hi' });
    const { generationId } = metadataOf(chat);
    await chat.regenerate();
    expect([textOf(chat), chat.messages.length]).toEqual(['second', 2]);
    expect(metadataOf(chat).generationId).not.toBe(generationId);
    expect(upstream.requests[1]!.body.messages).toEqual(upstream.requests[0]!.body.messages);
  });

  describe('its own transport at our door', () => {
    const stock = (id: string, more: Partial<Parameters<typeof chatOf>[0]> = {}, config = 'goes_on') => {
      const api = `${test.current.url}/api/llm/ui/${config}`;
      return chatOf({ id, transport: new ai.DefaultChatTransport({ api }), ...more });
    };

    it('streams, resumes after a reload, and is stopped by a route', async () => {
      const { url, upstream } = test.current;
      upstream.enqueue({ kind: 'manual' });
      const first = stock('chat');
      const sent = first.sendMessage({ text: 'hi' });
      const request = await upstream.nextRequest();
      await request.text('one ');
      await first.until((each) => textOf(each) === 'one ');
      await first.stop();
      await sent;
      const second = stock('chat', { messages: first.messages.slice(0, 1) });
      const resumed = second.resumeStream();
      await request.text('two');
      await second.until((each) => textOf(each) === 'one two');
      await fetch(`${url}/api/llm/ui/goes_on/chat/stop`, { method: 'POST' });
      await resumed;
      expect(await request.outcome).toBe('client_closed');
      expect([second.error, second.status, textOf(second)]).toEqual([undefined, 'ready', 'one two']);
      expect(metadataOf(second)).toMatchObject({ state: 'cancelled', usage: { estimated: true } });
      await second.resumeStream();
      expect(second.messages).toHaveLength(2);
      expect(upstream.requestCount).toBe(1);
    });

    it('a cut is an error that the chat resumes from, and no good answer', async () => {
      const { url, upstream } = test.current;
      await using proxy = await startTcpProxy(url);
      const transport = new ai.DefaultChatTransport({ api: `${proxy.url}/api/llm/ui/goes_on` });
      const chat = chatOf({ id: 'chat', transport });
      upstream.enqueue({ kind: 'manual' });
      const sent = chat.sendMessage({ text: 'hi' });
      const request = await upstream.nextRequest();
      await request.text('one ');
      await chat.until((each) => textOf(each) === 'one ');
      proxy.cut();
      await sent;
      expect(chat.status).toBe('error');
      const resumed = chat.resumeStream();
      await request.text('two');
      await chat.until((each) => textOf(each) === 'one two');
      request.finish();
      await resumed;
      expect([chat.status, textOf(chat), chat.messages.length]).toEqual(['ready', 'one two', 2]);
    });

    it('goes on with answers to calls that wait, and gives the account of an error', async () => {
      const { upstream } = test.current;
      upstream.respondWith(
        bySteps(
          () => message(call('toolu_p', 'pick', { city: 'A' })),
          () => message(text('Done.')),
        ),
      );
      const chat = stock('chat', { sendAutomaticallyWhen }, 'tools');
      await chat.sendMessage({ text: 'hi' });
      await chat.addToolOutput({ tool: 'pick', toolCallId: 'toolu_p', output: 'a.txt' } as never);
      await chat.until((each) => each.status === 'ready' && each.finishes.length === 2);
      expect([chat.error, textOf(chat), chat.messages.length]).toEqual([undefined, 'Done.', 2]);
      expect(upstream.requestCount).toBe(2);

      upstream.respondWith({ kind: 'fault', fault: 'error_mid_stream' });
      const failing = stock('another', {}, 'default');
      await failing.sendMessage({ text: 'hi' });
      expect(failing.error?.message).not.toBe('');
      expect(metadataOf(failing)).toMatchObject({ state: 'error', error: { code: 'upstream_error' } });
      await eventually(() => expect(test.current.service.core.generations.running).toBe(0));
    });
  });
});
