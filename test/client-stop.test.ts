import { describe, expect, it } from 'vitest';
import { createLlmClient, type LlmClientOptions, type LlmEvent, type Reconnect, type Run } from '../src/client.ts';
import type { SimulatorRequest } from '../src/simulator.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { until } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';
import { sixConnections } from './support/six-connections.ts';

finishesCleanly();

/** A run that is read while it arrives. */
interface Reading {
  readonly run: Run;
  readonly events: LlmEvent[];
  readonly ended: Promise<unknown>;
}

function read(run: Run): Reading {
  const events: LlmEvent[] = [];
  const ended = (async () => {
    for await (const event of run) events.push(event);
  })().catch((error: unknown) => error);
  return { run, events, ended };
}

const textIn = ({ events }: Reading) => events.map((event) => (event.type === 'text' ? event.text : '')).join('');

function connect(url: string, fetch: NonNullable<LlmClientOptions['fetch']>) {
  const reconnects: Reconnect[] = [];
  const llm = createLlmClient<AnyConfigRouter>({
    url,
    transport: 'sse',
    fetch,
    onReconnect: (reconnect) => reconnects.push(reconnect),
  });
  return { ...llm, reconnects };
}

type Client = ReturnType<typeof connect>;

describe('where six streams hold the six connections of a browser', () => {
  const test = serviceForEachTest();

  async function begin(llm: Client): Promise<Reading & { request: SimulatorRequest }> {
    const { upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const reading = read(llm.stream(ask('hi')));
    const request = await upstream.nextRequest();
    await request.text('one ');
    await until(() => textIn(reading) === 'one ');
    return { ...reading, request };
  }

  async function finishAll(readings: readonly (Reading & { request: SimulatorRequest })[]): Promise<void> {
    for (const { request } of readings) {
      await request.text('two');
      request.finish();
    }
    await Promise.all(readings.map(({ ended }) => ended));
    for (const reading of readings) {
      expect(textIn(reading)).toBe('one two');
      expect(reading.events.map(({ type }) => type)).toEqual(['start', 'text', 'text', 'done']);
    }
  }

  it('a cancel gets through, its reader sees the end, and the others lose nothing', async () => {
    const { upstream, url } = test.current;
    const browser = sixConnections();
    await using llm = connect(url, browser.fetch);
    const readings = [];
    for (let n = 0; n < 6; n += 1) readings.push(await begin(llm));
    expect(browser.open).toBe(6);
    const [stopped] = readings.splice(2, 1);
    expect(await stopped!.run.cancel()).toBe('cancelled');
    expect(await stopped!.request.outcome).toBe('client_closed');
    await stopped!.ended;
    expect(stopped!.events.map(({ type }) => type)).toEqual(['start', 'text', 'cancelled']);
    expect(stopped!.events.at(-1)).toMatchObject({ reason: 'requested' });
    await finishAll(readings);
    expect(upstream.requestCount).toBe(6);
    expect(llm.reconnects).toEqual([]);
  });

  it('a cancel gets through tRPC’s own client as well, whose subscriber sees only the end', async () => {
    const { upstream, url } = test.current;
    const browser = sixConnections();
    await using llm = connect(url, browser.fetch);
    const readings = [];
    for (let n = 0; n < 5; n += 1) readings.push(await begin(llm));
    upstream.enqueue({ kind: 'manual' });
    const seen: string[] = [];
    const generationId = crypto.randomUUID();
    const completed = new Promise<void>((resolve, reject) => {
      llm.trpc.llm.stream.subscribe(ask('hi', { generationId }), {
        onStarted: () => seen.push('started'),
        onStopped: () => seen.push('stopped'),
        onConnectionStateChange: ({ state }) => seen.push(state),
        onData: ({ data }) => seen.push(data.type),
        onError: reject,
        onComplete: resolve,
      });
    });
    const request = await upstream.nextRequest();
    await until(() => seen.includes('start'));
    expect(await llm.trpc.llm.cancel.mutate({ generationId })).toEqual({ outcome: 'cancelled' });
    expect(await request.outcome).toBe('client_closed');
    await completed;
    expect(seen).toEqual(['connecting', 'started', 'pending', 'start', 'cancelled', 'stopped', 'idle']);
    await finishAll(readings);
  });

  it('two cancels at once get through, of one answer or of two', async () => {
    const { url } = test.current;
    const browser = sixConnections();
    await using llm = connect(url, browser.fetch);
    const readings = [];
    for (let n = 0; n < 6; n += 1) readings.push(await begin(llm));
    const [first, second] = readings.splice(0, 2);
    const outcomes = await Promise.all([first!.run.cancel(), first!.run.cancel(), second!.run.cancel()]);
    expect(outcomes).toContain('cancelled');
    await Promise.all([first!.ended, second!.ended]);
    for (const each of [first!, second!]) expect(each.events.at(-1)?.type).toBe('cancelled');
    await finishAll(readings);
  });

  it('a cancel of an answer that nobody here follows gets through as well', async () => {
    const { url, upstream } = test.current;
    const browser = sixConnections();
    await using elsewhere = connect(url, fetch);
    const followed = await begin(elsewhere);
    await using llm = connect(url, browser.fetch);
    const readings = [];
    for (let n = 0; n < 6; n += 1) readings.push(await begin(llm));
    expect(await llm.follow({ generationId: followed.run.generationId }).cancel()).toBe('cancelled');
    await followed.ended;
    await finishAll(readings);
    expect(upstream.requestCount).toBe(7);
  });

  it('requests that wait for a connection don’t take the one that a cancel needs, and lose nothing either', async () => {
    const { url, upstream } = test.current;
    const browser = sixConnections();
    await using llm = connect(url, browser.fetch);
    const readings = [];
    for (let n = 0; n < 6; n += 1) readings.push(await begin(llm));
    upstream.respondWith({ kind: 'text', text: ['late'] });
    const late = [read(llm.stream(ask('hi'))), read(llm.stream(ask('hi')))];
    await until(() => browser.waiting === 2);
    const [stopped] = readings.splice(2, 1);
    expect(await stopped!.run.cancel()).toBe('cancelled');
    expect(await stopped!.request.outcome).toBe('client_closed');
    await stopped!.ended;
    await finishAll(readings);
    await Promise.all(late.map(({ ended }) => ended));
    expect(late.map(textIn)).toEqual(['late', 'late']);
    expect(upstream.requestCount).toBe(8);
  });

  it('six clients that share the connections, as tabs do, each stop their own', async () => {
    const { url } = test.current;
    const browser = sixConnections();
    const clients = Array.from({ length: 6 }, () => connect(url, browser.fetch));
    const readings = [];
    for (const llm of clients) readings.push(await begin(llm));
    for (const { run, request, ended } of readings) {
      expect(await run.cancel()).toBe('cancelled');
      expect(await request.outcome).toBe('client_closed');
      await ended;
    }
    for (const llm of clients) await llm.close();
  });

  it('a cancel that fails leaves the answer as it is', async () => {
    const { url } = test.current;
    const browser = sixConnections();
    let refused = 0;
    await using llm = connect(url, async (address, init) => {
      if (!address.includes('llm.cancel')) return browser.fetch(address, init);
      // After the client has asked its streams to make room.
      await until(() => browser.open < 6);
      refused += 1;
      return new Response('<h1>no</h1>', { status: 404, headers: { 'content-type': 'text/html' } });
    });
    const readings = [];
    for (let n = 0; n < 6; n += 1) readings.push(await begin(llm));
    await expect(readings[0]!.run.cancel()).rejects.toMatchObject({ code: 'unreachable' });
    expect(refused).toBe(1);
    await finishAll(readings);
  });

  it('closing the client while a cancel waits leaves nothing', async () => {
    const { url } = test.current;
    const browser = sixConnections();
    const llm = connect(url, (address, init) =>
      address.includes('llm.cancel') ? new Promise<Response>(() => {}) : browser.fetch(address, init),
    );
    const readings = [];
    for (let n = 0; n < 6; n += 1) readings.push(await begin(llm));
    const cancelled = readings[0]!.run.cancel().catch((error: unknown) => error);
    await until(() => browser.open < 6);
    await llm.close();
    expect(await cancelled).toMatchObject({ code: 'closed' });
    for (const { ended } of readings) expect(await ended).toMatchObject({ code: 'closed' });
  });
});

describe('where an answer ends with its last viewer', () => {
  const test = serviceForEachTest({
    configs: { default: { ...plainConfig, on_disconnect: { cancel_after_ms: 1 } }, lasting: plainConfig },
  });

  it('no stream is paused for another one’s cancel', async () => {
    const { url, upstream } = test.current;
    let streams = 0;
    await using llm = connect(url, async (address, init) => {
      if (!address.includes('llm.cancel')) {
        streams += 1;
        return fetch(address, init);
      }
      // Long enough for the client to ask all of them.
      await new Promise((resolve) => setTimeout(resolve, 500));
      return fetch(address, init);
    });
    upstream.respondWith({ kind: 'manual' });
    const readings = [read(llm.stream(ask('hi'))), read(llm.stream(ask('hi', { config: 'lasting' })))];
    const requests = [await upstream.nextRequest(), await upstream.nextRequest()];
    await until(() => readings.every(({ events }) => events.length > 0));
    await expect(llm.follow({ generationId: crypto.randomUUID() }).cancel()).rejects.toMatchObject({
      code: 'generation_not_found',
    });
    for (const request of requests) {
      await request.text('all');
      request.finish();
    }
    await Promise.all(readings.map(({ ended }) => ended));
    expect(readings.map(textIn)).toEqual(['all', 'all']);
    expect(streams).toBe(2);
  });
});
