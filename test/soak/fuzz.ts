/** Almost correct requests, frames and upstream streams, each made only from a seed and a number. */
import { createRandom } from '../../src/simulator/random.ts';
import { unknownId as id } from '../support/attack-callers.ts';
import {
  answer,
  blockDelta,
  blockStart,
  blockStop,
  messageDelta,
  messageStart,
  messageStop,
} from '../support/attack-upstream.ts';
import { frame } from '../support/attack-wire.ts';
import { frameOf } from '../support/upstream-frames.ts';

/** One in this many bodies has almost ten mebibytes. */
const largeOneIn = 4_000;

class Dice {
  readonly #random: () => number;

  constructor(seed: number, number: number) {
    this.#random = createRandom(seed, number);
  }

  below(bound: number): number {
    return this.#random() % bound;
  }

  oneIn(number: number): boolean {
    return this.below(number) === 0;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  bytes(max: number): Buffer {
    return Buffer.from(Array.from({ length: this.below(max) + 1 }, () => this.below(256)));
  }
}

// -------------------------------------------------------------------------------------------------- what clients send

const methods = ['GET', 'POST', 'POST', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH', 'BREW'];
const paths = [
  '/api/llm/process_stream/default',
  `/api/llm/generations/${id}/events`,
  `/api/llm/generations/${id}`,
  '/api/llm/configs',
  '/trpc/llm.stream',
  '/trpc/llm.follow',
  '/trpc/llm.cancel',
  '/trpc/llm.generation?input=%7B%22json%22%3A%7B%7D%7D',
  '/trpc/llm.configs,llm.cancel,llm.generations?batch=1',
  '/trpc/llm.configs',
  '/healthz',
  '/openapi.json',
  '/',
  '/trpc',
  '/%2e%2e/%2e%2e/etc/passwd',
  '//trpc//llm.stream',
  '/trpc/llm.stream?input=%',
];
const hostile: readonly unknown[] = [
  ...[null, true, -1, 0.5, 1e308, '', 'x', '\ud83d', '\u0000', '__proto__', 'x'.repeat(2_000), [], {}, [[]], [null]],
  ...[
    { __proto__: null },
    { json: {} },
    { toString: 1 },
    { type: 'text' },

    Array.from({ length: 300 }, () => ({})),
  ],
];
const good = {
  config: 'default',
  messages: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }],
  generationId: id,
};

/** A copy with some values replaced. */
function bent(dice: Dice, value: unknown): unknown {
  if (dice.oneIn(9)) return dice.pick(hostile);
  if (Array.isArray(value)) return value.map((each) => bent(dice, each));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, each]) => [
    dice.oneIn(12) ? JSON.stringify(dice.pick(hostile)) : name,
    bent(dice, each),
  ]);
  return Object.fromEntries(entries) as unknown;
}

/** With some bytes removed, added, repeated, or changed. */
function mutated(dice: Dice, bytes: Buffer): Buffer {
  let result = bytes;
  for (let change = dice.below(3); change >= 0; change -= 1) {
    const at = dice.below(result.length + 1);
    const to = Math.min(result.length, at + dice.below(40));
    const between = dice.pick([
      Buffer.alloc(0),
      dice.bytes(12),
      result.subarray(at, to),
      Buffer.from(dice.pick(['"', '{', '[', '\n\n', '\r\n', '\\', ',', '1e999'])),
    ]);
    result = Buffer.concat([result.subarray(0, at), between, result.subarray(dice.pick([at, to]))]);
  }
  return result;
}

function fuzzedJson(dice: Dice, wrapped: boolean): Buffer {
  if (dice.oneIn(largeOneIn)) {
    const piece = dice.pick(['[', '{"a":', '1,', '"",', 'x', '\\u0000', '{},', '[],']);
    return Buffer.from(`{"json":[${piece.repeat(Math.floor(10_400_000 / piece.length))}`);
  }
  const { config: _config, generationId: _generationId, ...body } = good;
  const value = bent(dice, wrapped ? { json: good } : body);
  const json = Buffer.from(JSON.stringify(value) ?? 'null');
  return dice.oneIn(3) ? mutated(dice, json) : json;
}

/** A whole request over HTTP, or a damaged one. */
export function fuzzedRequest(seed: number, number: number): Buffer {
  const dice = new Dice(seed, number);
  const path = dice.pick(paths);
  const body = fuzzedJson(dice, path.startsWith('/trpc'));
  const headers: string[] = [
    `host: ${dice.pick(['localhost', 'localhost', 'localhost:80', '127.0.0.1', 'evil.example', ''])}`,
  ];
  if (!dice.oneIn(6)) headers.push('content-type: application/json');
  if (dice.oneIn(3)) headers.push('accept: text/event-stream');
  if (dice.oneIn(6)) headers.push(`idempotency-key: ${dice.pick([id, 'x', '', crypto.randomUUID()])}`);
  if (dice.oneIn(6)) headers.push(`last-event-id: ${dice.pick([`${id}:0`, `${id}:-1`, `${id}:1e9`, 'x', ''])}`);
  if (dice.oneIn(9)) headers.push(`expect: ${dice.pick(['100-continue', 'x'])}`);
  if (dice.oneIn(9)) headers.push(`upgrade: ${dice.pick(['websocket', 'h2c'])}`, 'connection: upgrade');
  else headers.push('connection: close');
  const length = dice.oneIn(12) ? dice.below(2 * body.length) : body.length;
  const chunked = dice.oneIn(5);
  headers.push(chunked ? 'transfer-encoding: chunked' : `content-length: ${length}`);
  const framed = chunked
    ? Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])
    : body;
  const head = Buffer.from(`${dice.pick(methods)} ${path} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`);
  return Buffer.concat([dice.oneIn(8) ? mutated(dice, head) : head, framed]);
}

/** Some frames of one WebSocket. */
export function fuzzedFrames(seed: number, number: number, count: number): Buffer {
  const dice = new Dice(seed, number);
  const frames = Array.from({ length: count }, () => {
    if (dice.oneIn(30)) return dice.bytes(60);
    const path = dice.pick([
      'llm.stream',
      'llm.follow',
      'llm.cancel',
      'llm.generation',
      'llm.generations',
      'llm.configs',
      'no',
    ]);
    const method = dice.pick(['query', 'mutation', 'subscription', 'subscription.stop']);
    const message = bent(dice, { id: dice.below(4), jsonrpc: '2.0', method, params: { path, input: { json: good } } });
    const json = dice.oneIn(largeOneIn) ? fuzzedJson(dice, true) : Buffer.from(JSON.stringify(message) ?? '');
    const payload = dice.oneIn(4) ? mutated(dice, json) : json;
    return frame(payload, dice.oneIn(20) ? dice.below(16) : 1, !dice.oneIn(40));
  });
  return Buffer.concat(frames);
}

// ------------------------------------------------------------------------------------------------ what upstream sends

const stream = [
  messageStart,
  blockStart({ type: 'text', text: '' }),
  ...['one ', 'two tök🙂 ', 'three'].map((text) => blockDelta({ type: 'text_delta', text })),
  blockDelta({ type: 'citations_delta', citation: { type: 'page', cited_text: 'x' } }),
  blockStop(),
  { type: 'ping' },
  blockStart({ type: 'tool_use', id: 'toolu_1', name: 'search', input: {} }, 1),
  blockDelta({ type: 'input_json_delta', partial_json: '{"a":' }, 1),
  blockDelta({ type: 'input_json_delta', partial_json: '[1]}' }, 1),
  blockStop(1),
  messageDelta({ stop_reason: 'end_turn' }, { input_tokens: 8, output_tokens: 5 }),
  messageStop,
];

/** A stream of upstream's in which events are changed, missing or repeated, and bytes too. */
export function mutatedStream(seed: number, number: number): Buffer {
  const dice = new Dice(seed, number);
  const events = stream.flatMap((event) => {
    if (dice.oneIn(14)) return [];
    const sent = dice.oneIn(6) ? (bent(dice, event) as typeof event) : event;
    return dice.oneIn(14) ? [sent, sent] : [sent];
  });
  const text = events.map((event) => {
    const type = (event as { readonly type?: unknown } | null)?.type;
    const name = typeof type === 'string' ? `event: ${type}\n` : '';
    return `${name}data: ${JSON.stringify(event)}\n\n`;
  });
  const bytes = Buffer.from(text.join(''));
  return dice.oneIn(2) ? mutated(dice, bytes) : bytes;
}

/** A deep, a wide or an endless one. The last ends at a bound of its own, far beyond the service's. */
export function* extremeStream(seed: number, number: number): Generator<string> {
  const dice = new Dice(seed, number);
  const fields = dice.pick([
    (value: string) => `"type":"content_block_start","index":0,"content_block":{"type":"new","a":${value}}`,
    (value: string) =>
      `"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5,"a":${value}}`,
    (value: string) => `"type":"message_delta","delta":{"stop_details":${value}}`,
    (value: string) => `"type":"error","error":{"type":"api_error","message":"x","a":${value}}`,
    (value: string) => `"type":"new_event","a":${value}`,
  ]);
  const data = (value: string) => `data: {${fields(value)}}\n\n`;
  yield frameOf(messageStart);
  const kind = dice.below(3);
  if (kind === 0) {
    const depth = 10 ** (2 + dice.below(4)) + dice.below(9_000);
    yield data(
      dice.pick([`${'['.repeat(depth)}${']'.repeat(depth)}`, `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`]),
    );
  } else if (kind === 1) {
    const width = 10 ** (3 + dice.below(3));
    yield data(
      dice.pick([
        `[${'1,'.repeat(width)}1]`,
        `[${'{},'.repeat(width)}1]`,
        `"${'x'.repeat(width)}"`,
        // Six characters each. A test could not see the end of an answer that is longer than what is kept of it.
        `"${'\\u0000'.repeat(width / 10)}"`,
      ]),
    );
  } else {
    const pieces = dice.pick([200, 2_000]);
    const piece = 'x'.repeat(dice.pick([10, 20_000]));
    const open = dice.below(4);
    yield frameOf(blockStart({ type: open === 0 ? 'tool_use' : 'text', text: '' }));
    for (let sent = 0; sent < pieces; sent += 1) {
      if (open === 0) yield frameOf(blockDelta({ type: 'input_json_delta', partial_json: piece }));
      else if (open === 1) yield frameOf(blockDelta({ type: 'citations_delta', citation: { sent, piece } }));
      else if (open === 2) yield frameOf(blockStart({ type: 'text', text: piece }, sent + 1));
      else yield frameOf(messageDelta({}, { [`n${sent}`]: piece }));
    }
  }
  for (const event of answer('end').slice(4)) yield typeof event === 'string' ? event : frameOf(event);
}
