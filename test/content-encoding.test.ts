/**
 * Bodies that are compressed although the request asked for none: decoded as they arrive, or refused once, with the
 * name of the encoding.
 */
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import zlib from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { hello, startBench, testConfig } from './support/llm-stream.ts';
import { frameOf } from './support/upstream-frames.ts';

finishesCleanly();

const opening = [
  { type: 'message_start', message: { usage: { input_tokens: 8, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
].map(frameOf);
const deltaOf = (text: string) =>
  frameOf({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } } as { type: string });
const ending = [
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 2 } },
  { type: 'message_stop' },
].map(frameOf);

type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void;

/** A service in front of a server that answers like this. */
async function startUpstream(handler: Handler) {
  const server = http.createServer((request, response) => {
    request.resume().on('end', () => handler(request, response));
  });
  let connections = 0;
  let requests = 0;
  server.on('connection', () => (connections += 1)).on('request', () => (requests += 1));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const bench = await startBench({ address: () => ({ baseUrl: `http://127.0.0.1:${port}` }) });
  return {
    bench,
    get connections() {
      return connections;
    },
    get requests() {
      return requests;
    },
    async [Symbol.asyncDispose]() {
      await bench[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const encoders: Readonly<Record<string, () => zlib.Gzip | zlib.Deflate | zlib.BrotliCompress>> = {
  gzip: () => zlib.createGzip(),
  'x-gzip': () => zlib.createGzip(),
  GZIP: () => zlib.createGzip(),
  deflate: () => zlib.createDeflate(),
  br: () => zlib.createBrotliCompress(),
};

describe.each(Object.keys(encoders))('an answer in %s', (encoding) => {
  it('arrives whole, token by token, and its socket is used again', async () => {
    const goOn: (() => void)[] = [];
    await using upstream = await startUpstream((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': encoding });
      const encoder = encoders[encoding]!();
      encoder.pipe(response);
      encoder.write([...opening, deltaOf('Grüße, ')].join(''));
      encoder.flush();
      goOn.push(() => encoder.end([deltaOf('世界'), ...ending].join('')));
    });
    for (const answer of [0, 1]) {
      const stream = upstream.bench.stream(testConfig());
      // This piece arrives before the next one has been sent.
      expect((await stream.next()).value).toEqual([{ type: 'text', index: 0, text: 'Grüße, ' }]);
      goOn[answer]!();
      const remaining = [];
      for await (const batch of stream) remaining.push(...batch);
      expect(remaining).toMatchObject([
        { type: 'text', text: '世界' },
        { type: 'done', usage: { inputTokens: 8, outputTokens: 2, estimated: false } },
      ]);
    }
    expect([upstream.requests, upstream.connections]).toEqual([2, 1]);
  });

  it('is truncated where it is cut off', async () => {
    await using upstream = await startUpstream((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': encoding });
      const encoder = encoders[encoding]!();
      encoder.on('data', (chunk) => response.write(chunk));
      encoder.write([...opening, deltaOf('so far')].join(''));
      encoder.flush(() => response.end());
    });
    const { terminal, text } = await upstream.bench.hear(testConfig());
    expect([text, terminal]).toMatchObject(['so far', { type: 'error', code: 'upstream_truncated' }]);
    expect(upstream.requests).toBe(1);
  });
});

it('a request asks for identity', async () => {
  await using bench = await startBench();
  await bench.hear(testConfig());
  expect(bench.simulator.requests[0]!.headers['accept-encoding']).toBe('identity');
});

it.each([
  ['rot13', 'content_encoding_unknown', { type: 'rot13' }],
  ['gzip, br', 'content_encoding_unknown', {}],
  ['gzip', 'content_encoding_broken', {}],
])('a body in %s that can’t be read is refused once: %s', async (encoding, code, more) => {
  await using upstream = await startUpstream((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': encoding });
    response.end([...opening, deltaOf('plain'), ...ending].join(''));
  });
  const { terminal } = await upstream.bench.hear(testConfig());
  expect(terminal).toMatchObject({ type: 'error', code: 'upstream_error', usage: { estimated: true } });
  expect(upstream.bench.failures.map(({ error }) => error.cause)).toMatchObject([{ code, ...more }]);
  expect(upstream.requests).toBe(1);
});

it.each(['identity', ''])('a body in %j is as it is', async (encoding) => {
  await using upstream = await startUpstream((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': encoding });
    response.end([...opening, deltaOf('plain'), ...ending].join(''));
  });
  expect(await upstream.bench.hear(testConfig())).toMatchObject({ text: 'plain', terminal: { type: 'done' } });
});

it('a refusal is read in any encoding, and if it can’t be decoded its status decides', async () => {
  const error = { type: 'error', error: { type: 'invalid_request_error', message: 'max_tokens is too large' } };
  await using upstream = await startUpstream((_request, response) => {
    response.writeHead(422, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    response.end(zlib.gzipSync(JSON.stringify(error)));
  });
  expect((await upstream.bench.hear(testConfig())).terminal).toMatchObject({ code: 'upstream_invalid_request' });
  expect(upstream.bench.failures).toMatchObject([{ said: 'max_tokens is too large' }]);

  await using unreadable = await startUpstream((_request, response) => {
    response.writeHead(429, { 'content-encoding': 'rot13' }).end('scrambled');
  });
  expect((await unreadable.bench.hear(testConfig({ retries: { max: 0 } }))).terminal).toMatchObject({
    code: 'upstream_rate_limited',
  });
});

it('a decompression bomb is decoded only as far as its taker reads', async () => {
  // 256 MiB of an endless event, in a few hundred KB.
  const bomb = zlib.gzipSync(Buffer.concat([Buffer.from('data: '), Buffer.alloc(256 * 2 ** 20, 'x')]), { level: 1 });
  await using upstream = await startUpstream((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' });
    response.end(bomb);
  });
  const { terminal } = await upstream.bench.hear(testConfig({ retries: { max: 0 } }), undefined, hello);
  expect(terminal).toMatchObject({ type: 'error', code: 'upstream_error' });
  expect(upstream.bench.failures[0]!.error.cause).toMatchObject({ code: 'event_too_large' });
});
