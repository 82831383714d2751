/** The stock client of OpenAI on the service: what it keeps of the promises, and what its errors become. */
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { tool } from '../../src/tools/tool.ts';
import { eventually } from '../support/eventually.ts';
import { plainConfig, startTestService, type TestService } from '../support/service.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { bySteps, call, message, text } from '../support/tool-scripts.ts';

const search = tool({
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
};

let service: TestService;
let proxy: TcpProxy;
let client: OpenAI;

beforeAll(async () => {
  service = await startTestService({ env: { LLM_OPENAI_DOOR: '1' }, configs });
  proxy = await startTcpProxy(service.url);
  client = new OpenAI({ baseURL: `${proxy.url}/v1`, apiKey: 'any', maxRetries: 0 });
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
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

/** Reads a stream into its text, and the number of its last event; throws what the stream throws. */
async function collect(
  stream: AsyncIterable<OpenAI.Responses.ResponseStreamEvent>,
  into: { text: string; cursor: number; last?: OpenAI.Responses.ResponseStreamEvent; id?: string },
) {
  for await (const event of stream) {
    into.cursor = event.sequence_number;
    into.last = event;
    if (event.type === 'response.created') into.id = event.response.id;
    if (event.type === 'response.output_text.delta') into.text += event.delta;
  }
}

describe('responses', () => {
  it('stream a text whose end has the usage and the cost', async () => {
    service.upstream.respondWith({ kind: 'text', text: 'Hello, wörld 🌍.' });
    const stream = client.responses.stream({ model: 'default', input: 'hi' });
    const final = await stream.finalResponse();
    expect(final).toMatchObject({ status: 'completed', model: 'default', output_text: 'Hello, wörld 🌍.' });
    expect(final.usage!.output_tokens).toBeGreaterThan(0);
    expect(final).toMatchObject({ llm: { simulated: false, config: 'default', steps: 1 } });
  });

  it('come whole without stream, and take variables by the prompt', async () => {
    service.upstream.respondWith({ kind: 'text', text: 'Numbers.' });
    const asked = { input: 'hi', prompt: { id: 'tutor', variables: { subject: 'maths' } } };
    expect((await client.responses.create(asked)).output_text).toBe('Numbers.');
    expect(JSON.stringify(service.upstream.requests.at(-1)!.body.system)).toContain('You teach maths.');
  });

  it('go on from a cursor after a cut: the text once, and one request upstream', async () => {
    service.upstream.enqueue({ kind: 'manual' });
    const seen: Parameters<typeof collect>[1] = { text: '', cursor: -1 };
    const stream = await client.responses.create({ model: 'default', input: 'hi', background: true, stream: true });
    const reading = collect(stream, seen);
    const upstream = await nextRequest();
    const pieces = Array.from({ length: 40 }, (_, at) => `piece ${at} 🌍 `);
    for (const piece of pieces.slice(0, 10)) await upstream.text(piece);
    await eventually(() => expect(seen.text).toBe(pieces.slice(0, 10).join('')));
    proxy.cut();
    await expect(reading).rejects.toThrow();
    for (const piece of pieces.slice(10, 30)) await upstream.text(piece);

    const again = await client.responses.retrieve(seen.id!, { stream: true, starting_after: seen.cursor });
    const goingOn = collect(again, seen);
    await eventually(() => expect(seen.text).toBe(pieces.slice(0, 30).join('')));
    for (const piece of pieces.slice(30)) await upstream.text(piece);
    upstream.finish();
    await goingOn;
    expect(seen.text).toBe(pieces.join(''));
    expect(seen.last).toMatchObject({ type: 'response.completed' });
    expect((await client.responses.retrieve(seen.id!)).output_text).toBe(pieces.join(''));
    expect(calls()).toBe(1);
  });

  it('are cancelled: the open stream ends as incomplete, and upstream is closed', async () => {
    service.upstream.enqueue({ kind: 'manual' });
    const seen: Parameters<typeof collect>[1] = { text: '', cursor: -1 };
    const reading = collect(await client.responses.create({ model: 'default', input: 'hi', stream: true }), seen);
    const upstream = await nextRequest();
    await upstream.text('half');
    await eventually(() => expect(seen.text).toBe('half'));
    const cancelled = await client.responses.cancel(seen.id!);
    expect(cancelled).toMatchObject({ status: 'cancelled', output: [{ content: [{ text: 'half' }] }] });
    expect(await upstream.outcome).toBe('client_closed');
    await reading;
    expect(seen.last).toMatchObject({ type: 'response.incomplete', response: { status: 'cancelled' } });
    expect(await client.responses.cancel(seen.id!)).toMatchObject({ status: 'cancelled' });
  });

  it('run in the background without a viewer, and are read when they are done', async () => {
    service.upstream.enqueue({ kind: 'manual' });
    const begun = await client.responses.create({ model: 'default', input: 'hi', background: true });
    expect(begun).toMatchObject({ status: 'in_progress', output: [] });
    const upstream = await nextRequest();
    await upstream.text('so far');
    await eventually(async () =>
      expect(await client.responses.retrieve(begun.id)).toMatchObject({
        status: 'in_progress',
        output: [{ content: [{ text: 'so far' }] }],
      }),
    );
    upstream.finish();
    await eventually(async () => expect((await client.responses.retrieve(begun.id)).status).toBe('completed'));
  });

  it('end at once when a client leaves that has named no id, and wait for one that has', async () => {
    service.upstream.respondWith({ kind: 'manual' });
    const leave = async (headers: Record<string, string>) => {
      const stream = await client.responses.create({ model: 'default', input: 'hi', stream: true }, { headers });
      const upstream = await nextRequest();
      stream.controller.abort();
      return upstream;
    };
    const key = { 'idempotency-key': 'my own words' };
    const named = await leave(key);
    expect(await (await leave({})).outcome).toBe('client_closed');

    const again = await client.responses.create({ model: 'default', input: 'hi', stream: true }, { headers: key });
    const seen: Parameters<typeof collect>[1] = { text: '', cursor: -1 };
    const reading = collect(again, seen);
    await named.text('still here');
    named.finish();
    await reading;
    expect(seen.text).toBe('still here');
    expect(calls()).toBe(2);
  });

  it('have shown thinking as reasoning, which the next request brings back', async () => {
    const signature = 'c2lnbmVk';
    service.upstream.respondWith({
      kind: 'blocks',
      blocks: [{ type: 'thinking', thinking: 'Hm.', signature }, text('Yes.')],
    });
    const first = await client.responses.create({ model: 'thinker', input: 'hi' });
    expect(first.output).toMatchObject([
      { type: 'reasoning', summary: [{ text: 'Hm.' }], encrypted_content: signature },
      { type: 'message' },
    ]);
    const input = [
      { role: 'user' as const, content: 'hi' },
      ...first.output,
      { role: 'user' as const, content: 'and?' },
    ];
    await client.responses.create({ model: 'thinker', input: input as OpenAI.Responses.ResponseInput });
    expect(service.upstream.requests.at(-1)!.body.messages).toMatchObject([
      { role: 'user' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'Hm.', signature },
          { type: 'text', text: 'Yes.' },
        ],
      },
      { role: 'user' },
    ]);
  });

  it('have the calls of the service, and those for the client, whose results the next request brings', async () => {
    service.upstream.respondWith(
      bySteps(
        () => message(call('toolu_1', 'search', { q: 'x' })),
        () => message(call('toolu_2', 'show', { at: 1 })),
        () => message(text('Shown.')),
      ),
    );
    const tools = [{ type: 'function' as const, name: 'show', parameters: {}, strict: null }];
    const first = await client.responses.stream({ model: 'tools', input: 'hi', tools }).finalResponse();
    expect(first.output).toMatchObject([
      { type: 'mcp_call', name: 'search', output: '{"hits":2}' },
      { type: 'function_call', call_id: 'toolu_2', name: 'show', arguments: '{"at":1}' },
    ]);
    const input = [
      { role: 'user', content: 'hi' },
      ...first.output,
      { type: 'function_call_output', call_id: 'toolu_2', output: 'done' },
    ] as OpenAI.Responses.ResponseInput;
    const second = await client.responses.create({ model: 'tools', input });
    expect(second.output_text).toBe('Shown.');
    expect(service.upstream.requests.at(-1)!.body.messages).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1' }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: '{"hits":2}' }] },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_2' }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_2', content: 'done' }] },
    ]);
  });
});

describe('errors', () => {
  it('are of the class that their status has, with the code of the service', async () => {
    const refused = async (body: object) =>
      client.responses
        .create(body as OpenAI.Responses.ResponseCreateParamsNonStreaming)
        .catch((error: unknown) => error);
    const temperature = await refused({ model: 'default', input: 'hi', temperature: 1 });
    expect(temperature).toBeInstanceOf(OpenAI.BadRequestError);
    expect(temperature).toMatchObject({ code: 'invalid_input', param: 'temperature', type: 'invalid_request_error' });
    expect(await refused({ model: 'none', input: 'hi' })).toBeInstanceOf(OpenAI.NotFoundError);
    expect(calls()).toBe(0);
  });

  it('make no second bill: a failure under a key is not asked for again', async () => {
    service.upstream.respondWith({ kind: 'fault', fault: 'error_mid_stream', text: 'half of it' });
    const patient = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: 'any', maxRetries: 2 });
    const options = { headers: { 'idempotency-key': crypto.randomUUID() } };
    const failed = await patient.responses.create({ model: 'default', input: 'hi' }, options).catch((error) => error);
    expect(failed).toBeInstanceOf(OpenAI.InternalServerError);
    expect(failed.code).toMatch(/^upstream_/);
    expect(calls()).toBe(1);
  });

  it('a conflict is not repeated', async () => {
    service.upstream.respondWith({ kind: 'text', text: 'a' });
    const options = { headers: { 'idempotency-key': 'same' }, maxRetries: 3 };
    await client.responses.create({ model: 'default', input: 'one' }, options);
    const conflict = await client.responses.create({ model: 'default', input: 'two' }, options).catch((error) => error);
    expect(conflict).toBeInstanceOf(OpenAI.ConflictError);
    expect(conflict.code).toBe('conflict');
    expect(calls()).toBe(1);
  });
});

it('models are the configs', async () => {
  const models = await client.models.list();
  expect(models.data.map(({ id }) => id)).toEqual(Object.keys(configs));
  expect(await client.models.retrieve('tutor')).toMatchObject({ object: 'model', llm: { variables: ['subject'] } });
  await expect(client.models.retrieve('none')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
});

describe('chat completions', () => {
  const messages = [{ role: 'user' as const, content: 'hi' }];

  it('stream text and usage, and come whole', async () => {
    service.upstream.respondWith({ kind: 'text', text: 'Hello.' });
    const stream = await client.chat.completions.create({
      model: 'default',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let streamed = '';
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      streamed += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage;
    }
    expect(streamed).toBe('Hello.');
    expect(usage!.completion_tokens).toBeGreaterThan(0);
    const whole = await client.chat.completions.create({ model: 'default', messages });
    expect(whole.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'Hello.' } });
  });

  it('have the calls of tools, and take their results', async () => {
    service.upstream.respondWith(
      bySteps(
        () => message(call('toolu_1', 'show', { at: 1 })),
        () => message(text('Shown.')),
      ),
    );
    const tools = [{ type: 'function' as const, function: { name: 'show', parameters: {} } }];
    const stream = client.chat.completions.stream({ model: 'tools', messages, tools });
    const first = (await stream.finalChatCompletion()).choices[0]!;
    expect(first).toMatchObject({ finish_reason: 'tool_calls', message: { tool_calls: [{ id: 'toolu_1' }] } });
    const next = [...messages, first.message, { role: 'tool' as const, tool_call_id: 'toolu_1', content: 'ok' }];
    const second = await client.chat.completions.create({ model: 'tools', messages: next });
    expect(second.choices[0]!.message.content).toBe('Shown.');
  });

  it('throw an answer that breaks off', async () => {
    service.upstream.enqueue({ kind: 'manual' });
    const stream = await client.chat.completions.create({ model: 'default', messages, stream: true });
    const upstream = await nextRequest();
    await upstream.text('half');
    upstream.destroy();
    const read = async () => {
      for await (const _chunk of stream);
    };
    await expect(read()).rejects.toMatchObject({ code: 'upstream_truncated' });
  });
});
