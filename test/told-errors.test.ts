/**
 * An error of upstream's is recognized as what it is, in every form in which a gateway writes it, and at every place.
 */
import { describe, expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig, type Bench } from './support/llm-stream.ts';

finishesCleanly();

/** What is sent, the expected code, and upstream's sentence. */
const forms: readonly (readonly [body: unknown, code: string, said: string | undefined])[] = [
  [{ error: { type: 'invalid_request_error', message: 'too long' } }, 'upstream_invalid_request', 'too long'],
  [{ type: 'error', error: { type: 'overloaded_error', message: 'busy' } }, 'upstream_overloaded', 'busy'],
  [{ type: 'error', error: { type: 'api_error' } }, 'upstream_error', undefined],
  [{ type: 'error', error: 'busy' }, 'upstream_error', 'busy'],
  [{ type: 'error', message: 'busy' }, 'upstream_error', 'busy'],
  [{ type: 'error', error: null, code: 429 }, 'upstream_rate_limited', undefined],
  [{ type: 'rate_limit_error', message: 'slow down' }, 'upstream_rate_limited', 'slow down'],
  [{ error: 'it broke' }, 'upstream_error', 'it broke'],
  [{ error: 'overloaded_error' }, 'upstream_overloaded', 'overloaded_error'],
  [{ detail: 'Not authenticated', status: 401 }, 'upstream_auth', 'Not authenticated'],
  [{ detail: [{ loc: ['body'], msg: 'field required' }] }, 'upstream_error', 'field required'],
  [{ message: 'Internal server error' }, 'upstream_error', 'Internal server error'],
  [{ error: { message: 'quota', type: 'insufficient_quota', code: 'insufficient_quota' } }, 'upstream_auth', 'quota'],
  [{ error: { message: 'slow', type: 'tokens', code: 'rate_limit_exceeded' } }, 'upstream_rate_limited', 'slow'],
  [{ error: { message: 'slow', type: 'None', code: '429' } }, 'upstream_rate_limited', 'slow'],
  [{ error: { code: 529, message: 'busy' } }, 'upstream_overloaded', 'busy'],
  [{ error: { code: 400, message: 'bad', status: 'INVALID_ARGUMENT' } }, 'upstream_invalid_request', 'bad'],
  [[{ error: { code: 503, message: 'busy', status: 'UNAVAILABLE' } }], 'upstream_overloaded', 'busy'],
  [{ object: 'error', message: 'bad', type: 'BadRequestError', code: 400 }, 'upstream_invalid_request', 'bad'],
  [{ success: false, errors: [{ code: 7003, message: 'no route' }] }, 'upstream_error', 'no route'],
  [{ error: { type: 'authentication_error', code: 529, message: 'who' } }, 'upstream_auth', 'who'],
];

/** Makes upstream answer every request with these bytes. */
async function answering<Got>(
  bytes: string,
  headers: Readonly<Record<string, string>>,
  use: (bench: Bench) => Promise<Got>,
): Promise<Got> {
  await using bench = await startBench();
  bench.simulator.respondWith({ kind: 'raw', bytes, headers });
  return await use(bench);
}

const opening = [
  { type: 'message_start', message: { usage: { input_tokens: 3, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'so far' } },
]
  .map((event) => `data: ${JSON.stringify(event)}\n\n`)
  .join('');
const nothingBilled = { usage: { inputTokens: 0, outputTokens: 0, estimated: false }, costUsd: 0 };

describe.each(forms)('%j', (body, code, said) => {
  const json = JSON.stringify(body);
  const retryable = !['upstream_invalid_request', 'upstream_auth'].includes(code);

  it.each([
    ['as the first frame', `data: ${json}\n\n`, {}],
    ['as the first frame, by name', `event: error\ndata: ${json}\n\n`, {}],
    ['as JSON with status 200', json, { 'content-type': 'application/json' }],
    ['as JSON that calls itself a stream', json, {}],
    ['as JSON written over several lines', JSON.stringify(body, null, 2), { 'content-type': 'text/plain' }],
  ])('%s', async (_where, bytes, headers) => {
    await answering(bytes, headers, async (bench) => {
      const { terminal } = await bench.hear(testConfig());
      expect(terminal).toMatchObject({ type: 'error', code, ...nothingBilled });
      expect(bench.simulator.requestCount).toBe(retryable ? 3 : 1);
      expect(bench.failures[0]!.said).toBe(said);
      expect(JSON.stringify(terminal)).not.toContain(said ?? 'never said');
    });
  });

  it('in mid-stream', async () => {
    await answering(`${opening}data: ${json}\n\n`, {}, async (bench) => {
      const { terminal, text } = await bench.hear(testConfig());
      expect(text).toBe('so far');
      expect(terminal).toMatchObject({ type: 'error', code, usage: { inputTokens: 3, estimated: true } });
      expect([bench.simulator.requestCount, bench.failures[0]!.said]).toEqual([1, said]);
    });
  });
});

it.each([
  ['words', 'event: error\ndata: upstream went away\n\n', 'upstream went away'],
  ['a text', 'event: error\ndata: "upstream went away"\n\n', 'upstream went away'],
  ['nothing of use', 'event: error\ndata: {}\n\n', undefined],
])('an event called `error` is one with %s as its data', async (_what, bytes, said) => {
  await answering(bytes, {}, async (bench) => {
    expect((await bench.hear(testConfig())).terminal).toMatchObject({ code: 'upstream_error' });
    expect(bench.failures[0]).toMatchObject({ error: { cause: { code: 'error_event' } } });
    expect(bench.failures[0]!.said).toBe(said);
  });
});

it.each([
  ['of an unknown type that has a field `error`', 'data: {"type":"tool_progress","error":{"message":"x"}}\n\n'],
  ['of an unknown name with a `detail`', 'event: weather\ndata: {"detail":"sunny","message":"sunny"}\n\n'],
  ['of an unknown name whose data is no object', 'event: heartbeat\ndata: 17\n\n'],
  ['with an `error` that is null', 'data: {"error":null}\n\n'],
  ['that says nothing', 'data: {}\n\n'],
])('an event %s is no error', async (_what, event) => {
  const ending =
    'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}\n\ndata: {"type":"message_stop"}\n\n';
  await answering(opening + event + ending, {}, async (bench) => {
    expect((await bench.hear(testConfig())).terminal).toMatchObject({ type: 'done' });
  });
});

it.each([
  ['a whole message', '{"type":"message","content":[],"usage":{}}', 'application/json'],
  ['a web page', '<html>', 'text/html'],
  ['broken JSON', '{"error":', 'application/json'],
  ['much JSON', `{"error":"${'x'.repeat(100_000)}"}`, 'application/json'],
])('%s in place of a stream is no more than that', async (_what, bytes, type) => {
  await answering(bytes, { 'content-type': type }, async (bench) => {
    expect((await bench.hear(testConfig({ retries: { max: 0 } }))).terminal).toMatchObject({ code: 'upstream_error' });
    expect(bench.failures[0]!.error.cause).toMatchObject({ code: 'no_event_stream' });
  });
});

it('the words that it quotes from the request are left out of the log', async () => {
  await answering('data: {"error":"Hello is not a prompt"}\n\n', {}, async (bench) => {
    await bench.hear(testConfig());
    expect(bench.failures[0]!.said).toBe('… is not … prompt');
  });
});

it.each([
  ['nested beyond any stack', `${'['.repeat(20_000)}429${']'.repeat(20_000)}`],
  ['no number', '{"toString":1,"valueOf":1}'],
])('a status that is %s is none', async (_what, status) => {
  const json = `{"type":"error","error":{"message":"x","code":${status}}}`;
  for (const sent of [json, `data: ${json}\n\n`]) {
    const { terminal } = await answering(sent, {}, ({ hear }) => hear(testConfig({ retries: { max: 0 } })));
    expect(terminal).toMatchObject({ type: 'error', code: 'upstream_error' });
  }
});
