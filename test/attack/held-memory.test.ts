/**
 * All memory that is held for somebody counts against a named limit, wherever it is: bodies, prompts, open blocks,
 * usage, logs.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bodyOf } from '../support/attack-callers.ts';
import { targetForTests, turnMsMax } from '../support/attack-target.ts';
import {
  answer,
  blockDelta,
  blockStart,
  messageDelta,
  messageStart,
  messageStop,
  startHandUpstream,
  textDelta,
  textStart,
  type HandUpstream,
  type UpstreamEvent,
} from '../support/attack-upstream.ts';
import {
  frame,
  headOf,
  openWebSocketWire,
  openWire,
  posted,
  refusal,
  verdictOf,
  type Wire,
} from '../support/attack-wire.ts';
import { plainConfig } from '../support/service.ts';

const MiB = 1 << 20;
const logBytesMax = MiB;
const heldBytesMax = 24 * MiB;
/** What V8 and the sockets add to it, and what they have not freed yet. */
const margin = 24 * MiB;

let upstream: HandUpstream;
beforeAll(async () => {
  upstream = await startHandUpstream();
});
afterAll(() => upstream[Symbol.asyncDispose]());
const target = targetForTests(() => ({
  upstreamUrl: upstream.url,
  heapMiB: 128,
  env: {
    LLM_HELD_BYTES_MAX: `${heldBytesMax}`,
    LLM_HELD_BYTES_PER_CALLER_MAX: `${heldBytesMax}`,
    LLM_LOG_BYTES_MAX: `${logBytesMax}`,
    LLM_LOGS_BYTES_MAX: `${8 * MiB}`,
    LLM_LOGS_BYTES_PER_CALLER_MAX: `${8 * MiB}`,
  },
  configs: { default: { ...plainConfig, retries: { max: 0 }, on_disconnect: { cancel_after_ms: 1 } } },
}));

const path = '/api/llm/process_stream/default';

describe('requests', () => {
  it('that run count by their bytes, and a request without room is refused', async () => {
    upstream.script = () => {};
    const toll = await target.current.withstands('A8 prompts with a silent upstream', async (signal) => {
      const request = posted(path, bodyOf('x'.repeat(4 * MiB)));
      const verdicts: string[] = [];
      for (let number = 0; number < 16; number += 1) {
        const wire = await openWire(target.current.url, signal);
        await wire.flood([request]);
        verdicts.push(await verdictOf(wire, 1_000));
      }
      return verdicts;
    });
    const refused = toll.result.filter((verdict) => refusal.test(verdict));
    expect(refused.length).toBeGreaterThan(8);
    expect(toll.heldBytes).toBeLessThan(heldBytesMax + margin);
  });

  it.each(['rest', 'sse', 'mutation', 'batch'])('that are being read count, too: %s', async (door) => {
    const doors: Readonly<Record<string, readonly [string, string]>> = {
      rest: [path, '*/*'],
      sse: ['/trpc/llm.stream', 'text/event-stream'],
      mutation: ['/trpc/llm.cancel', '*/*'],
      batch: ['/trpc/llm.cancel,llm.cancel?batch=1', '*/*'],
    };
    const [url, accept] = doors[door]!;
    const toll = await target.current.withstands(`A8 bodies that never end: ${door}`, async (signal) => {
      const part = Buffer.alloc(5 * MiB, 'x');
      const wires = await Promise.all(
        Array.from({ length: 16 }, async () => {
          const wire = await openWire(target.current.url, signal);
          const headers = { accept, 'content-type': 'application/json', 'content-length': 10_400_000 };
          wire.write(`${headOf('POST', url, headers)}{"json":"`);
          await wire.flood([part], { untilAnswered: true });
          return wire;
        }),
      );
      return Promise.all(wires.map((wire) => verdictOf(wire, 500)));
    });
    expect(toll.heldBytes).toBeLessThan(heldBytesMax + margin);
    // A subscription is refused in an event, since an EventSource shows its page nothing of another status.
    const refused = /^silence$|^closed$|^(?:413|429|503) |^200 (?:too_large|rate_limited|at_capacity)$/;
    for (const verdict of toll.result) expect(verdict).toMatch(refused);
  });

  it('that are being read over WebSockets count, too', async () => {
    const toll = await target.current.withstands('A8 messages that never end', async (signal) => {
      // All but the end of a message of nine mebibytes.
      const part = frame('x'.repeat(9 * MiB)).subarray(0, 5 * MiB);
      const ends = Array.from({ length: 16 }, async () =>
        (await openWebSocketWire(target.current.url, signal))?.flood([part]),
      );
      return Promise.all(ends);
    });
    expect(toll.heldBytes).toBeLessThan(heldBytesMax + margin);
  });

  it('free what they held, so that there is room again', async () => {
    upstream.script = ({ pour }) => pour(answer('hello'));
    const { result } = await target.current.withstands('A8 room again', async (signal) => {
      const wire = await openWire(target.current.url, signal);
      await wire.flood([posted(path, bodyOf('x'.repeat(4 * MiB)), { connection: 'close' })]);
      await wire.closed;
      return eventsOf(wire);
    });
    expect(result.at(-1)).toBe('done');
  });
});

function* endless(first: readonly UpstreamEvent[], next: (number: number) => UpstreamEvent | string) {
  yield* first;
  for (let number = 0; ; number += 1) yield next(number);
}

const piece = 'x'.repeat(16 << 10);
const toolStart = blockStart({ type: 'tool_use', id: 'toolu_1', name: 'search', input: {} });

/** None of them has an end, so the service has to end them. */
const withoutEnd: Readonly<Record<string, () => Iterable<UpstreamEvent | string>>> = {
  'input of a tool': () =>
    endless([messageStart, toolStart], () => blockDelta({ type: 'input_json_delta', partial_json: piece })),
  'input of a tool in small pieces': () =>
    endless([messageStart, toolStart], () => blockDelta({ type: 'input_json_delta', partial_json: '"a",'.repeat(8) })),
  citations: () =>
    endless([messageStart, textStart], (number) =>
      blockDelta({ type: 'citations_delta', citation: { type: 'page', cited_text: piece, number } }),
    ),
  'names of usage': () =>
    endless([messageStart], (number) =>
      messageDelta({}, Object.fromEntries(Array.from({ length: 500 }, (_, name) => [`n${number}_${name}`, 1]))),
    ),
  'large usage': () => endless([messageStart], (number) => messageDelta({}, { [`n${number}`]: piece })),
  'blocks that stay open': () =>
    endless([messageStart], (number) => blockStart({ type: 'server_tool_use', input: { piece } }, number)),
  'empty blocks that stay open': () =>
    endless([messageStart], (number) => blockStart({ type: 'text', text: '' }, number)),
  'blocks that open and close': () => ({
    *[Symbol.iterator]() {
      yield messageStart;
      for (let index = 0; ; index += 1) {
        yield blockStart({ type: 'text', text: '' }, index);
        yield { type: 'content_block_stop', index };
      }
    },
  }),
  'deltas of unknown kinds': () =>
    endless([messageStart, blockStart({ type: 'new' })], () => blockDelta({ type: 'new_delta', [`field`]: piece })),
  'fields of unknown deltas': () =>
    endless([messageStart, blockStart({ type: 'new' })], (number) =>
      blockDelta({ type: 'new_delta', [`f${number}`]: piece }),
    ),
  signatures: () =>
    endless([messageStart, blockStart({ type: 'thinking', thinking: '' })], () =>
      blockDelta({ type: 'signature_delta', signature: piece }),
    ),
  'details of stopping': () =>
    endless([messageStart], (number) => messageDelta({ stop_details: { number, piece: piece.repeat(20) } })),
  text: () => endless([messageStart, textStart], () => textDelta(piece)),
  'a line': () => endless([messageStart], () => piece),
  'data of an event': () => endless([messageStart], () => `data: ${piece}\n`),
  'names of an event': () => endless([messageStart], () => `event: ${piece}\n`),
  comments: () => endless([messageStart], () => `: ${piece}`),
};

describe('an upstream without end', () => {
  it.each(Object.keys(withoutEnd))('is closed, and the generation ends with one terminal event: %s', async (what) => {
    const taken: Promise<number>[] = [];
    upstream.script = ({ pour }) => taken.push(pour(bounded(withoutEnd[what]!(), 24 * MiB)));
    const toll = await target.current.withstands(`A12 ${what}`, async (signal) => {
      const wire = await openWire(target.current.url, signal);
      wire.write(posted(path, bodyOf('x'), { connection: 'close' }));
      await Promise.race([wire.closed, new Promise((resolve) => setTimeout(resolve, 20_000).unref())]);
      return { events: eventsOf(wire), takenMiB: Math.ceil((await taken[0]!) / MiB) };
    });
    expect(toll.result.events.filter((type) => /error|done|cancelled/.test(type))).toHaveLength(1);
    expect(toll.result.events.at(-1)).toBe('error');
    // Several times the log's bound, because memory may be counted in another way than the bytes are written.
    expect(toll.result.takenMiB).toBeLessThanOrEqual(16);
    expect(toll.heldBytes).toBeLessThan(8 * logBytesMax);
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
  });

  it('is bounded for many generations at once, too', async () => {
    upstream.script = ({ pour }) => pour(bounded(withoutEnd['input of a tool']!(), 20 * MiB));
    const toll = await target.current.withstands('A12 twenty at once', async (signal) => {
      const wires = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const wire = await openWire(target.current.url, signal);
          wire.write(posted(path, bodyOf('x'), { connection: 'close' }));
          return wire;
        }),
      );
      await Promise.all(wires.map(({ closed }) => closed));
      return wires.map((wire) => eventsOf(wire).at(-1) ?? '503');
    });
    for (const end of toll.result) expect(end).toMatch(/^(?:error|503)$/);
    expect(toll.heldBytes).toBeLessThan(8 * MiB + margin);
  });
});

describe('one large piece of upstream', () => {
  it.each<[string, () => UpstreamEvent[]]>([
    [
      'usage',
      () => [
        messageStart,
        messageDelta({ stop_reason: 'end_turn' }, { output_tokens: 5, x: 'x'.repeat(8 * MiB) }),
        messageStop,
      ],
    ],
    ['a stop_reason', () => [messageStart, messageDelta({ stop_reason: 'x'.repeat(8 * MiB) }), messageStop]],
    [
      'stop_details',
      () => [messageStart, messageDelta({ stop_reason: 'end_turn', stop_details: 'x'.repeat(8 * MiB) }), messageStop],
    ],
    ['an error', () => [messageStart, { type: 'error', error: { type: 'api_error', message: 'x'.repeat(8 * MiB) } }]],
    [
      'a block',
      () => [
        messageStart,
        blockStart({ type: 'new', data: 'x'.repeat(8 * MiB) }),
        messageDelta({ stop_reason: 'end_turn' }),
        messageStop,
      ],
    ],
  ])('ends with one terminal that is short: %s', async (what, events) => {
    upstream.script = ({ pour }) => pour(events());
    const toll = await target.current.withstands(`A12 ${what} of 8 MiB`, async (signal) => {
      const wire = await openWire(target.current.url, signal);
      wire.write(posted(path, bodyOf('x'), { connection: 'close' }));
      await wire.closed;
      return { events: eventsOf(wire), bytes: wire.bytesReceived };
    });
    expect(toll.result.events.filter((type) => /error|done|cancelled/.test(type))).toHaveLength(1);
    expect(toll.result.bytes).toBeLessThan(2 * logBytesMax);
  });
});

function* bounded(events: Iterable<UpstreamEvent | string>, bytesMax: number) {
  let bytes = 0;
  for (const event of events) {
    if (bytes > bytesMax) return;
    bytes += typeof event === 'string' ? event.length : JSON.stringify(event).length;
    yield event;
  }
}

/** The types of the events that arrived over REST, of which the first 256 KiB and the last are read. */
function eventsOf({ received, tail }: Wire): string[] {
  const types = (text: string) => [...text.matchAll(/^event: (\w+)$/gm)].map(([, type]) => type!);
  const first = types(received.toString());
  return /error|done|cancelled/.test(first.at(-1) ?? '') ? first : [...first, ...types(tail.toString()).slice(-1)];
}
