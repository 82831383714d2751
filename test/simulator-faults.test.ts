import { once } from 'node:events';
import Anthropic from '@anthropic-ai/sdk';
import { afterEach, expect, it } from 'vitest';
import { faults, startSimulator, type FaultName, type Simulator, type SimulatorRequest } from '../src/simulator.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { dataOf, post, streaming, type EventData, type PlainResponse } from './support/plain-client.ts';

finishesCleanly();

let simulator: Simulator;
afterEach(() => simulator[Symbol.asyncDispose]());

type Check = (response: PlainResponse, request: SimulatorRequest) => Promise<void>;

const refused =
  (status: number, type: string, retryAfter?: string): Check =>
  async ({ status: told, headers, text }) => {
    expect([told, headers['retry-after']]).toEqual([status, retryAfter]);
    expect(JSON.parse(await text)).toMatchObject({ type: 'error', error: { type }, request_id: headers['request-id'] });
  };

/** A 200 whose body ended properly. */
const streamed =
  (check: (text: string) => void): Check =>
  async ({ status, headers, text, cut }) => {
    check(await text);
    expect([status, headers['content-type'], await cut]).toEqual([200, 'text/event-stream; charset=utf-8', false]);
  };

/** The same, with some text and this as the last event. */
const endedBy = (type: string, check: (events: EventData[], text: string) => void = () => {}): Check =>
  streamed((text) => {
    const events = dataOf(text);
    expect(events.filter((event) => event.type === 'content_block_delta')).not.toEqual([]);
    expect(events.at(-1)!.type).toBe(type);
    check(events, text);
  });

const endedByError = (type: string, check: (text: string) => void = () => {}): Check =>
  endedBy('error', (events, text) => {
    expect(events.at(-1)).toMatchObject({ error: { type } });
    check(text);
  });

/** The body shows this and stays open until the client leaves. */
const stalled =
  (shown: RegExp): Check =>
  async (response, request) => {
    let seen = '';
    while (!shown.test(seen)) seen += String((await once(response.message, 'data'))[0]);
    expect(request.closedAt).toBeUndefined();
    response.leave();
    expect(await request.outcome).toBe('client_closed');
  };

const halfEvent = /\n\nevent: content_block_delta\ndata: [^\n]*"text_del$/;

const checks: Record<Exclude<FaultName, 'cut_before_headers' | 'stall_first_byte'>, Check> = {
  unauthorized: refused(401, 'authentication_error'),
  invalid_request: refused(400, 'invalid_request_error'),
  too_large: refused(413, 'request_too_large'),
  rate_limited: refused(429, 'rate_limit_error'),
  rate_limited_retry_after: refused(429, 'rate_limit_error', '5'),
  overloaded: refused(529, 'overloaded_error'),
  server_error: refused(500, 'api_error'),
  overloaded_first_event: streamed((text) =>
    expect(dataOf(text)).toMatchObject([{ error: { type: 'overloaded_error' } }]),
  ),
  error_mid_stream: endedByError('api_error'),
  overloaded_mid_stream: endedByError('overloaded_error'),
  socket_cut: async ({ text, cut }, request) => {
    expect(await text).toMatch(halfEvent);
    expect([await cut, await request.outcome]).toEqual([true, 'destroyed']);
  },
  clean_end: endedBy('content_block_delta'),
  half_event: streamed((text) => expect(text).toMatch(halfEvent)),
  no_blank_line: endedBy('message_stop', (_events, text) => expect(text).toMatch(/[^\n]\n$/)),
  stall_headers: async (response, request) => {
    expect([response.status, request.bytesSent]).toEqual([200, 0]);
    response.leave();
    expect(await request.outcome).toBe('client_closed');
  },
  stall_mid_stream: stalled(/content_block_delta/),
  quiet_thinking: endedBy('message_stop', (events) => {
    expect(events.filter(({ type }) => type === 'ping').length).toBeGreaterThanOrEqual(10);
    expect(events.find(({ type }) => type === 'content_block_start')).toMatchObject({
      content_block: { type: 'thinking' },
    });
  }),
  stall_with_pings: stalled(/content_block_delta(.|\n)*(event: ping\n(.|\n)*){3}$/),
  malformed_json: streamed((text) => {
    const broken = text.match(/^data: .*[^}\n]$/gm) ?? [];
    expect(broken).toHaveLength(1);
    expect(() => JSON.parse(String(broken[0]).slice('data: '.length))).toThrow(SyntaxError);
    expect(text).toContain('message_stop');
  }),
  html_200: async ({ status, headers, text }) => {
    expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(await text).toContain('<h1>');
  },
  empty_200: streamed((text) => expect(text).toBe('')),
  json_200: async ({ status, headers, text }) => {
    expect([status, headers['content-type']]).toEqual([200, 'application/json']);
    expect(JSON.parse(await text)).toMatchObject({ type: 'message', stop_reason: 'end_turn' });
  },
  json_200_error: async ({ status, headers, text }) => {
    expect([status, headers['content-type']]).toEqual([200, 'application/json']);
    expect(JSON.parse(await text)).toMatchObject({ error: { type: 'invalid_request_error' } });
  },
  no_such_path: async ({ status, headers, text }) => {
    expect([status, headers['content-type'], await text]).toEqual([
      404,
      'text/plain; charset=utf-8',
      '404 page not found\n',
    ]);
  },
  no_retry: async (response, request) => {
    await refused(500, 'api_error')(response, request);
    expect(response.headers['x-should-retry']).toBe('false');
  },
  gzip: async (response, request) => {
    expect(response.headers['content-encoding']).toBe('gzip');
    await endedBy('message_stop')(response, request);
  },
  unknown_encoding: async ({ status, headers, text }) => {
    expect([status, headers['content-encoding'], await text]).toEqual([200, 'rot13', 'scrambled']);
  },
  bare_error: streamed((text) => expect(text).toMatch(/^data: \{"error":\{"type":"invalid_request_error",.*\}\n\n$/)),
  bare_error_mid_stream: streamed((text) =>
    expect(text).toMatch(/content_block_delta(.|\n)*\ndata: \{"error":\{"code":529,.*\}\n\n$/),
  ),
  split_pair: endedBy('message_stop', (_events, text) => {
    expect(text).toMatch(/\\ud83d"/);
    expect(text).toMatch(/"\\ude42/);
  }),
  zero_usage: endedBy('message_stop', (events) =>
    expect(events.find(({ type }) => type === 'message_delta')).toMatchObject({ usage: { input_tokens: 0 } }),
  ),
  data_only: endedBy('message_stop', (_events, text) => expect(text).not.toMatch(/^event:/m)),
  data_only_error: endedByError('api_error', (text) => expect(text).not.toMatch(/^event:/m)),
  crlf: streamed((text) => {
    expect(text).toMatch(/message_stop[^\n]*\r\n\r\n$/);
    expect(text.replaceAll('\r\n', '')).not.toContain('\n');
  }),
  unknown_events: endedBy('message_stop', (events) =>
    expect(events.filter(({ type }) => type === 'weather_report').length).toBeGreaterThan(2),
  ),
  unknown_blocks: endedBy('message_stop', (events) =>
    expect(events.filter(({ type }) => type === 'content_block_start')).toMatchObject([
      { content_block: { type: 'hologram' } },
      { content_block: { type: 'text' } },
      { content_block: { type: 'melody' } },
    ]),
  ),
  two_message_starts: endedBy('message_stop', (events) =>
    expect(events.filter(({ type }) => type === 'message_start')).toHaveLength(2),
  ),
  held_open: stalled(/message_stop.*\n\n$/),
  slow: endedBy('message_stop'),
};

const args: Partial<Record<FaultName, string>> = { rate_limited_retry_after: '5', stall_with_pings: '1', slow: '1' };
const described = new Map(faults.map(({ name, description }) => [name, description]));

it.each(Object.entries(checks) as [FaultName, Check][])('%s does what it says', async (name, check) => {
  expect(described.get(name)).toMatch(/\w/);
  simulator = await startSimulator({ tokensPerSecond: 'unpaced' });
  const response = await post(simulator.url, streaming(`/sim ${name} ${args[name] ?? ''}`));
  await check(response, simulator.requests[0]!);
});

it('stall_first_byte sends nothing until the client leaves', async () => {
  simulator = await startSimulator({ fault: 'stall_first_byte', docs: [] });
  const leaving = new AbortController();
  const client = new Anthropic({ baseURL: simulator.url, apiKey: 'any', maxRetries: 0 });
  const body = { model: 'claude-sonnet-5-5', max_tokens: 10, messages: [{ role: 'user' as const, content: 'Hi' }] };
  const failure = client.messages.create({ ...body, stream: true }, { signal: leaving.signal }).catch(String);
  const request = await simulator.nextRequest();
  leaving.abort();
  expect(await failure).toContain('aborted');
  expect(await request.outcome).toBe('client_closed');
  expect(request.bytesSent).toBe(0);
});

it('cut_before_headers sends nothing and cuts', async () => {
  simulator = await startSimulator({ fault: 'cut_before_headers', docs: [] });
  await expect(post(simulator.url, streaming('Hi'))).rejects.toMatchObject({ code: 'ECONNRESET' });
  const [request] = simulator.requests;
  expect([await request!.outcome, request!.bytesSent]).toEqual(['destroyed', 0]);
});

it('a fault can be set for every request, around the ordinary text, and by the queue, around any text', async () => {
  simulator = await startSimulator({ tokensPerSecond: 'unpaced', fault: 'data_only', docs: [] });
  simulator.enqueue({ kind: 'fault', fault: 'clean_end', text: ['ex', 'act'] });
  const queued = dataOf(await (await post(simulator.url, streaming('Hi'))).text);
  expect(queued.filter(({ type }) => type === 'content_block_delta')).toMatchObject([
    { delta: { text: 'ex' } },
    { delta: { text: 'act' } },
  ]);
  const set = await (await post(simulator.url, streaming('Hi'))).text;
  expect(set).toMatch(/^data: .*message_start(.|\n)*Hello(.|\n)*message_stop/);
});
