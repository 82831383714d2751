/** The object of an answer, whole and while it is being written, as the client reads it. */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createLlmClient, LlmClientError } from '../src/client.ts';
import { readPartials } from '../src/client/answer-object.ts';
import { EventQueue } from '../src/client/event-queue.ts';
import type { LlmEvent } from '../src/protocol.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import {
  cancelled,
  done,
  failed,
  generationId,
  request,
  start,
  startScriptedService,
  step,
  text,
} from './support/scripted-service.ts';

finishesCleanly();

const valid = done({ object: 'valid' });

function connect(url: string, transport: 'sse' | 'ws') {
  return createLlmClient<AnyConfigRouter>({ url, transport, reconnect: { delayMs: 1, delayMsMax: 10 } });
}

async function errorOf(failing: Promise<unknown>): Promise<LlmClientError> {
  const error = await failing.catch((thrown: unknown) => thrown);
  if (error instanceof LlmClientError) return error;
  throw new Error(`expected an LlmClientError, got ${String(error)}`);
}

describe.each(['sse', 'ws'] as const)('over %s', (transport) => {
  it('object() is what the model wrote', async () => {
    await using service = await startScriptedService(text('{"title": "A'), text('B", "n": 12}'), valid);
    await using llm = connect(service.url, transport);
    expect(await llm.stream(request).object()).toEqual({ title: 'AB', n: 12 });
  });

  it('partials() grow, up to the whole object', async () => {
    await using service = await startScriptedService();
    await using llm = connect(service.url, transport);
    const partials = llm.stream(request).partials()[Symbol.asyncIterator]();
    const shows = async (...events: LlmEvent[]) => {
      service.emit(...events);
      return (await partials.next()).value as unknown;
    };
    expect(await shows(text('{"tags": ["a'))).toEqual({ tags: ['a'] });
    expect(await shows(text('b", "c"], "n": 1'))).toEqual({ tags: ['ab', 'c'] });
    expect(await shows(text('2}'), valid)).toEqual({ tags: ['ab', 'c'], n: 12 });
    expect(await partials.next()).toEqual({ value: undefined, done: true });
  });

  it('an answer that is followed from the middle has its whole object', async () => {
    await using service = await startScriptedService(text('{"title":'), text(' "A"}'), valid);
    await using llm = connect(service.url, transport);
    const run = llm.follow({ generationId, lastEventId: `${generationId}:1` });
    expect(await run.object()).toEqual({ title: 'A' });
    expect(await run.text()).toBe(' "A"}');
    expect(await llm.stream({ ...request, lastEventId: `${generationId}:2` }).object()).toEqual({ title: 'A' });
    const seen: unknown[] = [];
    for await (const partial of run.partials()) seen.push(partial);
    expect(seen.at(-1)).toEqual({ title: 'A' });
  });
});

describe('object()', () => {
  it('is the text of the last text block: what was written before a call of a tool is not the answer', async () => {
    const events = [text('{"title": "no"}'), step(2), text('{"title": "yes"}', 2), valid];
    await using service = await startScriptedService(...events);
    await using llm = connect(service.url, 'sse');
    expect(await llm.stream(request).object()).toEqual({ title: 'yes' });
  });

  it('is undefined where the config has no output', async () => {
    await using service = await startScriptedService(text('Hello'), done());
    await using llm = connect(service.url, 'sse');
    expect(await llm.stream(request).object()).toBeUndefined();
  });

  it.each([
    ['cut short', done({ object: 'cut', stopReason: 'max_tokens' }), /cut short.*max_tokens/],
    ['refused', done({ object: 'refused', stopReason: 'refusal' }), /refused/],
    [
      'that does not fit',
      done({ object: 'invalid', issues: [{ path: 'tags[0]', message: 'expected text' }] }),
      /tags\[0\]: expected text/,
    ],
  ] as const)('throws output_invalid for an object %s, also where its text is whole', async (_, event, words) => {
    await using service = await startScriptedService(text('{"title": "A"}'), event);
    await using llm = connect(service.url, 'sse');
    const error = await errorOf(llm.stream(request).object());
    expect(error).toMatchObject({ code: 'output_invalid', retryable: false, event });
    expect(error.message).toMatch(words);
    if (event.type === 'done' && event.issues) expect(error.issues).toEqual(event.issues);
  });

  it.each(['{"title": "A', '{"title": "A",}', '```json\n{"title": "A"}\n```', ''])(
    'never repairs a text: %j',
    async (broken) => {
      await using service = await startScriptedService(...(broken === '' ? [] : [text(broken)]), valid);
      await using llm = connect(service.url, 'sse');
      expect((await errorOf(llm.stream(request).object())).code).toBe('output_invalid');
    },
  );

  it.each([
    ['upstream_error', failed],
    ['cancelled', cancelled],
  ] as const)('throws %s where the answer ended so', async (code, event) => {
    await using service = await startScriptedService(text('{"title": "A"}'), event);
    await using llm = connect(service.url, 'sse');
    expect(await errorOf(llm.stream(request).object())).toMatchObject({ code, event });
  });
});

describe('partials()', () => {
  it('are the newest: a reader that is slow gets no old ones', async () => {
    await using service = await startScriptedService(text('["a"'));
    await using llm = connect(service.url, 'ws');
    const seen: unknown[] = [];
    for await (const partial of llm.stream(request).partials()) {
      seen.push(partial);
      if (seen.length > 1) continue;
      service.emit(...Array.from({ length: 50 }, (_, index) => text(`, ${index}`)), text(']'), valid);
      // The reader is slow: meanwhile all the others arrive.
      await llm.stream(request).text();
      await turn();
    }
    expect(seen).toEqual([['a'], ['a', ...Array.from({ length: 50 }, (_, index) => index)]]);
  });

  it('begin anew with each text block, and end with the answer, whatever became of the object', async () => {
    const events = [text('{"title": "no"}'), step(2), text('{"title": "ye', 2), done({ object: 'cut' })];
    await using service = await startScriptedService(...events);
    await using llm = connect(service.url, 'sse');
    const seen: unknown[] = [];
    for await (const partial of llm.stream(request).partials()) seen.push(partial);
    expect(seen.at(-1)).toEqual({ title: 'ye' });
  });

  it.each([
    ['upstream_error', failed],
    ['cancelled', cancelled],
  ] as const)('throw %s where the answer ended so, after the last one', async (code, event) => {
    await using service = await startScriptedService(text('{"title": "A'));
    await using llm = connect(service.url, 'sse');
    const partials = llm.stream(request).partials()[Symbol.asyncIterator]();
    expect((await partials.next()).value).toEqual({ title: 'A' });
    service.emit(event);
    expect(await errorOf(partials.next())).toMatchObject({ code, event });
  });

  it('are left like any loop', async () => {
    await using service = await startScriptedService(text('{"title": "A'));
    await using llm = connect(service.url, 'sse');
    const run = llm.stream(request);
    for await (const partial of run.partials()) {
      expect(partial).toEqual({ title: 'A' });
      break;
    }
    expect(service.asked).toHaveLength(1);
  });
});

/** The CPU time in milliseconds that it takes to read a JSON text as partials, in pieces of 12 characters, each in its own turn. */
async function cpuMsOf(json: string): Promise<number> {
  const queue = new EventQueue();
  const pieces = Array.from({ length: Math.ceil(json.length / 12) }, (_, index) =>
    json.slice(index * 12, index * 12 + 12),
  );
  async function* read() {
    for await (const { event } of queue.read()) yield event;
  }
  const before = process.cpuUsage();
  const reading = (async () => {
    let last: unknown;
    for await (const partial of readPartials(read(), queue)) last = partial;
    return last;
  })();
  queue.push({ id: '', event: start });
  for (const piece of pieces) {
    queue.push({ id: '', event: text(piece) });
    await turn();
  }
  queue.push({ id: '', event: valid });
  queue.end();
  const last = await reading;
  const { user, system } = process.cpuUsage(before);
  expect(last).toEqual(JSON.parse(json));
  return (user + system) / 1_000;
}

const shapes: readonly (readonly [name: string, of: (size: number) => unknown])[] = [
  [
    'a list of objects',
    (size) => Array.from({ length: size / 50 }, (_, id) => ({ id, name: `item number ${id}`, ok: true })),
  ],
  ['a list of numbers', (size) => Array.from({ length: size / 6 }, (_, index) => 10_000 + (index % 90_000))],
  [
    'an object with many keys',
    (size) => Object.fromEntries(Array.from({ length: size / 20 }, (_, id) => [`key number ${id}`, id])),
  ],
  ['one text', (size) => ({ title: 'lorem ipsum '.repeat(size / 12) })],
  ['texts with escapes', (size) => ({ lines: '"\n🙂'.repeat(size / 6) })],
];

it.each(shapes)(
  '300 kB of %s in pieces of 12 characters cost less than a second, and twice as much not much more than twice',
  async (_, of) => {
    const [once, twice] = [JSON.stringify({ value: of(300_000) }), JSON.stringify({ value: of(600_000) })];
    await cpuMsOf(once);
    const [cpuMs, cpuMsTwice] = [await cpuMsOf(once), await cpuMsOf(twice)];
    expect(cpuMs).toBeLessThan(1_000);
    expect(cpuMsTwice).toBeLessThan(3.5 * cpuMs + 100);
  },
);
