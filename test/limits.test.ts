import { createHash } from 'node:crypto';
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Access } from '../src/access/access.ts';
import { HeldBytes } from '../src/access/held-bytes.ts';
import type { StreamRequest } from '../src/protocol.ts';
import type { SimulatorRequest } from '../src/simulator.ts';
import { doors, readAll, refusalOf, terminalOf, textOf, type AnyConfigRouter, type View } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { defaultLimits } from './support/limits.ts';
import { postJson, upgrade } from './support/raw-http.ts';
import { openSocket, query, subscription } from './support/raw-websocket.ts';
import { ask, plainConfig, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const KiB = 1024;
const rest = doors.find(({ name }) => name === 'rest')!;

function say(content: unknown): StreamRequest {
  return { config: 'default', messages: [{ role: 'user', content }] } as StreamRequest;
}

describe('what one request holds', () => {
  const test = serviceForEachTest({
    env: {
      LLM_BODY_BYTES_MAX: String(20 * KiB),
      LLM_MESSAGES_MAX: '3',
      LLM_BLOCKS_PER_MESSAGE_MAX: '2',
      LLM_BLOCK_DEPTH_MAX: '4',
      LLM_VARIABLES_MAX: '2',
      LLM_VARIABLE_CHARS_MAX: '10',
    },
    configs: { default: plainConfig, two: { ...plainConfig, system_prompt: '{{a}} {{b}}' } },
  });
  const messages = (count: number) => ({ ...say('hi'), messages: Array(count).fill({ role: 'user', content: 'hi' }) });
  const blocks = (count: number) => say(Array(count).fill({ type: 'text', text: 'hi' }));
  const deep = (levels: number) => {
    let value: unknown = 'hi';
    for (let level = 1; level < levels; level += 1) value = { value };
    return say([{ type: 'text', text: 'hi', extra: value }]);
  };
  const variables = (...values: string[]) => ({
    ...say('hi'),
    config: 'two',
    variables: Object.fromEntries(values.map((value, index) => ['abc'[index], value])),
  });

  it.each<[string, StreamRequest, StreamRequest, string]>([
    ['messages', messages(3), messages(4), 'messages'],
    ['blocks of a message', blocks(2), blocks(3), 'messages[0].content'],
    ['levels of a block', deep(4), deep(5), 'messages[0].content[0]'],
    ['variables', variables('a', 'b'), variables('a', 'b', 'c'), 'variables'],
    ['letters of a variable', variables('a', 'b'.repeat(10)), variables('a', 'b'.repeat(11)), 'variables.b'],
  ])('%s: as many as the limit are taken, and one more is refused at every door', async (_what, most, more, path) => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'text', text: 'well' });
    for (const door of doors) {
      expect(textOf(await readAll(door.stream(url, most)))).toBe('well');
      expect(await refusalOf(door.stream(url, more))).toMatchObject({ code: 'invalid_input', issues: [{ path }] });
    }
    expect(upstream.requestCount).toBe(doors.length);
  });

  it('a body as large as the limit is taken, and one byte more is refused', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'text', text: 'well' });
    const bodyOf = (bytes: number, wrap: (text: string) => unknown) => {
      const empty = Buffer.byteLength(JSON.stringify(wrap('')));
      return JSON.stringify(wrap('x'.repeat(bytes - empty)));
    };
    const overRest = (text: string) => ({ messages: say(text).messages });
    const overTrpc = (text: string) => ({ json: say(text) });
    const ways = [
      { path: '/api/llm/process_stream/default', wrap: overRest },
      { path: '/trpc/llm.stream', wrap: overTrpc },
    ];
    for (const { path, wrap } of ways) {
      expect((await postJson(url + path, bodyOf(20 * KiB, wrap))).text).toContain('well');
      expect((await postJson(url + path, bodyOf(20 * KiB + 1, wrap))).text).toContain('"code":"too_large"');
    }
    expect(upstream.requestCount).toBe(2);
    const mutation = await postJson(`${url}/trpc/llm.cancel`, { json: 'x'.repeat(20 * KiB) });
    expect(mutation.status).toBe(413);
    expect(mutation.text).toContain('"code":"too_large"');
  });

  it('a body without a content-length is cut off at the limit, too', async () => {
    const { url } = test.current;
    const endless = new ReadableStream({
      start: (controller) => controller.enqueue(Buffer.from('{"messages":[')),
      pull: (controller) => {
        controller.enqueue(Buffer.alloc(64 * KiB, ' '));
        if ((sent += 1) > 100) controller.close();
      },
    });
    let sent = 0;
    const { status } = await fetch(`${url}/trpc/llm.cancel`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: endless,
      duplex: 'half',
    });
    expect(status).toBe(413);
  });
});

describe.each([
  ['of all callers', 'LLM_GENERATIONS_MAX', 'at_capacity'],
  ['of one caller', 'LLM_GENERATIONS_PER_CALLER_MAX', 'rate_limited'],
])('generations %s', (_of, name, code) => {
  const test = serviceForEachTest({ env: { [name]: '2' } });

  it.each(doors)('over $name: the third is refused until one has ended, and an attach never is', async (door) => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' }, { kind: 'manual' });
    const asked = [1, 2].map(() => ask('hi', { generationId: crypto.randomUUID() }));
    const views = asked.map((each) => door.stream(url, each));
    const requests = [await upstream.nextRequest(), await upstream.nextRequest()];
    expect(await refusalOf(door.stream(url, ask('third')))).toMatchObject({ code, retryable: true });
    const another = door.stream(url, asked[0]!);
    await another.until(({ type }) => type === 'start');
    requests[0]!.finish();
    // Either of the two may have got the first request.
    await Promise.race([...views.map(readAll), readAll(another)]);
    await eventually(async () => void terminalOf(await readAll(door.stream(url, ask('third')))));
    requests[1]!.finish();
    await Promise.all(views.map(readAll));
    expect(upstream.requestCount).toBe(3);
  });
});

describe.each([
  ['of one caller', { LLM_VIEWERS_PER_CALLER_MAX: '2' }, 'rate_limited'],
  ['of all callers', { LLM_VIEWERS_MAX: '2' }, 'at_capacity'],
])('viewers %s', (_whose, env, code) => {
  const test = serviceForEachTest({ env });

  it.each(doors)('over $name: the third is refused until one has left', async (door) => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    const [stays, leaves] = [door.stream(url, asked), door.stream(url, asked)];
    await Promise.all([stays, leaves].map((view) => view.until(({ type }) => type === 'start')));
    expect(await refusalOf(door.stream(url, asked))).toMatchObject({ code, retryable: true });
    leaves.close();
    const request = await upstream.nextRequest();
    await eventually(async () => {
      const view = door.stream(url, asked);
      await view.until(({ type }) => type === 'start');
      view.close();
    });
    request.finish();
    await readAll(stays);
    expect(upstream.requestCount).toBe(1);
  });
});

describe('limits of a caller', () => {
  const keys = { alice: 'sk-alice', bob: 'sk-bob' };
  const test = serviceForEachTest({
    env: {
      LLM_API_KEYS: Object.entries(keys)
        .map(([name, key]) => `${name}:${createHash('sha256').update(key).digest('hex')}`)
        .join(','),
      LLM_GENERATIONS_PER_CALLER_MAX: '1',
      LLM_VIEWERS_PER_CALLER_MAX: '1',
      LLM_STARTS_PER_MINUTE_MAX: '1',
    },
  });

  it.each(doors)('don’t affect another caller, over $name', async (door) => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const view = door.stream(url, ask('hi'), keys.alice);
    const request = await upstream.nextRequest();
    expect(await refusalOf(door.stream(url, ask('hi'), keys.alice))).toMatchObject({ code: 'rate_limited' });
    expect(terminalOf(await readAll(door.stream(url, ask('hi'), keys.bob))).type).toBe('done');
    request.finish();
    await readAll(view);
  });
});

describe.each([
  ['of a caller', { LLM_HELD_BYTES_PER_CALLER_MAX: String(250 * KiB) }, 'rate_limited'],
  ['of all callers', { LLM_HELD_BYTES_MAX: String(250 * KiB) }, 'at_capacity'],
])('memory for the requests %s that run', (_whose, env, code) => {
  const test = serviceForEachTest({ env });

  it.each(doors)('over $name: is given back when they have ended, and a request beyond it is refused', async (door) => {
    const { url, upstream } = test.current;
    const large = ask('x'.repeat(100 * KiB));
    upstream.enqueue({ kind: 'manual' });
    const view = door.stream(url, large);
    const request = await upstream.nextRequest();
    expect(await refusalOf(door.stream(url, large))).toMatchObject({ code, retryable: true });
    expect(terminalOf(await readAll(door.stream(url, ask('small')))).type).toBe('done');
    request.finish();
    await readAll(view);
    await eventually(async () => void terminalOf(await readAll(door.stream(url, large))));
  });
});

describe('memory for a request that runs', () => {
  const test = serviceForEachTest({
    env: { LLM_HELD_BYTES_MAX: String(250 * KiB) },
    configs: {
      default: plainConfig,
      large: { ...plainConfig, system_prompt: 'x'.repeat(200 * KiB) },
      echo: { ...plainConfig, system_prompt: '{{text}}'.repeat(20) },
    },
  });

  it.each([
    { config: 'large', messages: ask('hi').messages },
    { config: 'echo', messages: ask('hi').messages, variables: { text: 'x'.repeat(10 * KiB) } },
  ])('counts the prompt of $config, filled in', async (request) => {
    const { url, upstream } = test.current;
    expect(await refusalOf(doors[0]!.stream(url, request))).toMatchObject({ code: 'at_capacity' });
    expect(terminalOf(await readAll(doors[0]!.stream(url, ask('small')))).type).toBe('done');
    expect(upstream.requestCount).toBe(1);
  });
});

describe('starts in a minute', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('are counted by caller, and refused with the time after which one is taken again', async () => {
    const access = new Access({
      keys: undefined,
      allowedOrigins: [],
      allowedHosts: [],
      loopback: true,
      limits: { ...defaultLimits, startsPerMinuteMax: 2 },
      held: new HeldBytes(defaultLimits),
    });
    const start = async (name: string) => {
      using place = await access.admitGeneration({ name }, 0);
      return place;
    };
    await start('alice');
    vi.advanceTimersByTime(20_000);
    await start('alice');
    const refused = { code: 'rate_limited', retryAfterMs: 40_000 };
    await expect(start('alice')).rejects.toMatchObject(refused);
    await start('bob');
    vi.advanceTimersByTime(39_999);
    await expect(start('alice')).rejects.toMatchObject({ ...refused, retryAfterMs: 1 });
    vi.advanceTimersByTime(1);
    await start('alice');
    expect(access.load).toEqual({ generations: 0, viewers: 0, waiting: 0 });
  });
});

describe('WebSockets', () => {
  const test = serviceForEachTest({
    env: { LLM_SOCKETS_MAX: '2', LLM_SUBSCRIPTIONS_PER_SOCKET_MAX: '2', LLM_CONNECTION_PARAMS_MS: '1000' },
  });

  it('are refused beyond their number, and taken again when one has closed', async () => {
    const { url } = test.current;
    using first = await openSocket(url);
    using second = await openSocket(url);
    const refused = await upgrade(`${url}/trpc`);
    expect(refused.status).toBe(503);
    expect(JSON.parse(refused.text)).toMatchObject({ error: { code: 'at_capacity', retryable: true } });
    second[Symbol.dispose]();
    await eventually(async () => expect((await upgrade(`${url}/trpc`)).status).toBe(101));
    first.send(query(1, 'llm.configs'));
    expect(await first.next()).toMatchObject({ id: 1, result: { type: 'data' } });
  });

  it('hold so many subscriptions at once; one that was stopped gives its place back', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'manual' });
    using socket = await openSocket(url);
    const started = async (id: number) => {
      socket.send(subscription(id, 'llm.stream', ask('hi')));
      for (const type of ['started', 'data']) expect(await socket.next()).toMatchObject({ id, result: { type } });
    };
    await started(1);
    await started(2);
    socket.send(subscription(3, 'llm.stream', ask('hi')));
    const { error } = await socket.next();
    expect(error?.json.data.llm.code).toBe('rate_limited');
    expect(upstream.requestCount).toBeLessThanOrEqual(2);
    socket.send({ id: 1, method: 'subscription.stop' });
    expect(await socket.next()).toMatchObject({ id: 1, result: { type: 'stopped' } });
    await started(4);
    // An id that is in use can't open a second subscription.
    socket.send(subscription(4, 'llm.stream', ask('hi')));
    expect((await socket.next()).error?.json.data.llm.code).toBe('invalid_input');
  });

  it.each([
    ['says nothing', []],
    ['only answers heartbeats', ['PONG', 'PING']],
    ['sends something else', ['{"method":"nonsense"}', 'garbage', query(1, 'llm.configs')]],
  ])('a client that announced connection params and %s is let go', async (_what, messages) => {
    using socket = await openSocket(test.current.url, '?connectionParams=1');
    for (const message of messages) socket.send(message);
    expect(await socket.closed).toBe(1008);
  });

  it.each([['[]'], ['null'], ['1'], ['{"id":{},"method":"query"}'], ['{"method":"connectionParams","data":7}']])(
    'a first message that holds none, where they were announced, is refused for what it is: %s',
    async (message) => {
      using socket = await openSocket(test.current.url, '?connectionParams=1');
      socket.send(message);
      expect((await socket.next()).error?.json.data.llm.code).toBe('invalid_input');
    },
  );

  it('a client that sent its connection params stays', async () => {
    using socket = await openSocket(test.current.url, '?connectionParams=1');
    socket.send({ method: 'connectionParams', data: { token: 'any' } });
    // Shows when the time is up for both.
    using late = await openSocket(test.current.url, '?connectionParams=1');
    await late.closed;
    socket.send(query(1, 'llm.configs'));
    expect(await socket.next()).toMatchObject({ id: 1, result: { type: 'data' } });
  });
});

describe('stream logs', () => {
  const test = serviceForEachTest({
    env: { LLM_LOG_BYTES_MAX: String(16 * KiB), LLM_LOGS_BYTES_MAX: String(40 * KiB), LLM_LOG_RETENTION_MS: '3600000' },
  });

  it.each(doors)(
    'over $name: an answer that outgrows its log ends there, with its usage, and upstream is closed',
    async (door) => {
      const { url, upstream } = test.current;
      upstream.enqueue({ kind: 'manual' });
      const view = door.stream(url, ask('hi'));
      const request = await upstream.nextRequest();
      await request.text('kept '.repeat(1_000));
      await view.until(({ type }) => type === 'text');
      await request.text('beyond '.repeat(2_000));
      const seen = await readAll(view);
      expect(textOf(seen)).toBe('kept '.repeat(1_000));
      const terminal = terminalOf(seen);
      expect(terminal).toMatchObject({ type: 'error', code: 'log_limit', retryable: false, config: 'default' });
      expect(terminal.usage).toMatchObject({ estimated: true });
      expect(terminal.usage.outputTokens).toBeGreaterThan(1_000);
      expect(await request.outcome).toBe('client_closed');
    },
  );

  it('together make room by dropping ended ones; if all run, a new one is refused until one ends', async () => {
    const { url, upstream } = test.current;
    const large = 'x'.repeat(12 * KiB);
    upstream.enqueue({ kind: 'text', text: large });
    const ended = { generationId: crypto.randomUUID() };
    await readAll(rest.stream(url, ask('hi', ended)));
    await upstream.nextRequest();
    expect(textOf(await readAll(rest.follow(url, ended)))).toBe(large);

    const running: { view: View; request: SimulatorRequest }[] = [];
    for (let filled = 0; filled < 3; filled += 1) {
      upstream.enqueue({ kind: 'manual' });
      const view = rest.stream(url, ask('hi'));
      const request = await upstream.nextRequest();
      await request.text(large);
      await view.until(({ type }) => type === 'text');
      running.push({ view, request });
    }
    expect(await refusalOf(rest.follow(url, ended))).toMatchObject({ code: 'generation_not_found' });
    expect(await refusalOf(rest.stream(url, ask('hi')))).toMatchObject({ code: 'at_capacity', status: 503 });
    expect(test.current.service.core.access.load.generations).toBe(3);
    running[0]!.request.finish();
    await readAll(running[0]!.view);
    await eventually(async () => void terminalOf(await readAll(rest.stream(url, ask('/sim echo well')))));
    for (const { view, request } of running.slice(1)) {
      request.finish();
      expect(textOf(await readAll(view))).toBe(large);
    }
  });
});

describe('what is kept', () => {
  const test = serviceForEachTest({
    env: { LLM_LOG_RETENTION_MS: '0', LLM_BAR_MS: '1', LLM_VIEWER_BATCH_BYTES_MAX: '1024', LLM_RECONNECT_MS: '1234' },
  });

  it.each(doors)('over $name: an answer that is no longer kept is gone, and is never run again', async (door) => {
    const { url, upstream } = test.current;
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    await readAll(door.stream(url, asked));
    const gone = { code: 'generation_not_found' };
    expect(await refusalOf(door.follow(url, { generationId: asked.generationId! }))).toMatchObject(gone);
    expect(await refusalOf(door.stream(url, asked))).toMatchObject(gone);
    expect(upstream.requestCount).toBe(1);
  });

  it('an id that was cancelled before its start can be started after its time', async () => {
    const { url, upstream } = test.current;
    const link = httpLink({ url: `${url}/trpc`, transformer: superjson });
    const client = createTRPCClient<AnyConfigRouter>({ links: [link] });
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    await expect(client.llm.cancel.mutate({ generationId: asked.generationId! })).rejects.toThrow('No such generation');
    await eventually(async () => void terminalOf(await readAll(rest.stream(url, asked))));
    expect(upstream.requestCount).toBe(1);
  });

  it.each(doors)('over $name: a viewer that catches up is sent pieces of a bounded size', async (door) => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'manual' });
    const asked = ask('hi', { generationId: crypto.randomUUID() });
    const view = door.stream(url, asked);
    const request = await upstream.nextRequest();
    for (let piece = 10; piece < 60; piece += 1) {
      const text = String(piece).repeat(50);
      await request.text(text);
      await view.until((event) => event.type === 'text' && event.text === text);
    }
    const late = door.stream(url, asked);
    await late.until(({ type }) => type === 'text');
    request.finish();
    await readAll(view);
    const sizes = (await readAll(late)).map(({ event }) => (event.type === 'text' ? event.text.length : 0));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_024);
    expect(sizes.reduce((sum, size) => sum + size)).toBe(5_000);
    // The text arrives in pieces, but in fewer than the fifty that were sent.
    expect(sizes.length).toBeLessThan(20);
  });

  it('a client is told when to come back', async () => {
    const { url } = test.current;
    const answers = [
      await postJson(`${url}/api/llm/process_stream/default`, { messages: ask('hi').messages }),
      await postJson(`${url}/trpc/llm.stream`, { json: ask('hi') }),
    ];
    for (const { text } of answers) expect(text).toMatch(/^retry: 1234\n(?:id|event): /);
  });
});

describe('silence', () => {
  const test = serviceForEachTest({ env: { LLM_HEARTBEAT_MS: '10' } });

  it('is broken by heartbeats at every door', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'manual' });
    const hearing = [
      { path: '/api/llm/process_stream/default', body: { messages: ask('hi').messages }, beat: ':\n' },
      { path: '/trpc/llm.stream', body: { json: ask('hi') }, beat: 'event: ping\ndata: \n\n' },
    ].map(async ({ path, body, beat }) => {
      const headers = { 'content-type': 'application/json' };
      const { body: stream } = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
      let heard = '';
      for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
        heard += Buffer.from(chunk).toString();
        if (heard.split(beat).length > 3) break;
      }
    });
    await Promise.all(hearing);
    using socket = await openSocket(url);
    await new Promise<void>((heard) => {
      let beats = 0;
      socket.tcp.on('data', (bytes: Buffer) => {
        beats += bytes.toString('latin1').split('PING').length - 1;
        if (beats > 2) heard();
      });
    });
  });
});
