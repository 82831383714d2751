/**
 * The upstream of a benchmark, in a process of its own: the Messages API's event stream, with one TCP write per token,
 * at a set pace or as fast as the reader takes them. Records when it sent each token. The prompt says which stream a
 * request is for ("stream 3 of 50"), because every server under test passes the prompt on.
 */
import http, { type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { monotonicMs } from '../wire/clock.ts';
import { serveCommands } from '../wire/rpc.ts';
import { tokens } from '../wire/tokens.ts';

export interface Answer {
  readonly tokens: number;
  /** Tokens per second of each stream; absent: as fast as its reader takes them. */
  readonly tokensPerSecond?: number;
  /**
   * No stream gets a token before this many streams are open, so that the cost of opening them is no part of the cost
   * of streaming.
   */
  readonly gather?: number;
  /** The time from that moment to the first token. */
  readonly delayMs?: number;
  /** Leaves each stream open after its last token. */
  readonly hold?: boolean;
}

export interface SentStream {
  /** When each token was sent; empty for answers of more than `timedTokensMax`. */
  readonly sentAtMs: Float64Array;
  readonly sent: number;
}

export type UpstreamCommands = {
  /** Sets the answer to all later requests, and forgets what was sent before. */
  setUp(answer: Answer): void;
  /** What was sent, by the number of the stream. */
  sent(params: { times: boolean }): ReadonlyMap<number, SentStream>;
  /** How many streams are open. */
  open(params: null): number;
};

const timedTokensMax = 20_000;
const chunk = (event: { readonly type: string; readonly [field: string]: unknown }) => {
  const frame = `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
  return Buffer.from(`${Buffer.byteLength(frame).toString(16)}\r\n${frame}\r\n`);
};
const deltas = tokens.map((text) =>
  chunk({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }),
);
const message = { id: 'msg_bench', type: 'message', role: 'assistant', model: 'claude-sonnet-5-5', content: [] };
const unfinished = { stop_reason: null, stop_sequence: null };
const opening = Buffer.concat([
  chunk({
    type: 'message_start',
    message: { ...message, ...unfinished, usage: { input_tokens: 12, output_tokens: 1 } },
  }),
  chunk({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
]);
const closing = (count: number) =>
  Buffer.concat([
    chunk({ type: 'content_block_stop', index: 0 }),
    chunk({
      type: 'message_delta',
      delta: { ...unfinished, stop_reason: 'end_turn' },
      usage: { output_tokens: count },
    }),
    chunk({ type: 'message_stop' }),
  ]);

class Stream implements SentStream {
  readonly sentAtMs: Float64Array;
  sent = 0;
  nextAtMs = Infinity;
  readonly #answer: Answer;
  readonly #intervalMs: number;
  readonly #response: ServerResponse;
  readonly #socket: Socket;

  constructor(toBe: Answer, response: ServerResponse) {
    this.#answer = toBe;
    this.#intervalMs = toBe.tokensPerSecond === undefined ? 0 : 1_000 / toBe.tokensPerSecond;
    this.#response = response;
    this.#socket = response.socket!;
    this.sentAtMs = new Float64Array(toBe.tokens <= timedTokensMax ? toBe.tokens : 0);
    response.writeHead(200, { 'content-type': 'text/event-stream', 'request-id': 'req_bench' });
    response.flushHeaders();
    this.#socket.write(opening);
  }

  /** @param phase From 0 to 1: when, within the interval between two tokens, this stream sends its own. */
  begin(atMs: number, phase: number): void {
    this.nextAtMs = atMs + phase * this.#intervalMs;
    running.add(this);
  }

  /**
   * Sends what is due: the next token, or all tokens that a paced stream is behind. After the last token it sends the
   * end.
   */
  sendDue(now: number): void {
    do {
      this.#send();
      this.nextAtMs += this.#intervalMs;
    } while (this.#intervalMs > 0 && this.nextAtMs <= now && running.has(this));
  }

  /**
   * A paced stream keeps its pace whether or not it is read. Bytes that wait in its socket count as the reader's delay.
   */
  get mustWait(): boolean {
    return this.#intervalMs === 0 && this.#socket.writableNeedDrain;
  }

  #send(): void {
    if (this.sent < this.sentAtMs.length) this.sentAtMs[this.sent] = monotonicMs();
    // Bypasses node:http, which would make three writes of a chunk.
    this.#socket.write(deltas[this.sent % deltas.length]!);
    this.sent += 1;
    if (this.sent < this.#answer.tokens) return;
    running.delete(this);
    if (this.#answer.hold) return;
    this.#socket.write(closing(this.sent));
    this.#response.end();
  }
}

let answer: Answer = { tokens: 1 };
let streams = new Map<number, Stream>();
/** Streams that wait for others, with their phases. */
let gathered: [Stream, number][] = [];
/** Streams that have tokens to send. */
const running = new Set<Stream>();
const openResponses = new Set<ServerResponse>();
let pumping = false;

/**
 * Each turn of the event loop sends at least this many tokens, so that a single stream isn't limited by the number of
 * turns.
 */
const turnTokensMin = 32;

/**
 * Sends each stream that is due its next token, one stream after the other, and runs again when there is more to send.
 */
function pump(): void {
  pumping = false;
  const now = monotonicMs();
  let nextMs = Infinity;
  let sent = 0;
  do {
    nextMs = Infinity;
    for (const stream of running) {
      if (stream.mustWait) continue;
      if (stream.nextAtMs <= now) stream.sendDue(now);
      if (running.has(stream)) nextMs = Math.min(nextMs, stream.nextAtMs);
      sent += 1;
    }
  } while (nextMs <= now && sent < turnTokensMin);
  if (nextMs !== Infinity) schedule(nextMs - now);
}

function schedule(delayMs: number): void {
  if (pumping) return;
  pumping = true;
  if (delayMs <= 0) setImmediate(pump);
  // At most one tick, because a stream that starts meanwhile may be due sooner.
  else setTimeout(pump, 1);
}

/** Starts a stream. If streams gather first, the last one starts all of them. */
function begin(stream: Stream, phase: number): void {
  gathered.push([stream, phase]);
  if (gathered.length < (answer.gather ?? 1)) return;
  const atMs = monotonicMs() + (answer.delayMs ?? 0);
  for (const [each, itsPhase] of gathered) each.begin(atMs, itsPhase);
  gathered = [];
  schedule(0);
}

const server = http.createServer((request, response) => {
  const body: Buffer[] = [];
  request.on('data', (bytes: Buffer) => body.push(bytes));
  request.on('end', () => {
    const [, number, of] = /stream (\d+) of (\d+)/.exec(Buffer.concat(body).toString()) ?? [];
    if (number === undefined) {
      response.writeHead(400).end('the prompt names no stream');
      return;
    }
    const stream = new Stream(answer, response);
    const socket = response.socket!;
    const onDrain = () => schedule(0);
    socket.on('drain', onDrain);
    response.on('close', () => {
      socket.off('drain', onDrain);
      running.delete(stream);
      openResponses.delete(response);
    });
    streams.set(Number(number), stream);
    openResponses.add(response);
    begin(stream, Number(number) / Number(of));
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', 4_096, () => {
  process.stdout.write(`listens on http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});

serveCommands({
  setUp(next: Answer) {
    answer = next;
    streams = new Map();
    gathered = [];
  },
  sent: ({ times }: { times: boolean }) =>
    new Map(
      [...streams].map(([number, { sent, sentAtMs }]) => [
        number,
        { sent, sentAtMs: times ? sentAtMs : new Float64Array(0) },
      ]),
    ),
  open: () => openResponses.size,
} satisfies UpstreamCommands);
