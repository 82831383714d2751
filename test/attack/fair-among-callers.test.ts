/**
 * One caller can't use up what another one needs, nor its time: spent ids, bars, room in the logs, places, sockets,
 * bytes.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../../src/simulator.ts';
import { manyNodes } from '../support/attack-inputs.ts';
import { startHonestCallers } from '../support/attack-honest.ts';
import { bearer, keyOf } from '../support/attack-callers.ts';
import { targetForTests } from '../support/attack-target.ts';
import { headOf, openWebSocketWire, openWire, posted, verdictOf, type Wire } from '../support/attack-wire.ts';

const MiB = 1 << 20;
let upstream: Simulator;
beforeAll(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
});
afterAll(() => upstream[Symbol.asyncDispose]());
const target = targetForTests(() => ({
  upstreamUrl: upstream.url,
  heapMiB: 192,
  callers: ['ada', 'eve'],
  env: {
    LLM_LOG_BYTES_MAX: `${MiB}`,
    LLM_LOGS_BYTES_MAX: `${4 * MiB}`,
    LLM_LOGS_BYTES_PER_CALLER_MAX: `${3 * MiB}`,
    LLM_TOMBSTONES_MAX: '500',
    LLM_BARS_MAX: '400',
    LLM_BARS_PER_CALLER_MAX: '200',
    LLM_GENERATIONS_PER_CALLER_MAX: '40',
    LLM_VIEWERS_PER_CALLER_MAX: '60',
    LLM_SOCKETS_MAX: '60',
  },
}));

/** Some answers fill the store. */
const answerChars = 300_000;
const path = '/api/llm/process_stream/default';
const request = '{"messages":[{"role":"user","content":"x"}]}';

/** Everything that arrived on a connection that closes after its answer. */
async function ask(caller: string, id: string, signal: AbortSignal, json = request): Promise<Wire> {
  const wire = await openWire(target.current.url, signal);
  await wire.flood([posted(path, json, { ...bearer(caller), 'idempotency-key': id, connection: 'close' })]);
  await wire.closed;
  return wire;
}

/** The statuses of requests on one connection. */
async function statusesOf(heads: Iterable<string>, signal: AbortSignal): Promise<string[]> {
  const wire = await openWire(target.current.url, signal);
  const statuses: string[] = [];
  let rest = '';
  wire.socket.on('data', (chunk: Buffer) => {
    rest += chunk.toString('latin1');
    const found = [...rest.matchAll(/HTTP\/1\.1 (\d{3})/g)];
    statuses.push(...found.map(([, status]) => status!));
    rest = rest.slice(-12);
    wire.socket.emit('answered');
  });
  let sent = 0;
  for (const head of heads) {
    wire.write(head);
    sent += 1;
    // Ten at a time, so that it is no attack by the number of requests in a row.
    while (sent - statuses.length >= 10 && !wire.isClosed) {
      await new Promise((resolve) => wire.socket.once('answered', resolve).once('close', resolve));
    }
  }
  wire.socket.end();
  await wire.closed;
  return statuses;
}

it('cancels of invented ids make the service forget nobody’s spent id, and are limited', async () => {
  const { result } = await target.current.withstands(
    'A13',
    async (signal) => {
      const id = crypto.randomUUID();
      upstream.respondWith({ kind: 'text', text: ['x'.repeat(answerChars)] });
      await ask('ada', id, signal);
      // Her own later answers push the first one out of the store. Its id is spent from then on.
      for (let later = 0; later < 16; later += 1) await ask('ada', crypto.randomUUID(), signal);
      const before = upstream.requestCount;
      const cancels = Array.from({ length: 1_200 }, () =>
        headOf('DELETE', `/api/llm/generations/${crypto.randomUUID()}`, bearer('eve')),
      );
      const statuses = await statusesOf(cancels, signal);
      const again = await ask('ada', id, signal);
      return {
        limited: statuses.includes('429'),
        again: await verdictOf(again),
        requests: upstream.requestCount - before,
      };
    },
    90_000,
  );
  expect(result).toEqual({ limited: true, again: '404 generation_not_found', requests: 0 });
});

it('a caller that fills the store loses its own answers first', async () => {
  const { result } = await target.current.withstands('A20', async (signal) => {
    upstream.respondWith({ kind: 'text', text: ['x'.repeat(answerChars)] });
    const id = crypto.randomUUID();
    await ask('ada', id, signal);
    for (let number = 0; number < 30; number += 1) await ask('eve', crypto.randomUUID(), signal);
    const wire = await openWire(target.current.url, signal);
    wire.write(headOf('GET', `/api/llm/generations/${id}/events`, { ...bearer('ada'), connection: 'close' }));
    await wire.closed;
    return {
      verdict: await verdictOf(wire),
      whole: wire.bytesReceived > answerChars && wire.tail.includes('event: done'),
    };
  });
  expect(result).toEqual({ verdict: '200', whole: true });
});

it('a caller with all its generations, viewers and sockets leaves places for another', async () => {
  const { result } = await target.current.withstands('A10 places', async (signal) => {
    upstream.respondWith({ kind: 'manual' });
    const held = await Promise.all(
      Array.from({ length: 80 }, async () => {
        const wire = await openWire(target.current.url, signal);
        wire.write(posted(path, request, bearer('eve')));
        return verdictOf(wire, 1_500);
      }),
    );
    for (let socket = 0; socket < 100; socket += 1) {
      await openWebSocketWire(target.current.url, signal, { headers: bearer('eve') });
    }
    const honest = await startHonestCallers({
      url: target.current.url,
      upstream,
      number: 4,
      token: keyOf('ada'),
      signal,
    });
    return { refused: held.some((verdict) => verdict === '429 rate_limited'), ...(await honest.finish()) };
  });
  expect(result).toEqual({ refused: true, whole: 4, failures: [] });
});

it('one caller’s expensive requests don’t delay another caller’s', async () => {
  const toll = await target.current.withstands(
    'A17 beside honest callers',
    async (signal) => {
      const { url } = target.current;
      const honest = await startHonestCallers({ url, upstream, number: 4, token: keyOf('ada'), signal });
      const large = Object.values(manyNodes).slice(0, 4);
      for (const jsonOf of large) await ask('eve', crypto.randomUUID(), signal, jsonOf());
      return honest.finish();
    },
    60_000,
  );
  expect(toll.result).toEqual({ whole: 4, failures: [] });
});
