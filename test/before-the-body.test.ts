/**
 * The service checks the credentials in the head before it reads a body, and bounds a body in pieces as well as in
 * bytes.
 */
import { createHash } from 'node:crypto';
import { connect, Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { BodyPieces } from '../src/doors/body-pieces.ts';
import { ReadingTurns } from '../src/server/reading-turns.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson } from './support/raw-http.ts';
import { openSocket } from './support/raw-websocket.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const key = 'sk-alice';
const sha256 = createHash('sha256').update(key).digest('hex');
const authorization = `Bearer ${key}`;
const paths = ['/trpc/llm.stream', '/trpc/llm.cancel', '/api/llm/process_stream/default', '/nonsense'];

/** The response to the head of a request whose body never arrives. */
async function answerToHead(url: string, path: string, headers: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(`POST ${path} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\n${headers}\r\n\r\n`);
  const [answer] = await new Promise<Buffer[]>((resolve) => socket.once('data', (data: Buffer) => resolve([data])));
  socket.destroy();
  return answer!.toString();
}

describe('a service with keys', () => {
  const test = serviceForEachTest({ env: { LLM_API_KEYS: `alice:${sha256}` } });

  it.each(paths)('answers %s without a key before any of the body has come', async (path) => {
    const answer = await answerToHead(test.current.url, path, 'content-length: 9000000');
    expect(answer).toMatch(/unauthorized|No such route/);
  });

  it('closes a connection whose body comes in more pieces than its size explains', async () => {
    const { hostname, port } = new URL(test.current.url);
    const socket = connect(Number(port), hostname);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.resume();
    socket.write(
      `POST /trpc/llm.stream HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: ${authorization}\r\n` +
        'content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n',
    );
    socket.write('1\r\n \r\n'.repeat(30_000));
    await closed;
  });
});

describe('a body in one-byte chunks that nobody reads', () => {
  const test = serviceForEachTest({ env: { LLM_API_KEYS: `alice:${sha256}` } });

  it.each([...paths, '/healthz'])('is not read to its end, and its connection is closed: %s', async (path) => {
    const { hostname, port } = new URL(test.current.url);
    const socket = connect(Number(port), hostname);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.resume();
    socket.write(
      `POST ${path} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    socket.write('1\r\n \r\n'.repeat(1_000));
    await closed;
  });

  it('lets a connection go on whose body came in few', async () => {
    const { hostname, port } = new URL(test.current.url);
    const socket = connect(Number(port), hostname).setEncoding('utf8');
    let text = '';
    const answers = new Promise<void>((resolve) => {
      socket.on('data', (more: string) => (text += more).includes('"ok"') && resolve());
    });
    socket.write(`POST /nonsense HTTP/1.1\r\nhost: ${hostname}\r\ntransfer-encoding: chunked\r\n\r\n`);
    socket.write(`1000\r\n${' '.repeat(4_096)}\r\n`.repeat(100));
    socket.write(`0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`);
    await answers;
    expect(text).toContain('No such route');
    socket.destroy();
  });
});

it('a turn of the event loop that brings many pieces of bodies is cut', async () => {
  let cuts = 0;
  using pieces = new BodyPieces(() => (cuts += 1));
  for (let piece = 1; piece <= 5_000; piece += 1) expect(pieces.count(piece, 0)).toBe(true);
  expect(cuts).toBe(1);
  await new Promise((resolve) => setImmediate(resolve));
  for (let piece = 1; piece <= 999; piece += 1) pieces.count(piece, 0);
  expect(cuts).toBe(1);
  expect(pieces.count(10_001, 0)).toBe(false);
  expect(cuts).toBe(2);
  expect(pieces.count(10_001, 16)).toBe(true);
});

it('connections whose reading was cut are read again in turn, also while every turn is cut', async () => {
  const sockets = Array.from({ length: 20 }, () => new Socket());
  // Flowing, as those of a server are.
  for (const socket of sockets) socket.resume();
  const paused = () => sockets.filter((socket) => socket.isPaused());
  using turns = new ReadingTurns(() => sockets);
  turns.cut();
  expect(paused()).toHaveLength(20);
  const resumed = new Set<Socket>();
  for (let turn = 1; turn <= 3; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    for (const socket of sockets) if (!socket.isPaused()) resumed.add(socket);
    expect(paused().length).toBeGreaterThanOrEqual(12);
    turns.cut();
  }
  expect(resumed.size).toBe(20);
  // Two turns: the first was cut, the second is not.
  for (let turn = 1; turn <= 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(paused()).toHaveLength(0);
});

describe('JSON of many values or levels', () => {
  const test = serviceForEachTest({ env: { LLM_JSON_VALUES_MAX: '1000' } });
  const many = { ...ask('hi'), messages: [{ role: 'user', content: [{ type: 'any', list: Array(2_000).fill(1) }] }] };

  it.each([
    ['/trpc/llm.stream', { json: many }],
    ['/trpc/llm.cancel', { json: many }],
    ['/api/llm/process_stream/default', many],
  ])('is refused at %s before it is parsed', async (path, body) => {
    expect((await postJson(`${test.current.url}${path}`, body)).text).toContain('too_large');
  });

  it('is refused over WebSocket, and so are more calls in one message than a batch has', async () => {
    using socket = await openSocket(test.current.url);
    for (const message of [
      JSON.stringify({ id: 1, method: 'query', params: many }),
      JSON.stringify(Array(200).fill(1)),
    ]) {
      socket.send(message);
      expect(JSON.stringify(await socket.next())).toContain('too_large');
    }
    socket.send(JSON.stringify({ id: 'a'.repeat(1_000), method: 'query', params: { path: 'llm.configs' } }));
    const refused = JSON.stringify(await socket.next());
    expect(refused).toContain('"id":null');
    expect(refused.length).toBeLessThan(1_000);
  });
});

describe('a refusal', () => {
  const test = serviceForEachTest({});

  it.each([
    ['many issues', { messages: Array(1_500).fill({ role: 'nobody', content: 'hi' }) }],
    ['long names', { variables: { ['a'.repeat(100_000)]: 1 } }],
  ])('of %s lists the first of them, each cut short', async (_what, wrong) => {
    const { url } = test.current;
    const { text } = await postJson(`${url}/api/llm/process_stream/default`, { ...ask('hi'), ...wrong });
    expect(text).toContain('invalid_input');
    expect(text.length).toBeLessThan(20_000);
  });

  it('of an unknown config repeats only as many characters of its name as a real name may have', async () => {
    const answer = await postJson(`${test.current.url}/trpc/llm.stream`, {
      json: ask('hi', { config: 'x'.repeat(100_000) }),
    });
    expect(answer.text).toContain('Configuration not found');
    expect(answer.text.length).toBeLessThan(5_000);
  });

  it.each([
    ['over HTTP', {}],
    ['as an event', { accept: 'text/event-stream' }],
  ])('of a procedure that isn’t there repeats no long path %s', async (_how, headers) => {
    const { text } = await postJson(`${test.current.url}/trpc/${'x'.repeat(10_000)}`, {}, headers);
    expect(text).toContain('invalid_input');
    expect(text.length).toBeLessThan(2_000);
  });

  it.each(['query', 'mutation', 'subscription'])('of a %s over WebSocket repeats no long path', async (method) => {
    using socket = await openSocket(test.current.url);
    socket.send(JSON.stringify({ id: 1, method, params: { path: 'x'.repeat(100_000) } }));
    const refused = JSON.stringify(await socket.next());
    expect(refused).toContain('"id":1');
    expect(refused).toContain('invalid_input');
    expect(refused.length).toBeLessThan(1_000);
  });
});
