/**
 * However the bytes of an answer are cut into reads, and whatever HTTP allows around them: its text is the same whether
 * the bytes went through node's HTTP parser or past it, and the connection can be used again.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LLMService } from '../src/upstream/llm-service.ts';
import type { LlmEvent } from '../src/protocol.ts';
import { ResponseBody } from '../src/upstream/http/body.ts';
import { ChunkFraming } from '../src/upstream/http/chunk-framing.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { hello, takeApart, testConfig } from './support/llm-stream.ts';

finishesCleanly();
afterEach(() => void vi.restoreAllMocks());

/** The bytes in pieces that end at these positions. */
function cut(bytes: Buffer, ends: readonly number[]): Buffer[] {
  const all = [...new Set([...ends.filter((end) => end < bytes.length), bytes.length])].toSorted((a, b) => a - b);
  return all.map((end, at) => bytes.subarray(all[at - 1] ?? 0, end));
}

describe('the framing of a chunked body', () => {
  const size = fc.record({ capitals: fc.boolean(), digits: fc.integer({ min: 1, max: 7 }) });
  const chunk = fc.record({ data: fc.uint8Array({ minLength: 1, maxLength: 40 }), size });

  function frame({
    data,
    size: { capitals, digits },
  }: {
    data: Uint8Array;
    size: { capitals: boolean; digits: number };
  }) {
    const hex = data.length.toString(16).padStart(digits, '0');
    return Buffer.concat([Buffer.from(`${capitals ? hex.toUpperCase() : hex}\r\n`), data, Buffer.from('\r\n')]);
  }

  it('finds each chunk that a read holds whole, and no other, wherever reads end', () => {
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 20 }), fc.array(fc.nat(600), { maxLength: 12 }), (chunks, cuts) => {
        const frames = chunks.map(frame);
        const bounds = [0];
        for (const each of frames) bounds.push(bounds.at(-1)! + each.length);
        const framing = new ChunkFraming();
        let start = 0;
        for (const read of cut(Buffer.concat(frames), cuts)) {
          const end = start + read.length;
          const first = bounds.findIndex((bound) => bound >= start);
          const last = bounds.findLastIndex((bound) => bound <= end);
          const told = framing.follow(read, 0, read.length);
          const expected = chunks.slice(first, Math.max(first, last)).map(({ data }) => Buffer.from(data));
          expect(told.chunks).toEqual(expected);
          if (last >= first) expect([told.from, told.to]).toEqual([bounds[first]! - start, bounds[last]! - start]);
          else expect([told.from, told.to]).toEqual([read.length, read.length]);
          start = end;
        }
        expect(framing.lost).toBe(false);
      }),
    );
  });

  it.each([
    ['the last chunk', '0\r\n\r\n'],
    ['a last chunk of many digits', '0000\r\n\r\n'],
    ['an extension', '3;name=value\r\nabc\r\n'],
    ['blanks after the size', '3 \r\nabc\r\n'],
    ['no size', '\r\nabc\r\n'],
    ['a size that is no number', 'xyz\r\nabc\r\n'],
    ['a size of eight digits', '00000003\r\nabc\r\n'],
    ['a size line that ends in LF', '3\nabc\r\n'],
    ['a size line that ends in CR', '3\rabc\r\n'],
    ['data longer than its size', '3\r\nabcd\r\n'],
    ['data without its line end', '3\r\nabc\n\n'],
  ])('is lost at %s, and told up to there', (_what, odd) => {
    const bytes = Buffer.from(`2\r\nhi\r\n${odd}2\r\nno\r\n`);
    const framing = new ChunkFraming();
    const { chunks, from, to } = framing.follow(bytes, 0, bytes.length);
    expect(chunks.map(String)).toEqual(['hi']);
    expect([from, to]).toEqual([0, 7]);
    expect(framing.lost).toBe(true);
  });
});

// ------------------------------------------------------------------------------------------------------- over a socket

const texts = Array.from({ length: 6 }, (_, number) => ` ${number} grüße 語 ${'x'.repeat(number * 7)}`);
const events = [
  { type: 'message_start', message: { usage: { input_tokens: 1, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  ...texts.map((text) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })),
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 6 } },
  { type: 'message_stop' },
];
/** Ends its lines as the first line of a chunk could end a head. */
const crLfBody = events.map((event) => `event: ${event.type}\r\ndata: ${JSON.stringify(event)}\r\n\r\n`);
const lfBody = crLfBody.map((event) => event.replaceAll('\r\n', '\n'));

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
const chunkOf = (data: string, extension = '') => `${Buffer.byteLength(data).toString(16)}${extension}\r\n${data}\r\n`;
const chunked = (body: readonly string[], extension?: string) => body.map((data) => chunkOf(data, extension)).join('');
const lastChunk = '0\r\n\r\n';

/** Answers with one text, in all forms that HTTP has for them. */
const answers: Readonly<Record<string, string>> = {
  'a chunk for each event': head + chunked(lfBody) + lastChunk,
  'blank lines as after a head': head + chunked(crLfBody) + lastChunk,
  'all in one chunk': head + chunked([lfBody.join('')]) + lastChunk,
  'a chunk for each character': head + chunked(Array.from(lfBody.join(''))) + lastChunk,
  extensions: head + chunked(lfBody, ';a=b') + lastChunk,
  'extensions in the middle': head + chunked(lfBody.slice(0, 4)) + chunked(lfBody.slice(4), ';a=b') + lastChunk,
  trailers: `${head}${chunked(lfBody)}0\r\nx-trailer: 1\r\n\r\n`,
  'an interim answer': `HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${head}${chunked(crLfBody)}${lastChunk}`,
  'a length': `${head.replace('transfer-encoding: chunked', `content-length: ${Buffer.byteLength(lfBody.join(''))}`)}${lfBody.join('')}`,
};

/** An upstream that writes to its sockets what the test says. Each piece is meant to arrive as one read. */
async function startUpstream() {
  let answer: (number: number) => readonly Buffer[] = () => [];
  let connections = 0;
  let requests = 0;
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    let received = '';
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1');
      const [, length] = /content-length: (\d+)/i.exec(received) ?? [];
      const body = received.indexOf('\r\n\r\n') + 4;
      if (length === undefined || received.length < body + Number(length)) return;
      received = '';
      requests += 1;
      void send(socket, answer(requests));
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const llm = new LLMService({ resolveUpstream: () => ({ baseUrl, simulated: false }) });
  return {
    llm,
    answerWith(next: typeof answer) {
      answer = next;
      requests = 0;
    },
    get connections() {
      return connections;
    },
    async hear() {
      const heard: LlmEvent[] = [];
      for await (const batch of llm.stream(request, new AbortController().signal)) heard.push(...batch);
      return takeApart(heard);
    },
    async [Symbol.asyncDispose]() {
      await llm[Symbol.asyncDispose]();
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const request = { config: testConfig({ retries: { max: 0 } }), messages: hello, variables: {} };

async function send(socket: Socket, pieces: readonly Buffer[]): Promise<void> {
  for (const piece of pieces) {
    // A piece that is written at the end of a turn is read by the other side, in this process, before the end of the
    // next turn.
    await new Promise(setImmediate);
    socket.write(piece);
  }
}

describe.each(Object.entries(answers))('an answer with %s', (_form, text) => {
  const bytes = Buffer.from(text);

  it('is the same wherever a read ends', async () => {
    await using upstream = await startUpstream();
    // Every position in the first bytes, where the head ends; then every third.
    const places = [...bytes.keys()].filter((at) => at < 160 || at % 3 === 0);
    for (const at of places) {
      upstream.answerWith(() => cut(bytes, [at]));
      const { text: heard, terminal } = await upstream.hear();
      if (heard !== texts.join('') || terminal.type !== 'done') expect.fail(`cut at ${at}: ${terminal.type}, ${heard}`);
    }
    // One attempt, unless a busy machine held up the end of an answer until the service gave it up.
    expect(upstream.connections).toBeLessThan(places.length / 10);
  });

  it('is the same in reads of any size', async () => {
    await using upstream = await startUpstream();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 40 }), async (ends) => {
        upstream.answerWith(() => cut(bytes, ends));
        const { text: heard, terminal } = await upstream.hear();
        expect([heard, terminal.type]).toEqual([texts.join(''), 'done']);
      }),
    );
  });
});

it('bytes within a chunk that look like a chunk are none, even if reads end as if they were', async () => {
  await using upstream = await startUpstream();
  // For an event stream these are two lines to skip.
  const decoy = '3\r\n: a\r\n';
  const first = `${crLfBody[0]}${decoy}${crLfBody.slice(1).join('')}`;
  const bytes = Buffer.from(head + chunkOf(first) + lastChunk);
  const at = bytes.indexOf(decoy);
  for (const inBlankLine of [1, 2, 3]) {
    upstream.answerWith(() => cut(bytes, [head.length - inBlankLine, at, at + decoy.length]));
    const { text, terminal } = await upstream.hear();
    expect([text, terminal.type]).toEqual([texts.join(''), 'done']);
  }
  // If the parser had missed the decoy it would still wait for bytes, and the service would give up the connection.
  expect(upstream.connections).toBeLessThan(3);
});

describe('of an answer whose chunks come one by one', () => {
  const pieces = [head, ...lfBody.map((event) => chunkOf(event)), lastChunk].map((piece) => Buffer.from(piece));

  it('all but the ends go past the parser', async () => {
    await using upstream = await startUpstream();
    upstream.answerWith(() => pieces);
    const sizes = lfBody.map((event) => Buffer.byteLength(event));
    let passed: number[] = [];
    // If the machine held the reader up, one read has several pieces, with the head among them. Then it is tried again.
    for (let times = 0; times < 20 && passed.length < sizes.length; times += 1) {
      const past = vi.spyOn(ResponseBody.prototype, 'takeChunks');
      expect((await upstream.hear()).text).toBe(texts.join(''));
      passed = past.mock.calls.flatMap(([chunks]) => chunks.map(({ length }) => length));
      past.mockRestore();
    }
    expect(passed).toEqual(sizes);
  });

  it('an answer that broke off ends as truncated, with all text before the break', async () => {
    await using upstream = await startUpstream();
    for (const broken of ['zz\r\n', '5\r\nabcdefgh\r\n']) {
      upstream.answerWith(() => [...pieces.slice(0, 6), Buffer.from(broken)]);
      const { text, terminal } = await upstream.hear();
      expect(text).toBe(texts.slice(0, 3).join(''));
      expect(terminal).toMatchObject({ type: 'error', code: 'upstream_truncated' });
    }
  });

  it('bytes that the parser refuses end the answer, wherever reads end', async () => {
    await using upstream = await startUpstream();
    const spoilt = '5\r\nabcdeXX';
    const bytes = Buffer.from(head + chunked(lfBody.slice(0, 4)) + spoilt + chunked(lfBody.slice(4)) + lastChunk);
    const at = bytes.indexOf(spoilt);
    for (let place = at - 10; place < at + spoilt.length + 10; place += 1) {
      upstream.answerWith(() => cut(bytes, [head.length, place]));
      const { text, terminal } = await upstream.hear();
      expect(text).toBe(texts.slice(0, 2).join(''));
      expect(terminal).toMatchObject({ type: 'error', code: 'upstream_truncated' });
    }
  });

  it('bytes for which the taker has no room are kept, whatever is read meanwhile', async () => {
    await using upstream = await startUpstream();
    upstream.answerWith((number) => [
      Buffer.from(head),
      ...lfBody.map((event) => Buffer.from(chunkOf(event.replaceAll('grüße', `answer ${number}`)))),
      Buffer.from(lastChunk),
    ]);
    const heard: LlmEvent[][] = [[], []];
    const takers = heard.map(async (mine) => {
      await upstream.llm.pipe(request, new AbortController().signal, async (batch) => {
        mine.push(...batch);
        // Longer than the next reads take.
        for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
      });
    });
    await Promise.all(takers);
    const heardTexts = heard.map((each) => takeApart(each).text).toSorted();
    expect(heardTexts).toEqual([1, 2].map((number) => texts.join('').replaceAll('grüße', `answer ${number}`)));
  });

  it('more bytes than are read ahead arrive whole and in order, however long the taker is busy', async () => {
    await using upstream = await startUpstream();
    const many = Array.from({ length: 4_000 }, (_, number) => ` ${number} ${'x'.repeat(number % 50)}`);
    const delta = (text: string) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
    const body = [...events.slice(0, 2), ...many.map(delta), ...events.slice(-3)]
      .map((event) => chunkOf(`data: ${JSON.stringify(event)}\n\n`))
      .join('');
    upstream.answerWith(() =>
      cut(Buffer.from(head + body + lastChunk), [head.length, 20_000, 90_001, 200_002, 300_003]),
    );
    const past = vi.spyOn(ResponseBody.prototype, 'takeChunks');
    const heard: LlmEvent[] = [];
    await upstream.llm.pipe(request, new AbortController().signal, async (batch) => {
      heard.push(...batch);
      for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate);
    });
    expect(takeApart(heard).text === many.join('')).toBe(true);
    expect(past).toHaveBeenCalled();
  });

  it.each([
    ['whole chunks', 0],
    ['chunks cut in two', 20],
  ])('what comes without a pause as %s is merged', async (_as, shift) => {
    await using upstream = await startUpstream();
    const many = Array.from({ length: 1_000 }, (_, number) => ` ${number}`);
    const delta = (text: string) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
    const frames = [...many.map(delta), ...events.slice(-3)].map((event) =>
      chunkOf(`data: ${JSON.stringify(event)}\n\n`),
    );
    const ends = [Buffer.byteLength(head + chunked(lfBody.slice(0, 2)))];
    for (const frame of frames) ends.push(ends.at(-1)! + frame.length);
    const bytes = Buffer.from(head + chunked(lfBody.slice(0, 2)) + frames.join('') + lastChunk);
    const places = ends.map((end) => end + shift);
    upstream.answerWith(() => cut(bytes, places));
    // On a busy machine there are pauses that the test did not make.
    await eventually(async () => {
      const heard: LlmEvent[] = [];
      await upstream.llm.pipe(request, new AbortController().signal, (batch) => void heard.push(...batch));
      expect(takeApart(heard).text).toBe(many.join(''));
      expect(heard.length).toBeLessThan(many.length / 2);
    });
  });
});
