/** Anthropic's own client, and the AI SDK's provider for it, on the service. */
import { createAnthropic } from '@ai-sdk/anthropic';
import Anthropic from '@anthropic-ai/sdk';
import { generateText, jsonSchema, Output, streamText, tool } from 'ai-6';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { tool as serviceTool } from '../../src/tools/tool.ts';
import { eventually } from '../support/eventually.ts';
import { plainConfig, startTestService, type TestService } from '../support/service.ts';
import { bySteps, call, message, resultsIn, text } from '../support/tool-scripts.ts';
import { sha256 } from '../support/key-file.ts';

const search = serviceTool({
  description: 'Searches.',
  input: z.object({ q: z.string() }),
  output: z.object({ hits: z.number() }),
  execute: () => ({ hits: 2 }),
});
const show = { description: 'Shows.', input: z.object({ at: z.number() }), output: z.string() };
const configs = {
  default: plainConfig,
  tutor: { ...plainConfig, system_prompt: 'You teach {{subject}}.' },
  thinker: { ...plainConfig, thinking: { show: true } },
  tools: { ...plainConfig, tools: { search, show } },
  object: { ...plainConfig, output: z.object({ city: z.string() }) },
};

let service: TestService;
let client: Anthropic;
let provider: ReturnType<typeof createAnthropic>;

beforeAll(async () => {
  service = await startTestService({
    env: { LLM_OPENAI_DOOR: '1', LLM_API_KEYS: `alice:${sha256('her-key')}` },
    configs,
  });
  client = new Anthropic({ baseURL: service.url, apiKey: 'her-key', maxRetries: 0 });
  provider = createAnthropic({ baseURL: `${service.url}/v1`, apiKey: 'her-key' });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  for (const [what, left] of Object.entries(service.leftovers())) expect(left, `${what} left over`).toBe(0);
});
/** Requests to upstream before the test. */
let before = 0;
/** How many of them tests have looked at. */
let taken = 0;
const nextRequest = () => {
  taken += 1;
  return service.upstream.nextRequest();
};
beforeEach(async () => {
  while (taken < service.upstream.requestCount) await nextRequest();
  before = service.upstream.requestCount;
  service.upstream.respondWith(undefined);
});
const calls = () => service.upstream.requestCount - before;

const hi = [{ role: 'user' as const, content: 'hi' }];
const asked = { model: 'default', max_tokens: 1_024, messages: hi };

describe('Anthropic’s client', () => {
  it('streams a text, and takes it whole, with its usage', async () => {
    service.upstream.respondWith({ kind: 'text', text: 'Hello, wörld 🌍.' });
    const streamed = await client.messages.stream(asked).finalMessage();
    const whole = await client.messages.create(asked);
    for (const each of [streamed, whole]) {
      expect(each).toMatchObject({
        model: 'default',
        stop_reason: 'end_turn',
        content: [{ type: 'text', text: 'Hello, wörld 🌍.' }],
        llm: { model: plainConfig.model },
      });
      expect(each.usage.output_tokens).toBeGreaterThan(0);
      expect(each.usage.input_tokens).toBeGreaterThan(0);
    }
  });

  it('gets no longer answer than its max_tokens, and no longer one than the config’s', async () => {
    service.upstream.respondWith({ kind: 'text', text: 'a' });
    await client.messages.create({ ...asked, max_tokens: 77 });
    expect(service.upstream.requests.at(-1)!.body.max_tokens).toBe(77);
    await client.messages.create({ ...asked, max_tokens: 200_000 }, { timeout: 60_000 });
    expect(service.upstream.requests.at(-1)!.body.max_tokens).toBe(plainConfig.max_tokens);
  });

  it('gets thinking with its signature, citations, server tools and blocks of kinds not known', async () => {
    const signature = 'c2lnbmVk';
    const citation = {
      type: 'web_search_result_location',
      url: 'https://x.example',
      title: 'X',
      cited_text: 'x',
      encrypted_index: 'y',
    };
    service.upstream.respondWith({
      kind: 'blocks',
      blocks: [
        { type: 'thinking', thinking: 'Hm.', signature },
        { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: { query: 'x' } },
        { type: 'web_search_tool_result', tool_use_id: 'srvtoolu_1', content: [] },
        { type: 'future_block', anything: [1, { deep: true }] },
        { type: 'text', text: 'Cited.', citations: [citation] },
      ],
    });
    const streamed = await client.messages.stream({ ...asked, model: 'thinker' }).finalMessage();
    const whole = await client.messages.create({ ...asked, model: 'thinker' });
    for (const { content } of [streamed, whole]) {
      expect(content).toMatchObject([
        { type: 'thinking', thinking: 'Hm.', signature },
        { type: 'server_tool_use', id: 'srvtoolu_1', input: { query: 'x' } },
        { type: 'web_search_tool_result', tool_use_id: 'srvtoolu_1' },
        { type: 'future_block', anything: [1, { deep: true }] },
        { type: 'text', text: 'Cited.', citations: [citation] },
      ]);
    }
  });

  it('answers its own calls, and sends those of the service back as upstream takes them', async () => {
    service.upstream.respondWith(
      bySteps(
        () => message(text('I search.'), call('toolu_1', 'search', { q: 'x' })),
        () => message(call('toolu_2', 'show', { at: 1 })),
        () => message(text('Shown.')),
      ),
    );
    const tools = [{ name: 'show', input_schema: { type: 'object' as const } }];
    const first = await client.messages.stream({ ...asked, model: 'tools', tools }).finalMessage();
    expect(first).toMatchObject({
      stop_reason: 'tool_use',
      content: [
        { type: 'text' },
        { type: 'mcp_tool_use', id: 'toolu_1', name: 'search', input: { q: 'x' } },
        { type: 'mcp_tool_result', tool_use_id: 'toolu_1' },
        { type: 'tool_use', id: 'toolu_2', name: 'show', input: { at: 1 } },
      ],
    });
    const result = { type: 'tool_result' as const, tool_use_id: 'toolu_2', content: 'done' };
    const messages = [
      ...hi,
      { role: 'assistant' as const, content: first.content },
      { role: 'user' as const, content: [result] },
    ];
    const second = await client.messages.create({
      ...asked,
      model: 'tools',
      messages: messages as Anthropic.MessageParam[],
    });
    expect(second.content).toMatchObject([{ type: 'text', text: 'Shown.' }]);
    const sent = service.upstream.requests.at(-1)!;
    expect(sent.body.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant', 'user']);
    expect(resultsIn(sent)).toEqual({ toolu_2: 'done' });
    expect(sent.changedPrefix).toBeUndefined();
  });

  it('names variables in a header', async () => {
    service.upstream.respondWith({ kind: 'text', text: 'a' });
    const headers = { 'x-llm-variables': JSON.stringify({ subject: 'maths' }) };
    await client.messages.create({ ...asked, model: 'tutor' }, { headers });
    expect(JSON.stringify(service.upstream.requests.at(-1)!.body.system)).toContain('You teach maths.');
  });

  it('gets errors of its own classes, with the code of the service', async () => {
    const refused = async (more: object) =>
      client.messages.create({ ...asked, ...more }).catch((error: unknown) => error);
    const temperature = await refused({ temperature: 0.5 });
    expect(temperature).toBeInstanceOf(Anthropic.BadRequestError);
    expect(temperature).toMatchObject({
      error: { type: 'error', error: { type: 'invalid_request_error', code: 'invalid_input' } },
    });
    expect((temperature as Error).message).toContain('temperature');
    expect((temperature as { requestID: string }).requestID).toMatch(/^[0-9a-f-]{36}$/);
    expect(await refused({ model: 'none' })).toBeInstanceOf(Anthropic.NotFoundError);
    const stranger = new Anthropic({ baseURL: service.url, apiKey: 'no-key', maxRetries: 0 });
    await expect(stranger.messages.create(asked)).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
    await expect(client.messages.countTokens({ model: 'default', messages: hi })).rejects.toThrow(/counts no tokens/);
    expect(calls()).toBe(0);
  });

  it('throws where an answer breaks off in a stream', async () => {
    service.upstream.enqueue({ kind: 'manual' });
    const stream = client.messages.stream(asked);
    const upstream = await nextRequest();
    await upstream.text('half');
    upstream.destroy();
    await expect(stream.finalMessage()).rejects.toMatchObject({ error: { error: { code: 'upstream_truncated' } } });
  });

  it('closes upstream when it leaves, and makes one bill of a request that it repeats under one key', async () => {
    service.upstream.enqueue({ kind: 'manual' });
    const stream = client.messages.stream(asked);
    const upstream = await nextRequest();
    stream.abort();
    await stream.done().catch(() => {});
    expect(await upstream.outcome).toBe('client_closed');

    service.upstream.respondWith({ kind: 'text', text: 'once' });
    const headers = { 'idempotency-key': 'one bill' };
    const [first, second] = await Promise.all([1, 2].map(() => client.messages.create(asked, { headers })));
    expect(first!.id).toBe(second!.id);
    expect(calls()).toBe(2);
  });

  it('lists the configs as models', async () => {
    const { data } = await client.models.list();
    expect(data.map(({ id }) => id)).toEqual(Object.keys(configs));
    expect(await client.models.retrieve('tutor')).toMatchObject({ type: 'model', id: 'tutor' });
  });
});

describe('the AI SDK', () => {
  it('streams text and thinking with its signature', async () => {
    const signature = 'c2lnbmVk';
    service.upstream.respondWith({
      kind: 'blocks',
      blocks: [{ type: 'thinking', thinking: 'Hm.', signature }, text('Yes.')],
    });
    const result = streamText({ model: provider('thinker'), prompt: 'hi' });
    expect(await result.text).toBe('Yes.');
    expect(await result.reasoningText).toBe('Hm.');
    expect(JSON.stringify((await result.reasoning)[0]!.providerMetadata)).toContain(signature);
    expect((await result.usage).outputTokens).toBeGreaterThan(0);
    expect(await result.finishReason).toBe('stop');
  });

  it('runs its own tools, and sees those of the service as run elsewhere', async () => {
    service.upstream.respondWith((request) => {
      // The SDK sends the service's calls back without their results, so the model doesn't see them.
      if ('toolu_2' in resultsIn(request)) return message(text('Shown.'));
      return 'toolu_1' in resultsIn(request)
        ? message(call('toolu_2', 'show', { at: 1 }))
        : message(call('toolu_1', 'search', { q: 'x' }));
    });
    const shown: unknown[] = [];
    const result = await generateText({
      model: provider('tools'),
      prompt: 'hi',
      tools: {
        show: tool({
          inputSchema: jsonSchema<{ at: number }>({ type: 'object' }),
          execute: (input) => {
            shown.push(input);
            return 'done';
          },
        }),
      },
      stopWhen: ({ steps }) => steps.length === 3,
    });
    expect(result.text).toBe('Shown.');
    expect(shown).toEqual([{ at: 1 }]);
    expect(result.steps[0]!.toolCalls).toMatchObject([
      { toolName: 'search', providerExecuted: true },
      { toolName: 'show', input: { at: 1 } },
    ]);
  });

  it('reads the object of a config', async () => {
    service.upstream.respondWith({ kind: 'text', text: '{"city":"Reykjavík"}' });
    const { output } = await generateText({
      model: provider('object'),
      prompt: 'hi',
      output: Output.object({
        schema: jsonSchema<{ city: string }>({ type: 'object', properties: { city: { type: 'string' } } }),
      }),
      providerOptions: { anthropic: { structuredOutputMode: 'outputFormat' } },
    });
    expect(output).toEqual({ city: 'Reykjavík' });
  });

  it('leaves: upstream is closed', async () => {
    service.upstream.enqueue({ kind: 'manual' });
    const left = new AbortController();
    const result = streamText({
      model: provider('default'),
      prompt: 'hi',
      abortSignal: left.signal,
      onError: () => {},
    });
    let seen = '';
    const reading = (async () => {
      for await (const piece of result.textStream) seen += piece;
    })().catch(() => {});
    const upstream = await nextRequest();
    await upstream.text('half');
    await eventually(() => expect(seen).toBe('half'));
    left.abort();
    expect(await upstream.outcome).toBe('client_closed');
    await reading;
  });
});
