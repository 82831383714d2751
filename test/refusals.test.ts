import { once } from 'node:events';
import { connect } from 'node:net';
import { createTRPCClient, createWSClient, httpSubscriptionLink, wsLink } from '@trpc/client';
import { EventSource } from 'eventsource';
import superjson from 'superjson';
import { describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { errorTable } from '../src/errors.ts';
import type { ErrorCode, ErrorData, InputIssue, StreamRequest } from '../src/protocol.ts';
import { doors, readAll, refusalOf, textOf, type AnyConfigRouter, type Door } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson, send, upgrade, type RawAnswer, type RawRequest } from './support/raw-http.ts';
import { openSocket, query, subscription } from './support/raw-websocket.ts';
import { ask, serviceForEachTest, type TestService } from './support/service.ts';
import { startTcpProxy } from './support/tcp-proxy.ts';

finishesCleanly();

const canary = 'canary-in-the-prompt';

interface Refusal {
  readonly code: ErrorCode;
  readonly why: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Makes the service refuse. Upstream calls that this makes don't count. */
  readonly prepare?: (current: TestService, door: Door) => Promise<void>;
  readonly request?: Partial<Record<keyof StreamRequest, unknown>>;
  readonly issues?: readonly Partial<InputIssue>[];
  readonly says?: RegExp;
  /** The doors that refuse in this way; all of them unless given. */
  readonly over?: readonly Door['name'][];
}

const generationId = crypto.randomUUID();

/** A generation that runs until the test is over. */
async function occupy({ url, upstream }: TestService, door: Door): Promise<void> {
  upstream.enqueue({ kind: 'manual' });
  const view = door.stream(url, ask('occupies'));
  await view.until(({ type }) => type === 'start');
  await upstream.nextRequest();
}

const refusals: readonly Refusal[] = [
  {
    code: 'invalid_input',
    why: 'a role that is none',
    request: { messages: [{ role: 'robot', content: canary }] },
    issues: [{ path: 'messages[0].role' }],
  },
  { code: 'invalid_input', why: 'no messages', request: { messages: [] }, issues: [{ path: 'messages' }] },
  {
    code: 'invalid_input',
    why: 'a content block without type',
    request: { messages: [{ role: 'user', content: [{ text: canary }] }] },
    issues: [{ path: 'messages[0].content[0].type' }],
  },
  {
    code: 'invalid_input',
    why: 'every issue at once',
    request: { messages: [{ role: 'user' }, { role: 'x', content: canary }], variables: { a: 1 } },
    issues: [{ path: 'messages[0].content' }, { path: 'messages[1].role' }, { path: 'variables.a' }],
  },
  { code: 'invalid_input', why: 'a missing variable', request: { config: 'tutor' }, says: /subject/ },
  {
    code: 'invalid_input',
    why: 'a variable that the prompt does not have',
    request: { variables: { colour: canary } },
    says: /colour/,
  },
  {
    code: 'invalid_input',
    why: "another generation's cursor",
    request: { generationId, lastEventId: `${crypto.randomUUID()}:0` },
    issues: [{ path: 'lastEventId' }],
  },
  {
    code: 'invalid_input',
    why: 'a cursor that is none',
    request: { lastEventId: 'nonsense' },
    issues: [{ path: 'lastEventId' }],
  },
  { code: 'unauthorized', why: 'no key', env: { LLM_API_KEYS: `alice:${'0'.repeat(64)}` } },
  {
    code: 'config_not_found',
    why: 'an unknown config',
    request: { config: 'defualt' },
    says: /^Configuration not found: "defualt".*default, welcome, tutor/,
  },
  {
    code: 'config_not_found',
    why: 'a config named like something that every object has',
    request: { config: '__proto__' },
    says: /__proto__/,
  },
  { code: 'generation_not_found', why: 'a cursor in what is gone', request: { lastEventId: `${generationId}:3` } },
  {
    code: 'conflict',
    why: 'an id that another request has',
    request: { generationId },
    prepare: async ({ url }, door) => void (await readAll(door.stream(url, ask('something else', { generationId })))),
  },
  {
    code: 'too_large',
    why: 'a body over the limit',
    env: { LLM_BODY_BYTES_MAX: '2000' },
    request: { messages: [{ role: 'user', content: canary.repeat(1_000) }] },
    over: ['sse', 'rest'],
  },
  {
    code: 'rate_limited',
    why: 'too many starts in a minute',
    env: { LLM_STARTS_PER_MINUTE_MAX: '1' },
    prepare: async ({ url }, door) => void (await readAll(door.stream(url, ask('first')))),
  },
  { code: 'rate_limited', why: 'too many generations', env: { LLM_GENERATIONS_PER_CALLER_MAX: '1' }, prepare: occupy },
  { code: 'rate_limited', why: 'too many viewers', env: { LLM_VIEWERS_PER_CALLER_MAX: '1' }, prepare: occupy },
  { code: 'at_capacity', why: 'too many generations of all', env: { LLM_GENERATIONS_MAX: '1' }, prepare: occupy },
  {
    code: 'shutting_down',
    why: 'a shutdown',
    prepare: async (current, door) => {
      await occupy(current, door);
      void current.service.core.generations.drain(60_000);
    },
  },
  {
    code: 'internal',
    why: 'a bug of ours',
    prepare: async ({ service }) => {
      vi.spyOn(service.core.generations, 'stream').mockImplementation(() => {
        throw new Error(canary, { cause: new Error(canary) });
      });
    },
  },
];

describe.each(refusals)('$code, for $why', ({ code, env, prepare, request, issues, says, over }) => {
  const test = serviceForEachTest(env ? { env } : {});
  const asked = { ...ask(canary), ...request } as StreamRequest;

  it.each(doors.filter(({ name }) => over?.includes(name) ?? true))(
    'is told over $name, and nothing is run',
    async (door) => {
      const { url, upstream } = test.current;
      await prepare?.(test.current, door);
      const before = upstream.requestCount;
      const refusal = await refusalOf(door.stream(url, asked));
      expect(refusal).toMatchObject({ code, retryable: errorTable[code].retryable });
      if (door.name === 'rest') expect(refusal.status).toBe(errorTable[code].status);
      if (issues) expect(refusal.issues).toMatchObject(issues);
      if (says) expect(refusal.message).toMatch(says);
      if (errorTable[code].retryable) expect(refusal.retryAfterMs).toBeGreaterThan(0);
      expect(JSON.stringify(refusal)).not.toContain(canary);
      expect(upstream.requestCount).toBe(before);
    },
  );

  it('is on the wire without a stack, and under a number on which links don’t run it again', async () => {
    const { url } = test.current;
    await prepare?.(test.current, doors[0]!);
    const { config, generationId: id, lastEventId, ...body } = asked;
    const headers: Record<string, string> = {
      ...(id ? { 'idempotency-key': id } : {}),
      ...(lastEventId ? { 'last-event-id': lastEventId } : {}),
    };
    const overRest = await postJson(`${url}/api/llm/process_stream/${config}`, body, headers);
    expect(overRest.status).toBe(errorTable[code].status);
    const { error } = JSON.parse(overRest.text) as { error: ErrorData };
    expect(error.code).toBe(code);
    const retryAfterS = error.retryAfterMs === undefined ? undefined : String(Math.ceil(error.retryAfterMs / 1_000));
    expect(overRest.headers['retry-after']).toBe(retryAfterS);

    const overSse = await postJson(`${url}/trpc/llm.stream`, { json: asked });
    const { json } = JSON.parse(/^event: serialized-error\ndata: (.*)$/m.exec(overSse.text)![1]!) as ErrorWire;
    expect(json.data.llm.code).toBe(code);
    expect(json.code).not.toBe(-32603);

    const texts = [overRest.text, overSse.text];
    if (over?.includes('websocket') ?? true) {
      using socket = await openSocket(url);
      socket.send(subscription(1, 'llm.stream', asked));
      let answer = await socket.next();
      if (answer.result?.type === 'started') answer = await socket.next();
      expect(answer.error?.json.data.llm.code).toBe(code);
      expect(answer.error?.json.code).not.toBe(-32603);
      texts.push(JSON.stringify(answer));
    }
    for (const text of texts) {
      expect(text).not.toContain(canary);
      expect(text).not.toMatch(/\bat .*:\d+:\d+|node_modules|"stack"/);
    }
  });
});

interface ErrorWire {
  readonly json: { readonly code: number; readonly data: { readonly llm: ErrorData } };
}

describe('a stock link that was refused', () => {
  const test = serviceForEachTest({ env: { LLM_GENERATIONS_MAX: '1' } });

  it('does not ask again by itself, over either transport', async () => {
    const { url, service, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    await occupy(test.current, doors[0]!);
    const runs = vi.spyOn(service.core.generations, 'stream');
    const socket = createWSClient({ url: `${proxy.url.replace('http', 'ws')}/trpc`, WebSocket: WebSocket as never });
    const links = [
      httpSubscriptionLink({ url: `${proxy.url}/trpc`, transformer: superjson, EventSource }),
      wsLink({ client: socket, transformer: superjson }),
    ];
    const subscriptions: { unsubscribe(): void }[] = [];
    for (const link of links) {
      const client = createTRPCClient<AnyConfigRouter>({ links: [link] });
      await new Promise((onError) => {
        subscriptions.push(client.llm.stream.subscribe(ask('hi'), { onError }));
      });
    }
    expect(runs).toHaveBeenCalledTimes(2);
    // An EventSource reconnects after a millisecond here, and the next steps take many milliseconds.
    const asked = ask('occupies', { generationId: crypto.randomUUID() });
    for (let turn = 0; turn < 20; turn += 1) await refusalOf(doors[2]!.stream(url, asked));
    expect(runs).toHaveBeenCalledTimes(22);
    expect(proxy.connections).toBe(2);
    expect(upstream.requestCount).toBe(1);
    for (const each of subscriptions) each.unsubscribe();
    await socket.close();
  });
});

describe('input that is not a valid request', () => {
  const test = serviceForEachTest({ env: { LLM_BODY_BYTES_MAX: '1000000' } });
  const path = '/api/llm/process_stream/default';
  const json = { 'content-type': 'application/json' };
  const body = JSON.stringify({ messages: [{ role: 'user', content: canary }] });
  const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
  const nested = (levels: number) => `{"messages":[{"role":"user","content":[{"type":"text","a":${deep(levels)}}]}]}`;

  it.each<[string, RawRequest, number]>([
    ['a body that is no JSON', { body: '{' }, 400],
    ['an empty body', { body: '' }, 400],
    ['no body', { headers: {} }, 400],
    ['a list', { body: '[]' }, 400],
    ['a text', { body: `"${canary}"` }, 400],
    ['null', { body: 'null' }, 400],
    ['a body called text/plain', { body, headers: { 'content-type': 'text/plain' } }, 400],
    ['a body called application/xml', { body, headers: { 'content-type': 'application/xml' } }, 400],
    ['a body called nothing', { body, headers: {} }, 400],
    ['a block nested too deep', { body: nested(40) }, 400],
    ['a block nested far too deep', { body: nested(50_000) }, 400],
    ['an Idempotency-Key that is no UUID', { body, headers: { ...json, 'idempotency-key': canary } }, 400],
    ['a GET of what is to be posted to', { method: 'GET' }, 404],
    ['a PUT', { method: 'PUT', body }, 404],
    ['a HEAD', { method: 'HEAD' }, 404],
  ])('%s is refused over REST, and nothing is run', async (_what, request, status) => {
    const { url, upstream } = test.current;
    const answer = await send(url + path, { method: 'POST', headers: json, ...request });
    expect(answer.status).toBe(status);
    if (request.method !== 'HEAD') expect(JSON.parse(answer.text)).toMatchObject({ error: { code: 'invalid_input' } });
    expect(answer.text).not.toContain(canary);
    expect(upstream.requestCount).toBe(0);
  });

  it.each([
    ['GET /api', 404],
    ['GET /api/llm/nonsense', 404],
    ['GET /api/llm/generations/no-uuid/events', 400],
    ['POST /api/llm/process_stream/%E0%A4%A', 400],
    [`POST /api/llm/process_stream/${'long'.repeat(300)}`, 400],
    ['GET /trpc', 404],
  ])('%s is no route', async (line, status) => {
    const [method, route] = line.split(' ') as [string, string];
    const answer = await send(test.current.url + route, { method });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toMatchObject({ error: { code: 'invalid_input', retryable: false } });
  });

  it.each(['llm.stream', 'llm.follow', 'llm.cancel'])(
    'what is no input of %s is refused over tRPC',
    async (procedure) => {
      const { url, upstream } = test.current;
      const bodies = [
        '{',
        '',
        '[]',
        'null',
        '1',
        '{}',
        '{"json":1}',
        '{"json":null}',
        '{"json":[]}',
        `{"json":${deep(50_000)}}`,
      ];
      for (const each of bodies) {
        const answer = await postJson(`${url}/trpc/${procedure}`, each);
        expect(trpcRefusalIn(answer), each.slice(0, 20)).toMatchObject({ code: 'invalid_input' });
        if (procedure !== 'llm.cancel') expect(answer.text).not.toContain('-32603');
      }
      for (const type of ['text/plain', 'application/xml', 'multipart/form-data']) {
        const answer = await postJson(`${url}/trpc/${procedure}`, { json: ask('hi') }, { 'content-type': type });
        expect(trpcRefusalIn(answer), type).toMatchObject({ code: 'invalid_input' });
      }
      expect(upstream.requestCount).toBe(0);
    },
  );

  it.each(['llm.nonsense', 'llm', 'constructor', '__proto__', 'toString', 'llm.stream,llm.configs'])(
    'the procedure %s is none, however it is asked for',
    async (procedure) => {
      const { url, upstream } = test.current;
      for (const headers of [{}, { accept: 'text/event-stream' }] as const) {
        const answer = await postJson(`${url}/trpc/${procedure}`, { json: ask('hi') }, headers);
        expect(trpcRefusalIn(answer)).toMatchObject({ code: 'invalid_input' });
        expect(answer.text).not.toContain('-32603');
      }
      using socket = await openSocket(url);
      socket.send(subscription(1, procedure, ask('hi')));
      expect((await socket.next()).error?.json).toMatchObject({
        code: -32004,
        data: { llm: { code: 'invalid_input' } },
      });
      expect(upstream.requestCount).toBe(0);
    },
  );

  it('a subscription runs by GET and POST alone, and never in a batch', async () => {
    const { url, upstream } = test.current;
    const input = encodeURIComponent(JSON.stringify({ json: ask('hi') }));
    const batch = encodeURIComponent(JSON.stringify({ 0: { json: ask('hi') }, 1: { json: ask('hi') } }));
    for (const method of ['HEAD', 'PUT', 'DELETE', 'PATCH']) {
      expect((await send(`${url}/trpc/llm.stream?input=${input}`, { method })).status).toBe(404);
    }
    for (const accept of ['text/event-stream', 'application/jsonl', '*/*']) {
      await send(`${url}/trpc/llm.stream,llm.stream?batch=1&input=${batch}`, { headers: { accept } });
      await send(`${url}/trpc/llm.stream?batch=1&input=${batch}`, { headers: { accept } });
    }
    expect(upstream.requestCount).toBe(0);
  });

  it('a batch of more calls than a page makes is refused', async () => {
    const { url } = test.current;
    const batchOf = (calls: number) => `${url}/trpc/${Array(calls).fill('llm.configs').join(',')}?batch=1`;
    expect((await send(batchOf(100))).status).toBe(200);
    const refused = await send(batchOf(101));
    expect(refused.status).toBe(400);
    expect(refused.text).toContain('"code":"invalid_input"');
  });

  it('a mutation is not run by GET', async () => {
    const { url } = test.current;
    const input = encodeURIComponent(JSON.stringify({ json: { generationId } }));
    const answer = await send(`${url}/trpc/llm.cancel?input=${input}`);
    expect(answer.status).toBe(405);
    expect(trpcRefusalIn(answer)).toMatchObject({ code: 'invalid_input' });
  });

  // Regression: superjson builds what its notes ask for. Thirty levels whose two branches are one object are a billion
  // leaves.
  it.each(['sse', 'websocket'])('notes that make much out of little are not heeded over %s', async (transport) => {
    const { url } = test.current;
    const levels = 30;
    let block: unknown = 1;
    for (let level = 0; level < levels; level += 1) block = { a: block, b: 1 };
    const messages = [{ role: 'user', content: [{ type: 'text', text: 'hi', tree: block, big: '1', bytes: 2 ** 33 }] }];
    const at = 'messages.0.content.0';
    const twins = Array.from({ length: levels }, (_, level) => `${at}.tree${'.a'.repeat(level)}`);
    const meta = {
      referentialEqualities: Object.fromEntries(twins.map((twin) => [`${twin}.a`, [`${twin}.b`]])),
      values: {
        [`${at}.big`]: ['bigint'],
        [`${at}.bytes`]: [['typed-array', 'Uint8Array']],
        variables: ['undefined'],
      },
      v: 1,
    };
    const input = { json: { config: 'default', messages, variables: null }, meta };
    if (transport === 'sse') {
      expect((await postJson(`${url}/trpc/llm.stream`, input)).text).toContain('"type":"start"');
    } else {
      using socket = await openSocket(url);
      socket.send({ ...subscription(1, 'llm.stream', null), params: { path: 'llm.stream', input } });
      expect((await socket.next()).result).toMatchObject({ type: 'started' });
      expect((await socket.next()).result).toMatchObject({ data: { json: { data: { type: 'start' } } } });
    }
  });

  it('frames that are no messages are answered, and the socket goes on', async () => {
    const { url, upstream } = test.current;
    using socket = await openSocket(url);
    const frames: unknown[] = [
      'garbage',
      '{',
      null,
      1,
      '"text"',
      {},
      { id: 1 },
      { id: 2, method: 'nonsense', params: {} },
    ];
    frames.push({ id: 3, method: 'subscription', params: { path: 'llm.stream' } });
    frames.push({ id: 4, method: 'subscription', params: { path: 'llm.stream', input: 1 } });
    frames.push({ id: 5, method: 'query', params: { path: 'llm.stream', input: { json: ask('hi') } } });
    frames.push({ id: 6, method: 'subscription', params: { path: 'llm.cancel', input: { json: { generationId } } } });
    frames.push(Buffer.from(JSON.stringify(query(7, 'llm.configs'))), Buffer.from([0, 255, 254]));
    for (const frame of frames) {
      socket.send(frame);
      const { error } = await socket.next();
      expect(error?.json.data.llm.code, JSON.stringify(frame)).toBe('invalid_input');
      expect(error?.json.code, JSON.stringify(frame)).not.toBe(-32603);
    }
    socket.send(query(8, 'llm.configs'));
    expect(await socket.next()).toMatchObject({ id: 8, result: { type: 'data' } });
    expect(upstream.requestCount).toBe(0);
  });

  it('a message over the limit closes the socket, with the code that says so', async () => {
    const { url, upstream } = test.current;
    using socket = await openSocket(url);
    socket.send(subscription(1, 'llm.stream', ask('x'.repeat(1_000_000))));
    expect(await socket.closed).toBe(1009);
    expect(upstream.requestCount).toBe(0);
    expect(textOf(await readAll(doors[1]!.stream(url, ask('/sim echo well'))))).toBe('well');
  });

  it('bytes that are no frame close the socket and harm nobody else', async () => {
    const { url } = test.current;
    using other = await openSocket(url);
    using socket = await openSocket(url);
    socket.tcp.write('this is no frame at all');
    await socket.closed;
    other.send(query(1, 'llm.configs'));
    expect(await other.next()).toMatchObject({ id: 1, result: { type: 'data' } });
  });

  it.each([{ 'content-length': '5' }, { 'transfer-encoding': 'chunked' }])(
    'an upgrade with a body is refused: %o',
    async (headers: Record<string, string>) => {
      const answer = await upgrade(`${test.current.url}/trpc`, headers);
      expect(answer.status).toBe(400);
      expect(JSON.parse(answer.text)).toMatchObject({ error: { code: 'invalid_input' } });
    },
  );

  it.each(['/', '/api/llm/configs', '/trpc/llm.stream', '/trpcx'])('an upgrade at %s is refused', async (route) => {
    const answer = await upgrade(test.current.url + route);
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.text)).toMatchObject({ error: { code: 'invalid_input' } });
  });

  it.each(['/nowhere', '/trpc'])(
    'an upgrade at %s that is refused keeps no socket, and a reset does no harm',
    async (route) => {
      const { url } = test.current;
      const { hostname, port } = new URL(url);
      const host = route === '/trpc' ? 'evil.example' : hostname;
      const head = `GET ${route} HTTP/1.1\r\nhost: ${host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`;
      const resets = connect(Number(port), hostname);
      await once(resets, 'connect');
      resets.write(head);
      resets.resetAndDestroy();
      // Half-open: it never closes its own side, and still notices that the connection was closed.
      const stays = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
      stays.write(head);
      let text = '';
      stays.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      await once(stays, 'end');
      expect(text).toMatch(/^HTTP\/1.1 40[34] /);
      stays.on('error', () => {});
      while (!stays.destroyed) await new Promise((written) => stays.write('more', () => setImmediate(written)));
      expect((await send(`${url}/healthz`)).status).toBe(200);
    },
  );
});

function trpcRefusalIn({ text }: RawAnswer): ErrorData {
  const event = /^event: serialized-error\ndata: (.*)$/m.exec(text)?.[1];
  const wire =
    event === undefined ? (JSON.parse(text) as { error: ErrorWire }).error : (JSON.parse(event) as ErrorWire);
  return wire.json.data.llm;
}
