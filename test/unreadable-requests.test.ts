/** What Node's parser can't read, or would refuse by itself, is refused like everything else: with a code, words and a line in the log. */
import { expect, it } from 'vitest';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { headOf, openWire } from './support/attack-wire.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { serviceForEachTest } from './support/service.ts';

finishesCleanly();
const canary = 'canary';
const written: string[] = [];
const telemetry = new Telemetry({
  logLevel: 'info',
  logContent: false,
  destination: { write: (line) => void written.push(line) },
});
const test = serviceForEachTest({ telemetry });

const post = { 'content-type': 'application/json', 'content-length': 2 };

it.each([
  ['garbage', `${canary}\r\n\r\n`, 400, 'invalid_input', 'HTTP/1.1'],
  ['a start of TLS', `\u0016\u0003\u0001\u0002\u0000\u0001${canary}\r\n\r\n`, 400, 'invalid_input', 'HTTP/1.1'],
  ['a head that is too large', headOf('GET', '/', { 'x-a': canary.repeat(10_000) }), 431, 'too_large', 'head'],
  [
    'an unknown expectation',
    `${headOf('POST', '/', { ...post, expect: canary })}{}`,
    417,
    'invalid_input',
    '100-continue',
  ],
  ['no Host', `GET / HTTP/1.1\r\nx-a: ${canary}\r\n\r\n`, 400, 'invalid_input', 'Host'],
  [
    'two lengths',
    `${headOf('POST', '/', { ...post, 'transfer-encoding': 'chunked' })}0\r\n\r\n`,
    400,
    'invalid_input',
    'HTTP/1.1',
  ],
])('%s is refused with a code, in words, and in the log', async (_what, text, status, code, words) => {
  written.length = 0;
  const over = new AbortController();
  const wire = await openWire(test.current.url, over.signal);
  wire.write(text);
  await wire.until(({ received }) => received.includes('}}') || received.includes(']}}'));
  const received = wire.received.toString();
  over.abort();
  expect(received).toContain(`HTTP/1.1 ${status} `);
  const { error } = JSON.parse(received.slice(received.indexOf('{'))) as { error: { code: string; message: string } };
  expect(error).toMatchObject({ code, message: expect.stringContaining(words), retryable: false });
  const requestId = /x-request-id: (\S+)/i.exec(received)?.[1];
  await eventually(() => expect(written.join('')).toContain(requestId));
  expect(received + written.join('')).not.toContain(canary);
});

it('garbage after a request that is being answered ends the connection, and never stands in the answer', async () => {
  test.current.upstream.respondWith({ kind: 'text', text: 'hello' });
  const over = new AbortController();
  const wire = await openWire(test.current.url, over.signal);
  const body = '{"messages":[{"role":"user","content":"x"}]}';
  const headers = { ...post, 'content-length': body.length };
  wire.write(`${headOf('POST', '/api/llm/process_stream/default', headers)}${body}${canary}\r\n\r\n`);
  await wire.closed;
  expect(wire.received.toString()).not.toContain('400 Bad Request');
  expect((await send(`${test.current.url}/healthz`)).status).toBe(200);
  over.abort();
});

it.each([
  ['whose client leaves in its middle', { 'content-length': 100 }, '{'],
  ['with nonsense between its chunks', { 'transfer-encoding': 'chunked' }, '1\r\n{\r\nZZ\r\n'],
])('a body %s is a refusal, and no error of the service', async (_what, head, begun) => {
  written.length = 0;
  const over = new AbortController();
  const wire = await openWire(test.current.url, over.signal);
  wire.write(
    headOf('POST', '/api/llm/process_stream/default', { 'content-type': 'application/json', ...head }) + begun,
  );
  await send(`${test.current.url}/healthz`);
  over.abort();
  await eventually(() => expect(written.join('')).toContain('invalid_input'));
  expect(written.join('')).not.toContain('internal');
});
