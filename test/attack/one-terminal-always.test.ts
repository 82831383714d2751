/**
 * Whatever upstream sends, a generation ends once, at once, with its account. If something can't be encoded, stored or
 * counted, that is upstream's error. And upstream's echo reveals nothing of a key or a prompt.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isTerminal, type LlmEvent } from '../../src/protocol.ts';
import { answersByHand } from '../support/attack-answers.ts';
import { targetForTests, turnMsMax, type Attack } from '../support/attack-target.ts';
import {
  answer,
  blockDelta,
  blockStart,
  blockStop,
  messageDelta,
  messageStart,
  messageStop,
  startHandUpstream,
  textDelta,
  textStart,
  type Exchange,
  type HandUpstream,
  type UpstreamEvent,
} from '../support/attack-upstream.ts';
import { headOf, openWire, verdictOf } from '../support/attack-wire.ts';
import { eventually } from '../support/eventually.ts';
import { ask, plainConfig } from '../support/service.ts';

const upstreamKey = 'sk-upstream-0123456789abcdef';
const weekMs = 7 * 24 * 3_600_000;

let upstream: HandUpstream;
beforeAll(async () => {
  upstream = await startHandUpstream();
});
afterAll(() => upstream[Symbol.asyncDispose]());
const target = targetForTests(() => ({
  upstreamUrl: upstream.url,
  env: { ANTHROPIC_API_KEY: upstreamKey, LOG_LEVEL: 'info' },
  configs: { default: { ...plainConfig, retries: { max: 0 } } },
}));

type Stream = readonly (UpstreamEvent | string)[];

const end = [messageDelta({ stop_reason: 'end_turn' }), messageStop];
const deepJson = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
/** An event whose text is written by hand, because JSON.stringify would fail at such depth. */
const raw = (type: string, fields: string) => `event: ${type}\ndata: {"type":"${type}",${fields}}\n\n`;
const tool = blockStart({ type: 'tool_use', id: 'toolu_1', name: 'search', input: {} });

/** By depth: one that the stack of the process just allows, and one that it doesn't. */
const deep: Readonly<Record<string, Stream>> = Object.fromEntries(
  [4_200, 8_000, 20_000, 200_000].flatMap((depth): [string, Stream][] => [
    [
      `usage nested ${depth} deep`,
      [
        messageStart,
        textStart,
        textDelta('hi'),
        blockStop(),
        raw('message_delta', `"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5,"a":${deepJson(depth)}}`),
        messageStop,
      ],
    ],
    [
      `the first usage nested ${depth} deep`,
      [raw('message_start', `"message":{"usage":{"input_tokens":8,"a":${deepJson(depth)}}}`), ...end],
    ],
    [
      `a block nested ${depth} deep`,
      [
        messageStart,
        raw('content_block_start', `"index":0,"content_block":{"type":"new","a":${deepJson(depth)}}`),
        blockStop(),
        ...end,
      ],
    ],
    [
      `an input nested ${depth} deep`,
      [
        messageStart,
        tool,
        blockDelta({ type: 'input_json_delta', partial_json: deepJson(depth) }),
        blockStop(),
        ...end,
      ],
    ],
    [
      `a citation nested ${depth} deep`,
      [
        messageStart,
        textStart,
        raw('content_block_delta', `"index":0,"delta":{"type":"citations_delta","citation":${deepJson(depth)}}`),
        blockStop(),
        ...end,
      ],
    ],
    [
      `an unknown delta nested ${depth} deep`,
      [
        messageStart,
        blockStart({ type: 'new' }),
        raw('content_block_delta', `"index":0,"delta":{"type":"new_delta","a":${deepJson(depth)}}`),
        blockStop(),
        ...end,
      ],
    ],
    [
      `stop_details nested ${depth} deep`,
      [
        messageStart,
        raw(
          'message_delta',
          `"delta":{"stop_reason":"end_turn","stop_details":${deepJson(depth)}},"usage":{"output_tokens":5}`,
        ),
        messageStop,
      ],
    ],
    [`an unknown event nested ${depth} deep`, answer('hi', raw('new_event', `"a":${deepJson(depth)}`))],
    [
      `an error nested ${depth} deep`,
      [messageStart, raw('error', `"error":{"type":"api_error","message":"x","a":${deepJson(depth)}}`)],
    ],
  ]),
);

const odd: Readonly<Record<string, Stream>> = {
  'keys named __proto__': [
    messageStart,
    raw(
      'content_block_start',
      '"index":0,"content_block":{"type":"new","__proto__":{"polluted":1},"constructor":{"prototype":1}}',
    ),
    raw('content_block_delta', '"index":0,"delta":{"type":"new_delta","__proto__":{"polluted":1}}'),
    blockStop(),
    ...end,
  ],
  'a toJSON that is none': [messageStart, blockStart({ type: 'new', toJSON: 'x' }), blockStop(), ...end],
  'numbers beyond numbers': [
    messageStart,
    raw('content_block_start', '"index":0,"content_block":{"type":"new","a":1e999,"b":-1e999}'),
    blockStop(),
    ...end,
  ],
  'half a character': [messageStart, textStart, textDelta('a\ud83d'), textDelta('\ude00b'), blockStop(), ...end],
  'a delta of another kind than its block': [
    messageStart,
    textStart,
    blockDelta({ type: 'thinking_delta', thinking: 'x' }),
    blockStop(),
    ...end,
  ],
  'text that is no text': [
    messageStart,
    textStart,
    blockDelta({ type: 'text_delta', text: { a: 1 } }),
    blockDelta({ type: 'text_delta', text: 5 }),
    blockStop(),
    ...end,
  ],
  'input that is no text': [
    messageStart,
    tool,
    blockDelta({ type: 'input_json_delta', partial_json: { a: 1 } }),
    blockStop(),
    ...end,
  ],
  'citations that are none': [
    messageStart,
    blockStart({ type: 'text', text: '', citations: 5 }),
    blockDelta({ type: 'citations_delta' }),
    blockStop(),
    ...end,
  ],
  'a text block without text': [messageStart, blockStart({ type: 'text' }), blockStop(), ...end],
  'an event that is a list': [messageStart, 'data: []\n\n', ...end],
  'an event that is null': [messageStart, 'data: null\n\n', ...end],
  'an event without a type': [messageStart, 'data: {}\n\n', ...end],
  'a type that is no text': [messageStart, 'data: {"type":{}}\n\n', ...end],
  'a message that is none': [raw('message_start', '"message":5'), ...end],
  'a stop_reason that is none': [messageStart, messageDelta({ stop_reason: { a: 1 } }), messageStop],
};

const indexes: Readonly<Record<string, Stream>> = Object.fromEntries(
  ['-1', '-9007199254740991', '1e21', '1.5', '9007199254740993', '"0"', 'null', '{}', '-0'].map((index) => [
    `a block of index ${index}`,
    [
      messageStart,
      raw('content_block_start', `"index":${index},"content_block":{"type":"text","text":""}`),
      raw('content_block_delta', `"index":${index},"delta":{"type":"text_delta","text":"x"}`),
      raw('content_block_stop', `"index":${index}`),
      ...end,
    ],
  ]),
);

const usages: Readonly<Record<string, Stream>> = Object.fromEntries(
  ['"8"', '-8', '1e400', '1e308', '8.5', 'true', '{}', '[8]', 'null', '"NaN"'].map((number) => [
    `usage of ${number}`,
    [
      messageStart,
      textStart,
      textDelta('hi'),
      blockStop(),
      raw(
        'message_delta',
        `"delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":${number},"output_tokens":${number},"cache_read_input_tokens":${number},"cache_creation":${number},"server_tool_use":${number},"model":${number}}`,
      ),
      messageStop,
    ],
  ]),
);

/** The terminal event and the events before it; `silence` if there was none. */
function endOf(events: readonly LlmEvent[]): string {
  const terminals = events.filter(isTerminal);
  if (terminals.length === 0) return 'silence';
  if (terminals.length > 1 || events.at(-1) !== terminals[0]) return 'more than one end';
  const [terminal] = terminals;
  return terminal!.type === 'error' ? terminal!.code : terminal!.type;
}

function play(streams: Readonly<Record<string, Stream>>): void {
  upstream.script = ({ body, pour }) => {
    const name = Object.keys(streams).find((each) => body.includes(JSON.stringify(each)));
    void pour(streams[name!]!);
  };
}

function attacksOver(door: keyof typeof answersByHand, names: readonly string[]): Record<string, Attack<LlmEvent[]>> {
  const attackOf = (name: string) => (signal: AbortSignal) =>
    answersByHand[door](target.current.url, ask(name), signal);
  return Object.fromEntries(names.map((name) => [name, attackOf(name)]));
}

const doors = Object.keys(answersByHand) as (keyof typeof answersByHand)[];

describe.each(doors)('over %s there is one end', (door) => {
  it('for JSON that is too deep: upstream’s error, or the whole', async () => {
    play(deep);
    // That input is sent as the text that arrived. Its 400 KB are more than a test reads of a WebSocket.
    const names = Object.keys(deep).filter((name) => door !== 'websocket' || name !== 'an input nested 200000 deep');
    const toll = await target.current.withstandsEach(`A11 over ${door}`, attacksOver(door, names), 100_000);
    for (const [name, { result, longestTurnMs }] of Object.entries(toll.result)) {
      const told = endOf(result);
      expect.soft(told, name).toMatch(/^(?:upstream_error|done)$/);
      if (told === 'upstream_error') expect.soft(result.at(-1), name).toHaveProperty('usage.inputTokens');
      expect.soft(longestTurnMs, name).toBeLessThan(turnMsMax);
    }
    expect(await stillRunning()).toEqual([]);
  });

  it('of what is odd', async () => {
    play(odd);
    const toll = await target.current.withstandsEach(`A11 odd over ${door}`, attacksOver(door, Object.keys(odd)));
    for (const [name, { result }] of Object.entries(toll.result)) {
      expect.soft(endOf(result), name).toMatch(/^(?:upstream_error|done)$/);
    }
  });

  it('for blocks with odd indexes, none of which is passed on', async () => {
    play(indexes);
    const toll = await target.current.withstandsEach(
      `A23 indexes over ${door}`,
      attacksOver(door, Object.keys(indexes)),
    );
    for (const [name, { result }] of Object.entries(toll.result)) {
      expect.soft(endOf(result), name).toMatch(/^(?:upstream_error|done)$/);
      for (const event of result) {
        if (!('index' in event)) continue;
        expect.soft(Number.isSafeInteger(event.index) && event.index >= 0, `${name}: ${event.index}`).toBe(true);
      }
    }
  });
});

it('numbers that upstream has reported stay, whatever it sends later', async () => {
  play(usages);
  const toll = await target.current.withstandsEach('A23 usage', attacksOver('rest', Object.keys(usages)));
  for (const [name, { result }] of Object.entries(toll.result)) {
    expect.soft(endOf(result), name).toBe('done');
    const { usage } = result.at(-1) as { usage?: Record<string, unknown> };
    expect.soft(usage?.['inputTokens'], name).toBe(8);
    for (const count of ['inputTokens', 'outputTokens', 'cacheReadInputTokens', 'cacheCreationInputTokens']) {
      expect.soft(Number.isSafeInteger(usage?.[count]) && Number(usage?.[count]) >= 0, `${name}: ${count}`).toBe(true);
    }
  }
});

it('a retry-after of upstream’s that is longer than a week is not passed on', async () => {
  const headers: readonly Readonly<Record<string, string>>[] = [
    { 'retry-after': '1e303' },
    { 'retry-after': '99999999999999999999' },
    { 'retry-after': 'Fri, 31 Dec 9999 23:59:59 GMT' },
    { 'retry-after': '-1e303' },
    { 'retry-after': 'Infinity' },
    { 'retry-after-ms': '1e308' },
    { 'retry-after-ms': '0x7fffffffffff' },
  ];
  upstream.script = ({ body, response }) => {
    const number = Number(/header (\d+)/.exec(body)![1]);
    response.writeHead(429, { 'content-type': 'application/json', ...headers[number] });
    response.end('{"type":"error","error":{"type":"rate_limit_error","message":"x"}}');
  };
  const toll = await target.current.withstandsEach(
    'A23 retry-after',
    attacksOver(
      'rest',
      Array.from(headers.keys(), (number) => `header ${number}`),
    ),
  );
  for (const [name, { result }] of Object.entries(toll.result)) {
    expect.soft(endOf(result), name).toBe('upstream_rate_limited');
    const { retryAfterMs = 0 } = result.at(-1) as { retryAfterMs?: number };
    expect.soft(retryAfterMs, name).toBeGreaterThanOrEqual(0);
    expect.soft(retryAfterMs, name).toBeLessThanOrEqual(weekMs);
  }
});

it('what upstream echoes of a prompt or a key is in no log, and of the key in no event', async () => {
  const prompt = 'the-secret-words-of-a-prompt';
  const echo = `${prompt} ${upstreamKey}`;
  const json = { 'content-type': 'application/json' };
  const refused = (headers: Readonly<Record<string, string>>, body: unknown) => (exchange: Exchange) => {
    exchange.response.writeHead(400, { ...json, ...headers });
    exchange.response.end(JSON.stringify(body));
  };
  const error = { type: 'error', error: { type: 'invalid_request_error', message: echo } };
  const streamed =
    (...events: Stream) =>
    (exchange: Exchange) =>
      void exchange.pour(events);
  const scripts: Readonly<Record<string, (exchange: Exchange) => void>> = {
    'a stop_reason with both': streamed(messageStart, messageDelta({ stop_reason: echo }), messageStop),
    'a stop_reason that is the key': streamed(messageStart, messageDelta({ stop_reason: upstreamKey }), messageStop),
    'a stop_reason that is the prompt': streamed(messageStart, messageDelta({ stop_reason: prompt }), messageStop),
    'a request-id that is the key': refused({ 'request-id': upstreamKey }, error),
    'a request-id that is the prompt': refused({ 'request-id': prompt }, error),
    'a request_id of an error event': streamed(messageStart, {
      type: 'error',
      request_id: upstreamKey,
      error: error.error,
    }),
    'a type of an error': refused({}, { error: { type: upstreamKey, message: 'x' } }),
    'a type of an error event': streamed(messageStart, { type: 'error', error: { type: prompt, message: echo } }),
    'a content-type': (exchange) => {
      exchange.response.writeHead(200, { 'content-type': echo, 'request-id': upstreamKey });
      exchange.response.end(echo);
    },
  };
  upstream.script = (exchange) => {
    scripts[Object.keys(scripts).find((name) => exchange.body.includes(name))!]!(exchange);
  };
  const attacks = Object.keys(scripts).map((name): [string, Attack<LlmEvent[]>] => [
    name,
    (signal) => answersByHand.rest(target.current.url, ask(`${name} ${prompt}`), signal),
  ]);
  const { service } = target.current;
  const toll = await target.current.withstandsEach('A19', Object.fromEntries(attacks));
  for (const [name, { result }] of Object.entries(toll.result)) {
    expect.soft(endOf(result), name).not.toMatch(/silence|more/);
    expect.soft(JSON.stringify(result), name).not.toContain(upstreamKey);
  }
  const ids = Object.values(toll.result).map(({ result }) => (result[0] as { generationId: string }).generationId);
  await eventually(() => {
    for (const id of ids) expect(service.log).toContain(id);
  });
  expect.soft(service.log).not.toContain(upstreamKey);
  expect.soft(service.log).not.toContain(prompt);
});

it('nothing that failed is left running', async () => {
  expect(await stillRunning()).toEqual([]);
});

async function stillRunning(): Promise<string[]> {
  const over = new AbortController();
  try {
    const wire = await openWire(target.current.url, over.signal);
    wire.write(headOf('GET', '/trpc/llm.generations', { connection: 'close' }));
    await verdictOf(wire);
    await wire.until(() => false);
    return [...wire.received.toString().matchAll(/"generationId":"([^"]+)","config":"default","state":"running"/g)].map(
      ([, id]) => id!,
    );
  } finally {
    over.abort();
  }
}
