/**
 * Every answer waits for its reader, not only events. If answers wait, the service doesn't read on from that
 * connection, and only bytes that the peer takes count as progress.
 */
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../../src/simulator.ts';
import { startHonestCallers } from '../support/attack-honest.ts';
import { targetForTests, turnMsMax } from '../support/attack-target.ts';
import {
  frame,
  headOf,
  openWebSocketWire,
  openWire,
  posted,
  repeat,
  verdictOf,
  type Wire,
} from '../support/attack-wire.ts';
import { plainConfig } from '../support/service.ts';

const heapMiB = 96;
/** Answers that wait, on all connections of a test together. */
const waitingBytesMax = 24 << 20;
const socketStallMs = 1_500;

let upstream: Simulator;
beforeAll(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
});
afterEach(() => upstream.respondWith(undefined));
afterAll(() => upstream[Symbol.asyncDispose]());
const options = (env: Readonly<Record<string, string>> = {}) => ({
  upstreamUrl: upstream.url,
  heapMiB,
  env: {
    LLM_BARS_PER_CALLER_MAX: '1000000',
    // Limits that fit such a heap, as the defaults fit one of two gigabytes.
    LLM_HELD_BYTES_MAX: `${16 << 20}`,
    LLM_HELD_BYTES_PER_CALLER_MAX: `${12 << 20}`,
    LLM_LOGS_BYTES_MAX: `${48 << 20}`,
    LLM_LOGS_BYTES_PER_CALLER_MAX: `${48 << 20}`,
    LLM_LOG_BYTES_MAX: `${24 << 20}`,
    ...env,
  },
  configs: { default: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } } },
});
// A stalled connection is not closed for a minute here, so what waits on it must be bounded without that.
const target = targetForTests(() => options());

const id = '7c42ca9b-9eab-4d04-80b3-40f10b0c54aa';
const follow = `{"path":"llm.follow","input":{"json":{"generationId":"${id}"}}}`;
const cancel = `{"path":"llm.cancel","input":{"json":{"generationId":"${id}"}}}`;

/** Requests for answers, however small. */
const asking: Readonly<Record<string, Buffer>> = {
  'PING as text': frame('PING'),
  'pings of the protocol': frame('', 9),
  'long pings of the protocol': frame('x'.repeat(125), 9),
  'what is no JSON': frame('{'),
  'what is no message': frame('{"id":1}'),
  'binary frames': frame('x', 2),
  'unknown paths': frame('{"id":1,"method":"query","params":{"path":"no"}}'),
  queries: frame('{"id":1,"method":"query","params":{"path":"llm.configs"}}'),
  mutations: frame(`{"id":1,"method":"mutation","params":${cancel}}`),
  'subscriptions to nothing': frame(`{"id":1,"method":"subscription","params":${follow}}`),
  'pages of queries': frame(`[${`{"id":1,"method":"query","params":{"path":"llm.configs"}},`.repeat(50)}{}]`),
};

describe('a WebSocket that reads nothing', () => {
  it.each(Object.keys(asking))('is not read while its answers wait: %s', async (what) => {
    const piece = asking[what]!;
    const toll = await target.current.withstands(`A3 ${what}`, async (signal) => {
      const wire = await unread(signal);
      // More than systems buffer of the answers, however short they are.
      return wire.flood(repeat(piece, Math.ceil((24 << 20) / piece.length)));
    });
    // A flood that was taken to its end was read to its end.
    expect(toll.result).toMatch(/^(?:stalled|closed)$/);
    expect(toll.heldBytes).toBeLessThan(waitingBytesMax);
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
  });
});

describe('a client over HTTP that reads nothing', () => {
  it('gets only a few of its answers made', async () => {
    const toll = await target.current.withstands('A7 large answers over HTTP, not read', async (signal) => {
      const largeId = await keepLargeAnswer(signal);
      const input = encodeURIComponent(JSON.stringify({ json: { generationId: largeId } }));
      const batch = encodeURIComponent(
        JSON.stringify(
          Object.fromEntries(Array.from({ length: 50 }, (_, index) => [index, { json: { generationId: largeId } }])),
        ),
      );
      const calls = Array.from({ length: 50 }, () => 'llm.generation').join();
      const kinds = [
        headOf('GET', `/trpc/llm.generation?input=${input}`),
        headOf('GET', `/trpc/${calls}?batch=1&input=${batch}`),
        headOf('GET', `/trpc/llm.generation?input=${input}`).repeat(20),
        headOf('GET', `/api/llm/generations/${largeId}/events`),
      ];
      const verdicts = Array.from({ length: 120 }, async (_, index) => {
        const wire = await openWire(target.current.url, signal);
        wire.socket.pause();
        await wire.flood([kinds[index % kinds.length]!]);
      });
      await Promise.all(verdicts);
      const after = await openWire(target.current.url, signal);
      after.write(headOf('GET', '/healthz'));
      return verdictOf(after, 20_000);
    });
    expect(toll.result).toBe('200');
    expect(toll.heldBytes).toBeLessThan(waitingBytesMax);
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
  });
});

describe('a viewer that only sends is closed, and its model call ended,', () => {
  const hasty = targetForTests(() =>
    options({ LLM_SOCKET_STALL_MS: `${socketStallMs}`, LLM_HEARTBEAT_MS: '500', LLM_LOG_RETENTION_MS: '0' }),
  );

  it('over a WebSocket', async () => {
    const toll = await hasty.current.withstands('A3 a viewer that only sends', async (signal) => {
      upstream.respondWith({ kind: 'manual' });
      const ends = ['PONG', 'PING', '{'].map(async (word) => {
        const wire = await openWebSocketWire(hasty.current.url, signal);
        wire!.write(
          frame(
            '{"id":1,"method":"subscription","params":{"path":"llm.stream","input":{"json":{"config":"default","messages":[{"role":"user","content":"x"}]}}}}',
          ),
        );
        const request = await upstream.nextRequest(signal);
        wire!.socket.pause();
        const sending = setInterval(() => wire!.write(frame(word)), 100);
        const outcome = request.outcome.finally(() => clearInterval(sending));
        signal.addEventListener('abort', () => clearInterval(sending));
        // More than sockets hold. After that upstream waits for the service to close.
        void (async () => {
          for (let piece = 0; piece < 200 && !signal.aborted; piece += 1) await request.text('x'.repeat(64 << 10));
        })();
        return outcome;
      });
      return Promise.all(ends);
    });
    for (const outcome of toll.result) expect(outcome).toBe('client_closed');
  });

  it('over HTTP', async () => {
    const toll = await hasty.current.withstands('A3 a viewer over HTTP that only sends', async (signal) => {
      upstream.respondWith({ kind: 'manual' });
      const ends = ['/api/llm/process_stream/default', '/trpc/llm.stream'].map(async (path) => {
        const wire = await openWire(hasty.current.url, signal);
        const request = '{"config":"default","messages":[{"role":"user","content":"x"}]}';
        const body = path.startsWith('/trpc') ? `{"json":${request}}` : request.replace('"config":"default",', '');
        wire.write(posted(path, body, { accept: 'text/event-stream' }));
        const asked = await upstream.nextRequest(signal);
        wire.socket.pause();
        const sending = setInterval(() => wire.write(headOf('GET', '/healthz')), 100);
        signal.addEventListener('abort', () => clearInterval(sending));
        void (async () => {
          for (let piece = 0; piece < 200 && !signal.aborted; piece += 1) await asked.text('x'.repeat(64 << 10));
        })();
        return asked.outcome.finally(() => clearInterval(sending));
      });
      return Promise.all(ends);
    });
    for (const outcome of toll.result) expect(outcome).toBe('client_closed');
  });
});

it('makes only a few of the answers to queries on a WebSocket that nobody reads', async () => {
  const toll = await target.current.withstands('A3 large answers over a WebSocket, not read', async (signal) => {
    const largeId = await keepLargeAnswer(signal);
    const query = (number: number) =>
      frame(
        `{"id":${number},"method":"query","params":{"path":"llm.generation","input":{"json":{"generationId":"${largeId}"}}}}`,
      );
    const wires = [await unread(signal), await unread(signal)];
    const ends = wires.map((wire) => wire.flood(Array.from({ length: 400 }, (_, number) => query(number))));
    await Promise.all(ends);
    const after = await openWire(target.current.url, signal);
    after.write(headOf('GET', '/healthz'));
    return verdictOf(after, 20_000);
  });
  expect(toll.result).toBe('200');
  expect(toll.heldBytes).toBeLessThan(waitingBytesMax);
});

it('lists many generations many times in one request at little cost', async () => {
  const toll = await target.current.withstands(
    'A7 100 lists of 1,500 generations',
    async (signal) => {
      upstream.respondWith({ kind: 'text', text: 'x' });
      await startMany(1_500, signal);
      await target.current.service.effort();
      const calls = Array.from({ length: 100 }, () => 'llm.generations').join();
      const wire = await openWire(target.current.url, signal);
      wire.write(headOf('GET', `/trpc/${calls}?batch=1`));
      await wire.until((each) => each.bytesReceived > 0, 20_000);
      return /^HTTP\/1\.1 \d{3}/.exec(wire.received.toString('latin1'))?.[0] ?? 'silence';
    },
    90_000,
  );
  expect(toll.result).toMatch(/^HTTP\/1\.1 (?:200|207|4\d\d|503)$/);
  expect(toll.heldBytes).toBeLessThan(waitingBytesMax);
  expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
});

it('serves honest callers beside those that read nothing', async () => {
  const { result } = await target.current.withstands(
    'A3 beside honest callers',
    async (signal) => {
      const { url } = target.current;
      const honest = await startHonestCallers({ url, upstream, number: 6, signal });
      await Promise.all(
        Object.values(asking).map(async (piece) => {
          const wire = await unread(signal);
          await wire.flood(repeat(piece, 20_000));
        }),
      );
      return honest.finish();
    },
    45_000,
  );
  expect(result).toEqual({ whole: 6, failures: [] });
});

/** A WebSocket from which nothing is read any more. */
async function unread(signal: AbortSignal): Promise<Wire> {
  const wire = await openWebSocketWire(target.current.url, signal);
  if (!wire) throw new Error('the service opened no WebSocket');
  wire.socket.pause();
  return wire;
}

/** Stores an answer of two megabytes and returns its id, which is new and was never cancelled. */
async function keepLargeAnswer(signal: AbortSignal): Promise<string> {
  const largeId = crypto.randomUUID();
  upstream.enqueue({ kind: 'text', text: ['x'.repeat(2 << 20)] });
  const wire = await openWire(target.current.url, signal);
  const body = '{"messages":[{"role":"user","content":"x"}]}';
  wire.write(posted('/api/llm/process_stream/default', body, { 'idempotency-key': largeId, connection: 'close' }));
  // Otherwise a later test would take it for one of its own.
  await upstream.nextRequest(signal);
  await wire.closed;
  return largeId;
}

/** Over a few connections, with each answer read to its end. */
async function startMany(number: number, signal: AbortSignal): Promise<void> {
  const body = '{"messages":[{"role":"user","content":"x"}]}';
  const request = posted('/api/llm/process_stream/default', body);
  const connections = 20;
  const runs = Array.from({ length: connections }, async () => {
    const wire = await openWire(target.current.url, signal);
    let ends = 0;
    wire.socket.on('data', (chunk: Buffer) => {
      if (chunk.includes('event: done')) wire.socket.emit('whole', (ends += 1));
    });
    for (let asked = 0; asked < number / connections; asked += 1) {
      const whole = once(wire.socket, 'whole', { signal });
      wire.write(request);
      await whole;
    }
  });
  await Promise.all(runs);
}
