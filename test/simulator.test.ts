import { createHash } from 'node:crypto';
import { once } from 'node:events';
import Anthropic from '@anthropic-ai/sdk';
import { afterEach, describe, expect, it } from 'vitest';
import {
  countTokens,
  startSimulator,
  type Simulator,
  type SimulatorOptions,
  type SimulatorRequest,
} from '../src/simulator.ts';
import { RequestLog } from '../src/simulator/request-log.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { dataOf, post, streaming } from './support/plain-client.ts';

finishesCleanly();

const started: Simulator[] = [];
afterEach(async () => {
  for (const simulator of started.splice(0)) await simulator[Symbol.asyncDispose]();
});

async function start(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = await startSimulator({ tokensPerSecond: 'unpaced', ...options });
  started.push(simulator);
  return simulator;
}

const params = {
  model: 'claude-sonnet-5-5',
  max_tokens: 100_000,
  messages: [{ role: 'user' as const, content: 'Hello!' }],
};
const anthropic = (simulator: Simulator) => new Anthropic({ baseURL: simulator.url, apiKey: 'any', maxRetries: 0 });

/** The whole message, as the SDK assembles it. */
function ask(simulator: Simulator, content: string, more: object = {}): Promise<Anthropic.Message> {
  const body = { ...params, messages: [{ role: 'user' as const, content }], ...more };
  return anthropic(simulator).messages.stream(body).finalMessage();
}

const textOf = (message: Anthropic.Message) =>
  message.content.map((block) => (block.type === 'text' ? block.text : '')).join('');

describe('an ordinary answer', () => {
  const docs = [
    {
      title: 'GUIDE.md',
      text: '# Guide\n\nWelcome.\n\n## Cancelling\n\nCall `llm.cancel` to stop.\n\n```\n# no heading\n```\n',
    },
  ];

  it('is found in the documents, can be parsed by the SDK, and has usage', async () => {
    const simulator = await start({ docs });
    const message = await ask(simulator, 'How does cancelling work?', { system: 'Be brief.' });
    expect(textOf(message)).toContain('**GUIDE.md**');
    expect(textOf(message)).toContain('> Call `llm.cancel` to stop.');
    expect(textOf(message)).toContain('> # no heading');
    expect(message).toMatchObject({ model: 'claude-sonnet-5-5', stop_reason: 'end_turn', role: 'assistant' });
    expect(message.id).toMatch(/^msg_01\w{22}$/);
    expect(message.usage).toMatchObject({
      input_tokens: countTokens('Be brief.') + countTokens('How does cancelling work?'),
      output_tokens: countTokens(textOf(message)),
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
    });
    const [request] = simulator.requests;
    expect(await request!.outcome).toBe('completed');
    expect(request!.tokensSent).toBe(message.usage.output_tokens);
    expect(request!.usage).toMatchObject({ output_tokens: message.usage.output_tokens });
  });

  it('explains the simulator if nothing is found', async () => {
    const simulator = await start({ docs });
    expect(textOf(await ask(simulator, 'Sing of Achilles'))).toMatch(/I am the simulator.*\/sim help/s);
  });

  it('does without documents', async () => {
    const simulator = await start({ docs: [] });
    expect(textOf(await ask(simulator, 'cancelling'))).toContain('I am the simulator');
  });

  it('has the API’s form on the wire: named events, padded JSON, a ping after the first block start', async () => {
    const simulator = await start({ docs });
    const { headers, text } = await post(simulator.url, streaming('/sim tokens 50'));
    expect(headers['content-type']).toBe('text/event-stream; charset=utf-8');
    expect(headers['request-id']).toMatch(/^req_01\w{22}$/);
    const events = (await text).split('\n\n').slice(0, -1);
    expect(events.slice(0, 3).map((event) => event.split('\n')[0])).toEqual([
      'event: message_start',
      'event: content_block_start',
      'event: ping',
    ]);
    expect(events.some((event) => / {2,}}$/.test(event))).toBe(true);
    expect(events.at(-1)).toMatch(/^event: message_stop\ndata: {"type":"message_stop" *}$/);
  });

  it('begins with the thinking that was asked for, in full or omitted', async () => {
    const simulator = await start({ docs });
    for (const [display, shown] of [['summarized', true] as const, ['omitted', false] as const]) {
      const { content } = await ask(simulator, 'Cancelling?', { thinking: { type: 'adaptive', display } });
      expect(content.map(({ type }) => type)).toEqual(['thinking', 'text']);
      const [thinking] = content as [Anthropic.ThinkingBlock];
      expect(thinking.thinking !== '').toBe(shown);
      expect(thinking.signature).not.toBe('');
    }
  });

  it('counts a marked system prompt as written first and as read after', async () => {
    const simulator = await start({ docs });
    const system = [{ type: 'text', text: 'x'.repeat(4_000), cache_control: { type: 'ephemeral' } }];
    const first = await ask(simulator, 'Hi', { system });
    const second = await ask(simulator, 'Hi', { system });
    expect(first.usage).toMatchObject({
      input_tokens: 1,
      cache_creation_input_tokens: 1_000,
      cache_read_input_tokens: 0,
    });
    expect(second.usage).toMatchObject({
      input_tokens: 1,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 1_000,
    });
  });
});

describe('the limits of a request', () => {
  it.each(['/sim tokens 7', '/sim tokens 8', '/sim tokens 9'])('max_tokens 8 holds for %s', async (command) => {
    const simulator = await start();
    const { usage, stop_reason: stopReason } = await ask(simulator, command, { max_tokens: 8 });
    const asked = Number(command.slice(-1));
    expect(usage.output_tokens).toBe(Math.min(8, asked));
    expect(stopReason).toBe(asked > 8 ? 'max_tokens' : 'end_turn');
  });

  it('max_tokens never splits a surrogate pair', async () => {
    const simulator = await start();
    const message = await ask(simulator, '/sim echo a🙂🙂🙂', { max_tokens: 1 });
    expect(textOf(message)).toBe('a🙂');
  });

  it('a stop sequence ends the answer before itself, also across deltas', async () => {
    const simulator = await start();
    simulator.enqueue({ kind: 'text', text: ['Hello E', 'N', 'D of it'] });
    const message = await ask(simulator, 'Hi', { stop_sequences: ['STOP', 'END'] });
    expect(textOf(message)).toBe('Hello ');
    expect(message).toMatchObject({ stop_reason: 'stop_sequence', stop_sequence: 'END' });
  });

  it('an answer that states its stop reason is sent in full', async () => {
    const simulator = await start();
    simulator.enqueue({ kind: 'text', text: 'x'.repeat(400), stopReason: 'end_turn', usage: { output_tokens: 7 } });
    const message = await ask(simulator, 'Hi', { max_tokens: 1 });
    expect(textOf(message)).toHaveLength(400);
    expect(message).toMatchObject({ stop_reason: 'end_turn', usage: { output_tokens: 7 } });
  });
});

describe('the seed', () => {
  const commands = ['/sim tool', '/sim thinking', '/sim tokens 400'];
  const transcript = async (seed: number) => {
    const simulator = await start({ seed });
    const texts = [];
    for (const command of commands) texts.push(await (await post(simulator.url, streaming(command))).text);
    return texts;
  };

  it('gives the same bytes each time', async () => {
    expect(await transcript(7)).toEqual(await transcript(7));
  });
  it('changes them', async () => {
    expect(await transcript(7)).not.toEqual(await transcript(8));
  });
});

describe('pacing', () => {
  it('lets no more tokens through than it is set to', async () => {
    const simulator = await start({ tokensPerSecond: 400 });
    const startedAt = performance.now();
    await ask(simulator, '/sim tokens 20');
    // Jitter shortens a wait to half at the most, and timers may fire a millisecond early.
    expect(performance.now() - startedAt).toBeGreaterThan(20);
  });

  it('waits before the first token', async () => {
    const simulator = await start({ firstTokenMs: 30 });
    const startedAt = performance.now();
    await ask(simulator, '/sim tokens 1');
    expect(performance.now() - startedAt).toBeGreaterThan(28);
  });

  it('honours back pressure where unpaced', async () => {
    const simulator = await start();
    const unread = await post(simulator.url, streaming('/sim tokens 200000'));
    unread.message.pause();
    await (
      await post(simulator.url, streaming('/sim tokens 20000'))
    ).text;
    expect(simulator.requests[0]!.tokensSent).toBeLessThan(150_000);
    unread.message.resume();
    await unread.text;
    expect(simulator.requests[0]!.tokensSent).toBe(200_000);
    expect(await simulator.requests[0]!.outcome).toBe('completed');
  });

  it('writes each delta by itself if asked to', async () => {
    const simulator = await start({ onePerWrite: true });
    expect((await ask(simulator, '/sim tokens 300')).usage.output_tokens).toBe(300);
  });

  it.each([{ tokensPerSecond: 0 }, { tokensPerSecond: Number.NaN }, { firstTokenMs: -1 }])(
    'refuses %o',
    async (options) => {
      await expect(startSimulator(options)).rejects.toThrow(RangeError);
    },
  );
});

describe('a command', () => {
  const expected: Record<string, (message: Anthropic.Message) => void> = {
    '/sim': (message) => expect(textOf(message)).toContain('/sim tool_cut'),
    '/sim help': (message) => expect(textOf(message)).toContain('stall_with_pings'),
    '/sim help crlf': (message) => expect(textOf(message)).toBe('a good stream whose lines end in CR LF'),
    '/sim nonsense': (message) => expect(textOf(message)).toContain('There is no `/sim nonsense`'),
    '/sim echo  a b\nc ': (message) => expect(textOf(message)).toBe('a b\nc'),
    '/sim tokens 1234': (message) => expect(message.usage.output_tokens).toBe(1234),
    '/sim thinking': ({ content }) =>
      expect(content).toMatchObject([
        { type: 'thinking', signature: expect.stringMatching(/.{40}/) },
        { type: 'text' },
      ]),
    '/sim redacted': ({ content }) => expect(content.map(({ type }) => type)).toEqual(['redacted_thinking', 'text']),
    '/sim tool': (message) => {
      expect(message.stop_reason).toBe('tool_use');
      expect(message.content[1]).toMatchObject({ type: 'tool_use', name: 'get_weather', input: { days: [1, 2, 3] } });
    },
    '/sim tool_cut': (message) => expect(message.stop_reason).toBe('max_tokens'),
    '/sim server_tool': ({ content, usage }) => {
      expect(content.map(({ type }) => type)).toEqual(['server_tool_use', 'web_search_tool_result', 'text']);
      expect(usage.server_tool_use).toEqual({ web_search_requests: 1 });
    },
    '/sim citations': ({ content }) =>
      expect(content[1]).toMatchObject({
        text: 'the grass is green.',
        citations: [{ cited_text: 'The grass is green.' }],
      }),
    '/sim refusal': (message) =>
      expect(message).toMatchObject({ content: [], stop_reason: 'refusal', stop_details: { type: 'refusal' } }),
    '/sim pause_turn': (message) => expect(message.stop_reason).toBe('pause_turn'),
  };
  it.each(Object.entries(expected))('%j is answered', async (command, check) => {
    check(await ask(await start(), command));
  });

  it('"/sim help" fits into a few hundred tokens', async () => {
    expect((await ask(await start(), '/sim help')).usage.output_tokens).toBeLessThan(350);
  });

  it('is read from the last user message, whatever its form', async () => {
    const simulator = await start();
    const messages = [
      { role: 'user', content: '/sim refusal' },
      { role: 'assistant', content: 'I will not.' },
      { role: 'user', content: [{ type: 'text', text: '/sim echo blocks' }] },
    ];
    expect(textOf(await ask(simulator, '', { messages }))).toBe('blocks');
  });
});

describe('a scripted answer', () => {
  it('is used once each, in order, before the answer for all requests', async () => {
    const simulator = await start({ docs: [] });
    simulator.respondWith((request) => ({ kind: 'text', text: `for all, ${request.body.max_tokens}` }));
    simulator.enqueue({ kind: 'text', text: 'first' }, { kind: 'text', text: 'second' });
    const texts = [];
    for (let asked = 0; asked < 3; asked++) texts.push(textOf(await ask(simulator, 'Hi', { max_tokens: 50 })));
    expect(texts).toEqual(['first', 'second', 'for all, 50']);
    simulator.respondWith(undefined);
    expect(textOf(await ask(simulator, 'Hi'))).toContain('I am the simulator');
    expect(simulator.requestCount).toBe(4);
  });

  it('that throws is a 500 which says so', async () => {
    const simulator = await start();
    simulator.respondWith(() => {
      throw new Error('a slip in the test');
    });
    const { status, text } = await post(simulator.url, streaming('Hi'));
    expect([status, await text]).toEqual([500, expect.stringContaining('a slip in the test')]);
  });

  it('of text sends its exact deltas', async () => {
    const simulator = await start();
    simulator.enqueue({ kind: 'text', text: new Set(['a', 'bc', '🙂', '"\n']) });
    const events = dataOf(await (await post(simulator.url, streaming('Hi'))).text);
    const deltas = events.flatMap(({ delta }) =>
      (delta as { text?: string })?.text === undefined ? [] : [(delta as { text: string }).text],
    );
    expect(deltas).toEqual(['a', 'bc', '🙂', '"\n']);
  });

  it('of blocks is streamed as the API does, or by exact deltas', async () => {
    const simulator = await start();
    const deltas = [{ type: 'input_json_delta', partial_json: '{"half": ' }];
    simulator.enqueue({
      kind: 'blocks',
      blocks: [
        { type: 'tool_use', id: 'toolu_1', name: 'none', input: {} },
        { type: 'tool_use', id: 'toolu_2', name: 'cut', input: {}, deltas },
        { type: 'mystery', value: [1] },
      ],
      stopReason: 'max_tokens',
    });
    const events = dataOf(await (await post(simulator.url, streaming('Hi'))).text);
    expect(events.filter(({ type }) => type !== 'ping').slice(1, -2)).toEqual([
      {
        type: 'content_block_start',
        index: 0,
        content_block: { type: 'tool_use', id: 'toolu_1', name: 'none', input: {} },
      },
      { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: '' } },
      { type: 'content_block_stop', index: 0 },
      {
        type: 'content_block_start',
        index: 1,
        content_block: { type: 'tool_use', id: 'toolu_2', name: 'cut', input: {} },
      },
      { type: 'content_block_delta', index: 1, delta: deltas[0] },
      { type: 'content_block_stop', index: 1 },
      { type: 'content_block_start', index: 2, content_block: { type: 'mystery', value: [1] } },
      { type: 'content_block_stop', index: 2 },
    ]);
    expect(events.at(-2)).toMatchObject({ delta: { stop_reason: 'max_tokens' } });
  });

  const recorded = 'event: one\ndata: {"type":"one","text":"é🙂"}\n\ndata: [DONE]\n\n';
  it.each([1, 37, Infinity])('of raw bytes is replayed in chunks of %d', async (chunkBytes) => {
    const simulator = await start();
    simulator.enqueue({ kind: 'raw', bytes: Buffer.from(recorded), chunkBytes });
    const { text } = await post(simulator.url, streaming('Hi'));
    expect(await text).toBe(recorded);
    expect(simulator.requests[0]!.bytesSent).toBe(Buffer.byteLength(recorded));
    expect(await simulator.requests[0]!.outcome).toBe('completed');
  });

  it('of raw bytes has any status and headers, and ends as told', async () => {
    const simulator = await start();
    const bytes = 'data: x';
    simulator.enqueue(
      { kind: 'raw', bytes, end: 'destroy', status: 203, headers: { 'x-more': 'yes' } },
      { kind: 'raw', bytes, end: 'hold' },
    );
    const cut = await post(simulator.url, streaming('Hi'));
    expect([cut.status, cut.headers['x-more']]).toEqual([203, 'yes']);
    expect([await cut.text, await cut.cut]).toEqual([bytes, true]);
    expect(await simulator.requests[0]!.outcome).toBe('destroyed');
    const held = await post(simulator.url, streaming('Hi'));
    await once(held.message, 'data');
    held.leave();
    expect(await simulator.requests[1]!.outcome).toBe('client_closed');
  });
});

describe('a manual answer', () => {
  it('is driven by the test, event by event', async () => {
    const simulator = await start();
    simulator.enqueue({ kind: 'manual' });
    const [answer, request] = await Promise.all([
      // The SDK's own iteration yields each event when it arrives.
      Promise.resolve(anthropic(simulator).messages.stream(params)),
      simulator.nextRequest(),
    ]);
    const events = answer[Symbol.asyncIterator]();
    const nextType = async () => ((await events.next()).value as { type: string } | undefined)?.type;

    request.start();
    expect(await nextType()).toBe('message_start');
    expect([request.tokensSent, request.usage]).toEqual([0, expect.objectContaining({ output_tokens: 1 })]);
    expect(request.startBlock()).toBe(0);
    expect(await nextType()).toBe('content_block_start');
    await request.text('four and more');
    expect(await nextType()).toBe('content_block_delta');
    expect(request.tokensSent).toBe(4);
    expect(request.startBlock({ type: 'thinking', thinking: '', signature: '' })).toBe(1);
    expect([await nextType(), await nextType()]).toEqual(['content_block_stop', 'content_block_start']);
    await request.delta({ type: 'thinking_delta', thinking: 'Hm.' });
    expect(await nextType()).toBe('content_block_delta');
    await request.event('unheard_of', { type: 'unheard_of' });
    await request.write(': a comment\n\n');
    request.finish('pause_turn', { usage: { output_tokens: 99 } });
    expect(await answer.finalMessage()).toMatchObject({
      content: [
        { type: 'text', text: 'four and more' },
        { type: 'thinking', thinking: 'Hm.' },
      ],
      stop_reason: 'pause_turn',
      usage: { output_tokens: 99 },
    });
    expect(await request.outcome).toBe('completed');
    expect([request.tokensSent, request.usage!['output_tokens']]).toEqual([5, 99]);
  });

  it('starts by itself with whatever the test wants first', async () => {
    const simulator = await start();
    simulator.respondWith({ kind: 'manual' });
    const texts: Promise<Anthropic.Message>[] = [];
    for (const drive of [
      (request: SimulatorRequest) => request.text('Hi'),
      (request: SimulatorRequest) => void request.startBlock(),
      () => {},
    ]) {
      texts.push(ask(simulator, 'Hi'));
      const request = await simulator.nextRequest();
      await drive(request);
      request.finish();
    }
    expect((await Promise.all(texts)).map(textOf)).toEqual(['Hi', '', '']);
  });

  it('can be a refusal, an early end or a cut', async () => {
    const simulator = await start();
    simulator.respondWith({ kind: 'manual' });
    const drive = async (act: (request: SimulatorRequest) => void) => {
      const response = post(simulator.url, streaming('Hi'));
      const request = await simulator.nextRequest();
      act(request);
      return { ...(await response), outcome: await request.outcome };
    };
    const refused = await drive((request) =>
      request.refuse({ status: 529, type: 'overloaded_error', message: 'Too much' }, { 'retry-after': '9' }),
    );
    expect([refused.status, refused.headers['retry-after'], refused.outcome]).toEqual([529, '9', 'completed']);
    const ended = await drive((request) => request.end());
    expect([await ended.text, await ended.cut, ended.outcome]).toEqual(['', false, 'completed']);
    const cut = await drive((request) => {
      request.start();
      void request.text('gone').then(() => request.destroy());
    });
    expect([await cut.text, await cut.cut, cut.outcome]).toEqual([expect.stringContaining('gone'), true, 'destroyed']);
  });

  it('sees when the client leaves, and counts nothing after', async () => {
    const simulator = await start();
    simulator.enqueue({ kind: 'manual' });
    const response = post(simulator.url, streaming('Hi'));
    const request = await simulator.nextRequest();
    await request.text('1234');
    (await response).leave();
    const leftAt = performance.now();
    expect(await request.outcome).toBe('client_closed');
    expect(request.closedAt).toBeGreaterThanOrEqual(leftAt);
    const { bytesSent } = request;
    await request.text('5678');
    request.finish();
    expect([request.tokensSent, request.bytesSent, request.usage!['output_tokens']]).toEqual([1, bytesSent, 1]);
  });
});

describe('the requests', () => {
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

  it('show what was sent, refused ones too', async () => {
    const simulator = await start({ apiKey: 'right' });
    const body = JSON.stringify(streaming('Hi'), undefined, 2);
    const { headers } = await post(simulator.url, body, { path: '/v1/messages?beta=true' });
    const [request] = simulator.requests;
    expect(request).toMatchObject({
      id: headers['request-id'],
      method: 'POST',
      path: '/v1/messages',
      body: JSON.parse(body),
    });
    expect(request!.headers['anthropic-version']).toBe('2026-10-21');
    expect(request!.bodySha256).toBe(sha256(body));
    expect(request!.messagesSha256).toBe(sha256('[{"role":"user","content":"Hi"}]'));
    expect(request!.usage).toBeUndefined();
  });

  it('can be waited for, and earlier ones are returned first', async () => {
    const simulator = await start();
    await ask(simulator, '/sim echo one');
    await ask(simulator, '/sim echo two');
    const given = [await simulator.nextRequest(), await simulator.nextRequest()];
    expect(given).toEqual(simulator.requests);
    const third = simulator.nextRequest();
    await ask(simulator, '/sim echo three');
    expect(await third).toBe(simulator.requests[2]);
  });

  it('are no longer waited for when the signal aborts or the simulator is disposed', async () => {
    const simulator = await start();
    const leaving = new AbortController();
    const aborted = simulator.nextRequest(leaving.signal).catch(String);
    leaving.abort('enough');
    expect(await aborted).toBe('enough');
    await expect(simulator.nextRequest(leaving.signal)).rejects.toBe('enough');
    const disposed = simulator.nextRequest().catch(String);
    await simulator[Symbol.asyncDispose]();
    expect(await disposed).toContain('disposed');
    await expect(simulator.nextRequest()).rejects.toThrow('disposed');
  });

  it('are kept up to a number and up to a size of all bodies, and only counted beyond', async () => {
    const request = (id: number) => ({ id: String(id) }) as SimulatorRequest;
    const many = new RequestLog();
    for (let id = 0; id < 10_002; id++) many.add(request(id), 1);
    expect([many.count, many.requests.length, many.requests[0]!.id]).toEqual([10_002, 10_000, '2']);
    expect((await many.next(undefined)).id).toBe('2');
    const large = new RequestLog();
    for (let id = 0; id < 4; id++) large.add(request(id), 30 * 1024 * 1024);
    expect(large.requests.map(({ id }) => id)).toEqual(['2', '3']);
  });
});

describe('disposal', () => {
  it('cuts what stalls, streams, waits or idles, and leaves no socket', async () => {
    const simulator = await start({ tokensPerSecond: 1, docs: [] });
    await post(simulator.url, streaming('/sim stall_with_pings'));
    await post(simulator.url, streaming('/sim tokens 1000'));
    simulator.enqueue({ kind: 'manual' });
    const waiting = post(simulator.url, streaming('Hi')).catch(String);
    while (simulator.requestCount < 3) await simulator.nextRequest();
    expect(simulator.openSockets).toBe(3);
    await Promise.all([simulator[Symbol.asyncDispose](), simulator[Symbol.asyncDispose]()]);
    expect(await waiting).toContain('socket hang up');
    expect(simulator.openSockets).toBe(0);
    expect(await Promise.all(simulator.requests.map(({ outcome }) => outcome))).toEqual(Array(3).fill('destroyed'));
    await expect(post(simulator.url, streaming('Hi'))).rejects.toThrow('ECONNREFUSED');
  });

  it('frees the port, which can be chosen and can be taken', async () => {
    const first = await start();
    await expect(startSimulator({ port: first.port })).rejects.toThrow('EADDRINUSE');
    await first[Symbol.asyncDispose]();
    expect((await start({ port: first.port })).url).toBe(first.url);
  });
});
