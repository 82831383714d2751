/**
 * If a client offers HTTP/2 or another protocol that the service doesn't speak, it is served over HTTP/1.1: a server
 * may ignore an upgrade.
 */
import { expect, it } from 'vitest';
import { frame, framesIn, headOf, openWebSocketWire, openWire, verdictOf } from './support/attack-wire.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

const h2c = {
  connection: 'Upgrade, HTTP2-Settings',
  upgrade: 'h2c',
  'http2-settings': 'AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
};
const body = '{"messages":[{"role":"user","content":"x"}]}';

async function withWire<T>(
  use: (open: () => ReturnType<typeof openWire>, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  try {
    return await use(() => openWire(test.current.url, over.signal), over.signal);
  } finally {
    over.abort();
  }
}

it.each([
  ['h2c', h2c],
  ['h2c in capitals', { ...h2c, upgrade: 'H2C' }],
  ['TLS', { connection: 'upgrade', upgrade: 'TLS/1.0' }],
  ['two protocols', { ...h2c, upgrade: 'h2c, foo/2' }],
])('serves a GET that offers %s', async (_what, headers) => {
  await withWire(async (open) => {
    const wire = await open();
    wire.write(headOf('GET', '/healthz', headers));
    expect(await verdictOf(wire)).toBe('200');
  });
});

it('serves an answer to a POST that offers h2c, body and all, and the next request of its connection', async () => {
  test.current.upstream.respondWith({ kind: 'text', text: 'hello' });
  await withWire(async (open) => {
    const wire = await open();
    const headers = { ...h2c, 'content-type': 'application/json', 'content-length': body.length };
    wire.write(headOf('POST', '/api/llm/process_stream/default', headers) + body);
    await wire.until(({ received }) => received.includes('event: done'));
    expect(wire.received.toString()).toMatch(/^HTTP\/1\.1 200 /);
    wire.write(headOf('GET', '/healthz'));
    await wire.until(({ received }) => received.includes('{"status":"ok"}'));
    expect(wire.received.toString()).toContain('{"status":"ok"}');
  });
});

it('serves a POST in chunks that offers h2c, and tRPC over SSE', async () => {
  test.current.upstream.respondWith({ kind: 'text', text: 'hello' });
  await withWire(async (open) => {
    const wire = await open();
    const json = `{"json":{"config":"default","messages":[{"role":"user","content":"x"}]}}`;
    const headers = {
      ...h2c,
      accept: 'text/event-stream',
      'content-type': 'application/json',
      'transfer-encoding': 'chunked',
    };
    wire.write(headOf('POST', '/trpc/llm.stream', headers));
    wire.write(`${json.length.toString(16)}\r\n${json}\r\n0\r\n\r\n`);
    await wire.until(({ received }) => received.includes('"type":"done"'));
    expect(wire.received.toString()).toContain('"type":"done"');
  });
});

it('refuses what it would refuse to another client, too', async () => {
  await withWire(async (open) => {
    const wire = await open();
    wire.write(headOf('GET', '/nowhere', h2c));
    expect(await verdictOf(wire)).toMatch(/^404/);
    const foreign = await open();
    foreign.write(headOf('GET', '/api/llm/configs', { ...h2c, origin: 'https://evil.example' }));
    expect(await verdictOf(foreign)).toBe('403 forbidden');
  });
});

it('still opens WebSockets at their path, and nowhere else', async () => {
  await withWire(async (open, signal) => {
    const socket = await openWebSocketWire(test.current.url, signal);
    socket?.write(frame('{"id":1,"method":"query","params":{"path":"llm.configs"}}'));
    await socket?.until((wire) => framesIn(wire).length > 0);
    expect(framesIn(socket!)[0]).toContain('"result"');
    const elsewhere = await open();
    const headers = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': 13,
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    };
    elsewhere.write(headOf('GET', '/nowhere', headers));
    expect(await verdictOf(elsewhere)).toMatch(/^4\d\d/);
  });
});
