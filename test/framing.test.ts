/** What the doors write past node and `ws` is what those would have written: any length, any script, any client. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { doors, readAll, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

/** Around the lengths at which a WebSocket's frame gets another head, and beyond what one write takes. */
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
      // One by one, so that each is a frame of its own.
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

describe.each(paths)('%s on a bare connection', (_name, path, wrap) => {
  const text = ['plain', 'grüße', '语言', '😀'];
  const bodyOf = () => JSON.stringify(wrap(ask('hi')));

  /** All that comes until the answer's end, which is the connection's where `close` is asked for. */
  async function answer(version: string): Promise<Buffer> {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'text', text });
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    const body = bodyOf();
    const head = `POST ${path} HTTP/${version}\r\nhost: ${hostname}\r\ncontent-type: application/json\r\nconnection: close`;
    socket.write(`${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close');
    return Buffer.concat(chunks);
  }

  it('is chunked as HTTP/1.1 has it, to the last byte', async () => {
    const bytes = await answer('1.1');
    const bodyAt = bytes.indexOf('\r\n\r\n') + 4;
    expect(bytes.toString('latin1', 0, bodyAt).toLowerCase()).toContain('transfer-encoding: chunked');
    const body = dechunk(bytes.subarray(bodyAt)).toString();
    for (const piece of text) expect(body).toContain(piece);
    expect(body).toMatch(/^retry: \d+\n\n/);
    expect(body.match(/"type":"done"/g)).toHaveLength(1);
  });

  it('goes unchunked to a client of HTTP/1.0', async () => {
    const bytes = await answer('1.0');
    const bodyAt = bytes.indexOf('\r\n\r\n') + 4;
    expect(bytes.toString('latin1', 0, bodyAt).toLowerCase()).not.toContain('transfer-encoding');
    const body = bytes.toString('utf8', bodyAt);
    for (const piece of text) expect(body).toContain(piece);
    expect(body).toMatch(/^retry: \d+\n\n(?:(?:event|data|id): .*\n)/);
    expect(body.match(/"type":"done"/g)).toHaveLength(1);
  });
});

/** A chunked body's bytes (RFC 9112, 7.1), without mercy. */
function dechunk(bytes: Buffer): Buffer {
  const chunks: Buffer[] = [];
  for (let at = 0; ;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    const size = bytes.toString('latin1', at, lineEnd);
    expect(size).toMatch(/^[0-9a-f]+$/);
    const start = lineEnd + 2;
    const end = start + Number.parseInt(size, 16);
    expect(bytes.toString('latin1', end, end + 2)).toBe('\r\n');
    if (end === start) {
      expect(bytes.length).toBe(end + 2);
      return Buffer.concat(chunks);
    }
    chunks.push(bytes.subarray(start, end));
    at = end + 2;
  }
}
