/**
 * The bytes that the doors write past node and `ws` are the same that node and `ws` would have written: for every
 * length, every script and every client.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { beforeEach, describe, expect, it } from 'vitest';
import { doors, readAll, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

/** Lengths around those at which a WebSocket frame gets another head, and more than one write takes. */
const lengths = [1, 20, 60, 125, 126, 127, 1_000, 65_000, 65_535, 65_536, 70_000, 300_000];

describe.each([
  ['ASCII', 'a'],
  ['Latin-1', 'é'],
  ['Chinese', '语'],
  ['characters of two units', '😀'],
])('%s of any length', (_name, character) => {
  it.each(doors)('arrives whole over $name', async (door) => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const view = door.stream(url, ask('hi'));
    const request = await upstream.nextRequest();
    let expected = '';
    for (const length of lengths) {
      const piece = `${length} ${character.repeat(length)}`;
      expected += piece;
      await request.text(piece);
      // One by one, so that each becomes a frame of its own.
      while (textOf(view.seen).length < expected.length)
        await view.until(() => textOf(view.seen).length >= expected.length);
    }
    request.finish();
    expect(textOf(await readAll(view)) === expected).toBe(true);
  });
});

const paths = [
  ['the tRPC door', '/trpc/llm.stream', (request: object) => ({ json: request })],
  ['REST', '/api/llm/process_stream/default', ({ messages }: { messages?: unknown }) => ({ messages })],
] as const;

/**
 * A block with the JSON of an event, or one of the two blocks by which tRPC's links recognize a heartbeat and the end.
 */
const blockWithData = /^data: \{.+\}$|^event: (?:ping|return)\ndata: $/m;

describe.each(paths)('%s on a bare connection', (_name, path, wrap) => {
  const text = ['plain', 'grüße', '语言', '😀'];

  function requestOf(version: string, ...headers: readonly string[]): string {
    const body = JSON.stringify(wrap(ask('hi')));
    const head = [
      `POST ${path} HTTP/${version}`,
      'host: 127.0.0.1',
      'content-type: application/json',
      `content-length: ${Buffer.byteLength(body)}`,
      ...headers,
    ];
    return `${head.join('\r\n')}\r\n\r\n${body}`;
  }

  /**
   * Everything that arrives until the connection ends, which the last request asks for; piece by piece, as it was read.
   */
  async function answer(...requests: readonly string[]): Promise<Buffer[]> {
    const { hostname, port } = new URL(test.current.url);
    const socket = connect(Number(port), hostname);
    socket.write(requests.join(''));
    const pieces: Buffer[] = [];
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    await once(socket, 'close');
    return pieces;
  }

  beforeEach(() => test.current.upstream.respondWith({ kind: 'text', text }));

  function expectWhole(body: string): void {
    for (const piece of text) expect(body).toContain(piece);
    expect(body).toMatch(/^retry: \d+\n(?:event|id): /);
    expect(body.match(/"type":"done"/g)).toHaveLength(1);
    // Some readers make an event of every block, with whatever data it has.
    for (const block of body.split('\n\n').slice(0, -1)) expect(block).toMatch(blockWithData);
  }

  it('is the status line, then the headers, then each chunk, to the last byte', async () => {
    const pieces = await answer(requestOf('1.1', 'connection: close'));
    const [{ head, body }, ...others] = parseAnswers(Buffer.concat(pieces));
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expectWhole(body);
    expect(others).toEqual([]);
    // Each write to the system costs as much as half a token.
    expect(pieces[0]!.toString()).toContain('retry: ');
  });

  it('goes unchunked to a client of HTTP/1.0', async () => {
    const bytes = Buffer.concat(await answer(requestOf('1.0')));
    const bodyAt = bytes.indexOf('\r\n\r\n') + 4;
    const head = bytes.toString('latin1', 0, bodyAt);
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(head.toLowerCase()).not.toContain('transfer-encoding');
    expectWhole(bytes.toString('utf8', bodyAt));
  });

  it('follows others on its connection in the order of their requests, though they were sent at once', async () => {
    const requests = [requestOf('1.1'), requestOf('1.1'), requestOf('1.1', 'connection: close')];
    const answers = parseAnswers(Buffer.concat(await answer(...requests)));
    expect(answers).toHaveLength(3);
    for (const { head, body } of answers) {
      expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expectWhole(body);
    }
  });

  it('comes after the 100 Continue for which a client waits with its body', async () => {
    const pieces = await answer(requestOf('1.1', 'expect: 100-continue', 'connection: close'));
    const goAhead = 'HTTP/1.1 100 Continue\r\n\r\n';
    const bytes = Buffer.concat(pieces);
    expect(bytes.toString('latin1', 0, goAhead.length)).toBe(goAhead);
    const [{ head, body }] = parseAnswers(bytes.subarray(goAhead.length));
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expectWhole(body);
  });

  it('has no line end within its JSON, also for readers that end lines at more characters', async () => {
    const { url, upstream } = test.current;
    const strange = 'a\u2028b\u2029c\u0085d\u000be\u000cf\u001cg\u001dh\u001ei';
    upstream.respondWith({ kind: 'text', text: [strange, `${strange}语😀`] });
    for (const version of ['1.1', '1.0']) {
      const bytes = Buffer.concat(await answer(requestOf(version, 'connection: close'))).toString();
      // The pattern has to find control characters: some readers end a line at these.
      // oxlint-disable-next-line no-control-regex
      expect(bytes).not.toMatch(/[\u0085\u2028\u2029\v\f\u001c-\u001e]/);
      expect(bytes).toContain(String.raw`a\u2028b\u2029c\u0085d`);
    }
    for (const door of doors)
      expect(textOf(await readAll(door.stream(url, ask('hi'))))).toBe(`${strange}${strange}语😀`);
  });
});

describe.each(paths)('%s through a silence', (_name, path, wrap) => {
  const quiet = serviceForEachTest({ env: { LLM_HEARTBEAT_MS: '10' } });

  it('ends no block without data, which some readers would treat as an event', async () => {
    const { url, upstream } = quiet.current;
    upstream.respondWith({ kind: 'manual' });
    const headers = { 'content-type': 'application/json' };
    const { body } = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(wrap(ask('hi'))) });
    const request = await upstream.nextRequest();
    let heard = '';
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      heard += Buffer.from(chunk).toString();
      if (request.bytesSent === 0 && heard.match(/^:$|^event: ping$/gm)?.length === 2) {
        await request.text('after a silence');
        request.finish();
      }
    }
    expect(heard).toContain('after a silence');
    for (const block of heard.split('\n\n').slice(0, -1)) expect(block).toMatch(blockWithData);
  });
});

interface Answer {
  readonly head: string;
  readonly body: string;
}

/** Parses chunked responses, one after the other, and accepts no deviation from RFC 9112, section 7.1. */
function parseAnswers(bytes: Buffer): [Answer, ...Answer[]] {
  const answers: Answer[] = [];
  for (let at = 0; at < bytes.length;) {
    const bodyAt = bytes.indexOf('\r\n\r\n', at) + 4;
    const head = bytes.toString('latin1', at, bodyAt);
    expect(head.toLowerCase()).toContain('transfer-encoding: chunked');
    const { body, end } = dechunk(bytes, bodyAt);
    answers.push({ head, body });
    at = end;
  }
  expect(answers).not.toEqual([]);
  return answers as [Answer, ...Answer[]];
}

function dechunk(bytes: Buffer, from: number): { readonly body: string; readonly end: number } {
  const chunks: Buffer[] = [];
  for (let at = from; ;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    const size = bytes.toString('latin1', at, lineEnd);
    expect(size).toMatch(/^[0-9a-f]+$/);
    const start = lineEnd + 2;
    const end = start + Number.parseInt(size, 16);
    expect(bytes.toString('latin1', end, end + 2)).toBe('\r\n');
    if (end === start) return { body: Buffer.concat(chunks).toString(), end: end + 2 };
    chunks.push(bytes.subarray(start, end));
    at = end + 2;
  }
}
