/**
 * Everything that is bounded in bytes is bounded in pieces too: chunks, messages in a frame, values, problems, ids,
 * requests in a row.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../../src/simulator.ts';
import { unknownId as id } from '../support/attack-callers.ts';
import { manyNodes, manyPieces } from '../support/attack-inputs.ts';
import { targetForTests, turnMsMax, type Attack } from '../support/attack-target.ts';
import {
  doorsByHand,
  frame,
  framesIn,
  headOf,
  inOneByteChunks,
  jsonChunked,
  openWebSocketWire,
  openWire,
  posted,
  refusal,
  repeat,
  socketVerdictOf,
  verdictOf,
} from '../support/attack-wire.ts';
import { plainConfig } from '../support/service.ts';

/** What the service may hold for one request in progress: a few times the whole body. */
const heldBytesMax = 64 << 20;
/** A whole refusal, with its head or frame. */
const refusalBytesMax = 16 << 10;
/** Answers to the messages of one frame. */
const answersMax = 200;

let upstream: Simulator;
beforeAll(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  upstream.respondWith({ kind: 'text', text: 'hello' });
});
afterAll(() => upstream[Symbol.asyncDispose]());
// Some hold ten mebibytes of text two and three times while they are read, so there is room for that.
const target = targetForTests(() => ({
  upstreamUrl: upstream.url,
  heapMiB: 160,
  configs: { default: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } } },
}));

describe('chunks', () => {
  it.each([
    ['/api/llm/process_stream/default', (text: string) => `{"messages":[{"role":"user","content":"${text}"}]}`],
    ['/trpc/llm.cancel', (text: string) => `{"json":{"generationId":"${text}"}}`],
    [
      '/trpc/llm.stream',
      (text: string) => `{"json":{"config":"default","messages":[{"role":"user","content":"${text}"}]}}`,
    ],
  ])('of one byte each don’t multiply what a body takes: %s', async (path, bodyOf) => {
    const toll = await target.current.withstands(`A1 chunks to ${path}`, async (signal) => {
      const wires = await Promise.all(
        Array.from({ length: 2 }, async () => {
          const wire = await openWire(target.current.url, signal);
          wire.write(headOf('POST', path, { accept: 'text/event-stream', ...jsonChunked }));
          // Without the end, so that all of it is held while it is measured.
          const chunks = [...inOneByteChunks(bodyOf('x'.repeat(300_000)))].slice(0, -1);
          await wire.flood(chunks);
          return wire;
        }),
      );
      return Promise.all(wires.map((wire) => verdictOf(wire, 500)));
    });
    for (const verdict of toll.result) expect(verdict).toMatch(/^silence$|(?:4\d\d|503).*|closed/);
    expect(toll.heldBytes).toBeLessThan(16 << 20);
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
  });

  it('that are frames of a WebSocket don’t either', async () => {
    const toll = await target.current.withstands('A1 fragments', async (signal) => {
      const verdicts = Array.from({ length: 4 }, async () => {
        const wire = await openWebSocketWire(target.current.url, signal);
        await wire?.flood([frame('"', 1, false)]);
        await wire?.flood(repeat(frame('x', 0, false), 200_000));
        return socketVerdictOf(wire, 500);
      });
      return Promise.all(verdicts);
    });
    for (const verdict of toll.result) expect(verdict).toMatch(/^(?:closed|silence|too_large)$/);
    expect(toll.heldBytes).toBeLessThan(16 << 20);
  });
});

describe('messages of one frame', () => {
  const query = '{"id":1,"method":"query","params":{"path":"llm.configs"}}';
  const frames: Readonly<Record<string, () => string>> = {
    'a few queries too many': () => `[${`${query},`.repeat(1_000)}${query}]`,
    numbers: () => `[${'1,'.repeat(5_000_000)}1]`,
    'empty arrays': () => `[${'[],'.repeat(3_000_000)}[]]`,
    'empty objects': () => `[${'{},'.repeat(3_000_000)}{}]`,
    queries: () => `[${`${query},`.repeat(100_000)}${query}]`,
    stops: () => `[${'{"id":1,"method":"subscription.stop"},'.repeat(200_000)}1]`,
    brackets: () => '['.repeat(10_000_000),
  };
  it.each(Object.entries(frames))('have a bound: %s', async (what, textOf) => {
    const toll = await target.current.withstands(`A2 a frame of ${what}`, async (signal) => {
      const wire = await openWebSocketWire(target.current.url, signal);
      await wire?.flood([frame(textOf())]);
      const verdict = await socketVerdictOf(wire);
      // One more question. After its answer, nothing of the frame is unanswered.
      wire?.write(frame('{"id":"last","method":"query","params":{"path":"llm.configs"}}'));
      await wire?.until(({ tail }) => tail.includes('"last"'), 4_000);
      return { verdict, answers: wire ? framesIn(wire).length : 0, bytes: wire?.bytesReceived ?? 0 };
    });
    expect(toll.result.verdict).not.toBe('silence');
    expect(toll.result.answers).toBeLessThanOrEqual(answersMax);
    expect(toll.result.bytes).toBeLessThan(200 << 10);
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
  });

  it('have one over HTTP as well', async () => {
    const { result, longestTurnMs } = await target.current.withstands('A2 batches over HTTP', async (signal) => {
      const path = `/trpc/${Array.from({ length: 100 }, () => 'llm.cancel').join()}?batch=1`;
      const bodies = [
        `{${Array.from({ length: 300_000 }, (_, index) => `"${index}":{"json":1}`).join()}}`,
        `[${'1,'.repeat(4_000_000)}1]`,
        '{"0":'.repeat(1_500_000),
      ];
      const verdicts = bodies.map(async (body) => {
        const wire = await openWire(target.current.url, signal);
        await wire.flood([posted(path, body)], { untilAnswered: true });
        return verdictOf(wire);
      });
      return Promise.all(verdicts);
    });
    for (const verdict of result) expect(verdict).toMatch(/^closed$|^(?:207|4\d\d)/);
    expect(longestTurnMs).toBeLessThan(turnMsMax);
  });
});

/** What REST takes from elsewhere, or ignores, where it stands in the body: the service before this one ignored it. */
const ignoredByRest = new Set(['a long config', 'a long lastEventId', 'a long unknown key']);

it.each(Object.keys(doorsByHand))('the problems of a request are listed in short over %s', async (door) => {
  const toll = await target.current.withstandsEach(
    `A4 over ${door}`,
    attacksOf(manyPieces, (json, signal) => doorsByHand[door]!(target.current.url, json, signal)),
    60_000,
  );
  for (const [what, { result, longestTurnMs }] of Object.entries(toll.result)) {
    if (door === 'rest' && ignoredByRest.has(what)) expect.soft(result.verdict, what).toMatch(/^200/);
    else expect.soft(result.verdict, what).toMatch(refusal);
    expect.soft(result.bytes, what).toBeLessThan(refusalBytesMax);
    expect.soft(longestTurnMs, `${what}: longest turn`).toBeLessThan(turnMsMax);
  }
});

describe('text of the client that a refusal repeats', () => {
  const long = 'x'.repeat(9_000_000);
  const ask = '{"config":"default","messages":[{"role":"user","content":"x"}]}';
  const messages: Readonly<Record<string, string>> = {
    'an id of some hundred characters': `{"id":"${'y'.repeat(500)}","method":"query","params":{"path":"llm.configs"}}`,
    'an id of a query': `{"id":"${long}","method":"query","params":{"path":"llm.configs"}}`,
    'an id of a stop': `{"id":"${long}","method":"subscription.stop"}`,
    'a path': `{"id":1,"method":"query","params":{"path":"${long}"}}`,
    'a path of a subscription': `{"id":1,"method":"subscription","params":{"path":"${long}"}}`,
    'a method': `{"id":1,"method":"${long}"}`,
    'no JSON': long,
    'a version': `{"id":1,"jsonrpc":"${long}","method":"query","params":{"path":"llm.configs"}}`,
    'a lastEventId': `{"id":1,"method":"subscription","params":{"path":"llm.follow","lastEventId":"${long}","input":{"json":{"generationId":"${id}"}}}}`,
    'an id of llm.follow': `{"id":"${long}","method":"subscription","params":{"path":"llm.follow","input":{"json":{"generationId":"${id}"}}}}`,
    'an id of llm.stream': `{"id":"${long}","method":"subscription","params":{"path":"llm.stream","input":{"json":${ask}}}}`,
  };

  it('over a WebSocket is short', async () => {
    const toll = await target.current.withstandsEach(
      'A5 over a WebSocket',
      attacksOf(messages, async (message, signal) => {
        const wire = await openWebSocketWire(target.current.url, signal);
        await wire?.flood([frame(message)]);
        wire?.write(frame('{"id":"last","method":"query","params":{"path":"llm.configs"}}'));
        await wire?.until(({ tail }) => tail.includes('"last"'), 4_000);
        return { verdict: await socketVerdictOf(wire), bytes: wire?.bytesReceived ?? 0 };
      }),
      60_000,
    );
    for (const [what, { result, longestTurnMs }] of Object.entries(toll.result)) {
      expect.soft(result.verdict, what).not.toBe('silence');
      expect.soft(result.bytes, what).toBeLessThan(refusalBytesMax);
      expect.soft(longestTurnMs, `${what}: longest turn`).toBeLessThan(turnMsMax);
    }
    expect(toll.heldBytes).toBeLessThan(heldBytesMax);
  });

  const text = 'x'.repeat(12_000);
  const body = '{"messages":[{"role":"user","content":"x"}]}';
  const requests: Readonly<Record<string, Buffer>> = {
    'a path': posted(`/${text}`, '{}'),
    'a procedure': posted(`/trpc/${text}`, '{}'),
    'a config': posted(`/api/llm/process_stream/${text}`, body),
    'a config of some hundred characters': posted(`/api/llm/process_stream/${text.slice(0, 900)}`, body),
    'an Idempotency-Key': posted('/api/llm/process_stream/default', body, { 'idempotency-key': text }),
    'a Last-Event-ID': posted('/api/llm/process_stream/default', body, { 'last-event-id': text }),
    'a content-type': posted('/api/llm/process_stream/default', '{}', { 'content-type': text }),
    'a method': Buffer.from(headOf(text, '/')),
    'a Host': Buffer.from(headOf('GET', '/api/llm/configs', {}, text)),
  };

  it('over HTTP is short', async () => {
    const toll = await target.current.withstandsEach(
      'A5 over HTTP',
      attacksOf(requests, async (request, signal) => {
        const wire = await openWire(target.current.url, signal);
        await wire.flood([request]);
        return { verdict: await verdictOf(wire), bytes: wire.bytesReceived };
      }),
    );
    for (const [what, { result }] of Object.entries(toll.result)) {
      expect.soft(result.verdict, what).toMatch(/^closed$|^[45]\d\d/);
      expect.soft(result.bytes, what).toBeLessThan(4 << 10);
    }
  });
});

describe('requests in a row', () => {
  it.each([
    ['GET', '/api/llm/configs'],
    ['GET', '/healthz'],
    ['GET', '/trpc/llm.configs'],
    ['DELETE', `/api/llm/generations/${id}`],
  ])(
    'behind a stream that stays open are bounded, and forgotten when their sender leaves: %s %s',
    async (method, path) => {
      upstream.enqueue({ kind: 'manual' });
      const toll = await target.current.withstands(`A6 pipelined ${method} ${path}`, async (signal) => {
        const wire = await openWire(target.current.url, signal);
        wire.write(posted('/api/llm/process_stream/default', '{"messages":[{"role":"user","content":"stay"}]}'));
        await wire.until(({ bytesReceived }) => bytesReceived > 0);
        const end = await wire.flood(repeat(headOf(method, path), 50_000));
        wire.socket.destroy();
        await wire.closed;
        const after = await openWire(target.current.url, signal);
        after.write(headOf('GET', '/healthz'));
        return { end, after: await verdictOf(after, 15_000) };
      });
      expect(toll.result.after).toBe('200');
      expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
      expect(toll.cpuMs).toBeLessThan(10 * turnMsMax);
    },
  );
});

it.each(Object.keys(doorsByHand))(
  'many values in a request cost little time over %s, also at each further attach',
  async (door) => {
    const toll = await target.current.withstandsEach(
      `A17 over ${door}`,
      attacksOf(manyNodes, async (json, signal) => {
        const sameId = json.replace('{', `{"generationId":"${crypto.randomUUID()}",`);
        const first = await doorsByHand[door]!(target.current.url, sameId, signal);
        const second = await doorsByHand[door]!(target.current.url, sameId, signal);
        return [first.verdict, second.verdict];
      }),
      60_000,
    );
    for (const [what, { result, longestTurnMs }] of Object.entries(toll.result)) {
      for (const verdict of result) expect.soft(verdict, what).not.toMatch(/silence|open/);
      expect.soft(longestTurnMs, `${what}: longest turn`).toBeLessThan(turnMsMax);
    }
  },
);

/** Each input is written only when its turn comes: together they are a hundred megabytes. */
function attacksOf<Input, T>(
  inputs: Readonly<Record<string, Input | (() => Input)>>,
  attack: (input: Input, signal: AbortSignal) => Promise<T>,
): Record<string, Attack<T>> {
  const inputOf = (input: Input | (() => Input)) => (typeof input === 'function' ? (input as () => Input)() : input);
  return Object.fromEntries(
    Object.entries(inputs).map(([what, input]) => [what, (signal) => attack(inputOf(input), signal)]),
  );
}
