import { createHash } from 'node:crypto';
import { createTRPCClient, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import type { ErrorData } from '../src/protocol.ts';
import { doors, readAll, refusalOf, terminalOf, textOf, type AnyConfigRouter, type View } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson, send, upgrade, type RawAnswer, type RawRequest } from './support/raw-http.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const keys = { alice: 'sk-alice', alice2: 'sk-alice-next', bob: 'sk-bob' };
const digest = (key: string) => createHash('sha256').update(key).digest('hex');

describe('with keys', () => {
  const test = serviceForEachTest({
    env: {
      LLM_API_KEYS: [
        `alice:${digest(keys.alice)}`,
        `alice:${digest(keys.alice2)}`,
        `bob:${digest(keys.bob).toUpperCase()}`,
      ].join(', '),
    },
  });

  describe.each(doors)('over $name', (door) => {
    it.each(Object.values(keys))('%s is let in', async (key) => {
      const seen = await readAll(door.stream(test.current.url, ask('hi'), key));
      expect(terminalOf(seen).type).toBe('done');
    });

    it.each([undefined, '', 'sk-mallory', digest(keys.alice), `${keys.alice} ${keys.bob}`, 'sk-alicé'])(
      'the key %j is refused, and nothing is run',
      async (key) => {
        // No header can hold these letters. A client with such a key sends them encoded, and its key is unknown.
        const sent = key === undefined || door.name === 'websocket' ? key : encodeURI(key);
        const refusal = await refusalOf(door.stream(test.current.url, ask('hi'), sent));
        expect(refusal).toMatchObject({ code: 'unauthorized', retryable: false });
        expect(refusal.message).not.toContain('alice');
        expect(test.current.upstream.requestCount).toBe(0);
      },
    );

    it('a key that follows another under one name sees the same generations', async () => {
      const generationId = crypto.randomUUID();
      const first = await readAll(door.stream(test.current.url, ask('hi', { generationId }), keys.alice));
      const second = await readAll(door.follow(test.current.url, { generationId }, keys.alice2));
      expect(textOf(second)).toBe(textOf(first));
    });

    it("another caller's generation looks like one that never existed", async () => {
      const { url, upstream } = test.current;
      upstream.enqueue({ kind: 'text', text: 'for alice' });
      const generationId = crypto.randomUUID();
      const seen = await readAll(door.stream(url, ask('hi', { generationId }), keys.alice));
      // Each refusal has an id of its own.
      const refusal = async (view: View) => ({ ...(await refusalOf(view)), requestId: undefined });
      const theirs = await refusal(door.follow(url, { generationId }, keys.bob));
      const nobodys = await refusal(door.follow(url, { generationId: crypto.randomUUID() }, keys.bob));
      expect(theirs).toEqual(nobodys);
      const lastEventId = seen[0]!.id;
      expect(await refusal(door.stream(url, ask('hi', { generationId, lastEventId }), keys.bob))).toEqual(nobodys);
    });

    it('the same id under another caller is another generation, with its own upstream call', async () => {
      const { url, upstream } = test.current;
      upstream.enqueue({ kind: 'text', text: 'for alice' }, { kind: 'text', text: 'for bob' });
      const generationId = crypto.randomUUID();
      const asked = ask('hi', { generationId });
      expect(textOf(await readAll(door.stream(url, asked, keys.alice)))).toBe('for alice');
      expect(textOf(await readAll(door.stream(url, asked, keys.bob)))).toBe('for bob');
      expect(textOf(await readAll(door.follow(url, { generationId }, keys.alice)))).toBe('for alice');
      expect(upstream.requestCount).toBe(2);
    });
  });

  it('a refusal is byte for byte the same whether the generation is another caller’s or doesn’t exist', async () => {
    const { url } = test.current;
    const generationId = crypto.randomUUID();
    await readAll(doors[0]!.stream(url, ask('hi', { generationId }), keys.alice));
    const headers = { authorization: `Bearer ${keys.bob}` };
    const json = JSON.stringify;
    const ways: ((id: string) => Promise<RawAnswer>)[] = [
      (id) => send(`${url}/trpc/llm.generation?input=${json({ json: { generationId: id } })}`, { headers }),
      (id) => postJson(`${url}/trpc/llm.cancel`, { json: { generationId: id } }, headers),
      (id) => postJson(`${url}/trpc/llm.follow`, { json: { generationId: id } }, headers),
      (id) => send(`${url}/api/llm/generations/${id}/events`, { headers }),
      (id) => send(`${url}/api/llm/generations/${id}`, { method: 'DELETE', headers }),
    ];
    for (const way of ways) {
      const [theirs, nobodys] = [await way(generationId), await way(crypto.randomUUID())];
      expect(theirs.text).toContain('generation_not_found');
      expect(withoutMoment(theirs)).toEqual(withoutMoment(nobodys));
    }
  });

  it("each caller lists its own generations, and one's cancel leaves another's alone", async () => {
    const { url, upstream } = test.current;
    const [alice, bob] = [trpc(url, keys.alice), trpc(url, keys.bob)];
    upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    const view = doors[0]!.stream(url, ask('hi', { generationId }), keys.alice);
    const request = await upstream.nextRequest();
    expect(await alice.llm.generations.query()).toMatchObject([{ generationId, state: 'running' }]);
    expect(await bob.llm.generations.query()).toEqual([]);
    await expect(bob.llm.cancel.mutate({ generationId })).rejects.toThrow('No such generation');
    await request.text('untouched');
    request.finish();
    expect(textOf(await readAll(view))).toBe('untouched');
  });

  it('a key in a URL is no key', async () => {
    const { url, upstream } = test.current;
    const input = JSON.stringify({ json: ask('hi') });
    const tries = [
      { token: keys.alice },
      { authorization: `Bearer ${keys.alice}` },
      { connectionParams: JSON.stringify({ token: keys.alice }) },
    ];
    for (const each of tries) {
      const query = new URLSearchParams({ ...each, input }).toString();
      expect((await send(`${url}/api/llm/configs?${query}`)).status).toBe(401);
      expect((await send(`${url}/trpc/llm.configs?${query}`)).status).toBe(401);
      expect((await send(`${url}/trpc/llm.stream?${query}`)).text).toContain('"code":"unauthorized"');
    }
    expect(upstream.requestCount).toBe(0);
  });

  it('health is for everyone', async () => {
    expect((await send(`${test.current.url}/healthz`)).status).toBe(200);
    expect((await send(`${test.current.url}/readyz`)).status).toBe(200);
  });
});

describe('on loopback', () => {
  const allowed = 'https://app.example.com';
  const test = serviceForEachTest({
    env: {
      LLM_BODY_BYTES_MAX: '2000',
      LLM_ALLOWED_ORIGINS: `${allowed}:443/, http://LOCALHOST:80, capacitor://localhost`,
      LLM_ALLOWED_HOSTS: 'llm.internal, llm.dotted., [fd00::1]',
    },
  });

  const input = encodeURIComponent(JSON.stringify({ json: ask('hi') }));
  type Way = (url: string, headers: Record<string, string>) => Promise<RawAnswer>;
  const ways: readonly { readonly name: string; readonly come: Way }[] = [
    { name: 'a REST query', come: (url, headers) => send(`${url}/api/llm/configs`, { headers }) },
    { name: 'a REST query, spelt otherwise', come: (url, headers) => send(`${url}/%61pi/llm/configs`, { headers }) },
    {
      name: 'a REST stream',
      come: (url, headers) => postJson(`${url}/api/llm/process_stream/default`, ask('hi'), headers),
    },
    { name: 'a tRPC query', come: (url, headers) => send(`${url}/trpc/llm.configs`, { headers }) },
    {
      name: 'a tRPC stream by GET',
      come: (url, headers) => send(`${url}/trpc/llm.stream?input=${input}`, { headers }),
    },
    {
      name: 'a tRPC stream by GET, spelt otherwise',
      come: (url, headers) => send(`${url}/%74rpc/llm%2Estream?input=${input}`, { headers }),
    },
    {
      name: 'a tRPC stream by POST',
      come: (url, headers) => postJson(`${url}/trpc/llm.stream`, { json: ask('hi') }, headers),
    },
    { name: 'a WebSocket', come: (url, headers) => upgrade(`${url}/trpc`, headers) },
  ];
  type Headers = (url: string) => Record<string, string>;
  const port = (url: string) => new URL(url).port;

  const foreign: readonly (readonly [string, Headers])[] = [
    ["another site's Origin", () => ({ origin: 'https://evil.example' })],
    ['Origin null, as of a sandboxed frame', () => ({ origin: 'null' })],
    ['another port’s Origin', (url) => ({ origin: `http://127.0.0.1:${Number(port(url)) ^ 1}` })],
    ['an Origin that begins like ours', (url) => ({ origin: `${url}.evil.example` })],
    ['an Origin that begins like an allowed one', () => ({ origin: `${allowed}.evil.example` })],
    ['an allowed Origin under another scheme', () => ({ origin: allowed.replace('https', 'http') })],
    ['an Origin that is none', () => ({ origin: '*' })],
    ['Sec-Fetch-Site: cross-site, without Origin', () => ({ 'sec-fetch-site': 'cross-site' })],
    ['Sec-Fetch-Site: same-site, without Origin', () => ({ 'sec-fetch-site': 'same-site' })],
    ['a name that was rebound to loopback', (url) => ({ host: `evil.example:${port(url)}` })],
    [
      'a rebound name that is its own Origin',
      (url) => ({
        host: `evil.example:${port(url)}`,
        origin: `http://evil.example:${port(url)}`,
        'sec-fetch-site': 'same-origin',
      }),
    ],
    ['a Host that begins like ours', () => ({ host: 'localhost.evil.example' })],
    ['a Host that ends like ours', () => ({ host: 'evil.example@localhost' })],
    ['a Host that begins like an address of ours', () => ({ host: '127.0.0.1.evil.example' })],
    ['a Host with a path', () => ({ host: 'localhost/evil.example' })],
    ['a Host that X-Forwarded-Host would mend', () => ({ host: 'evil.example', 'x-forwarded-host': 'localhost' })],
    ['another scheme’s default port', () => ({ host: 'llm.internal:80', origin: 'https://llm.internal' })],
    ['a port where there is none', () => ({ host: 'llm.internal', origin: 'https://llm.internal:80' })],
    [
      'an Origin that X-Forwarded-Proto would mend',
      () => ({ origin: 'https://llm.internal', 'x-forwarded-proto': 'https' }),
    ],
  ];
  /** Shows more than a URL, because a URL alone starts no generation (web-pages.test.ts). */
  const program = { 'x-llm-client': 'test' };
  const own: readonly (readonly [string, Headers])[] = [
    ['no Origin, as of a program', () => ({})],
    ['its own Origin', (url) => ({ origin: url, 'sec-fetch-site': 'same-origin' })],
    ['an address that somebody typed', () => ({ 'sec-fetch-site': 'none', ...program })],
    ['localhost', (url) => ({ host: `localhost:${port(url)}`, origin: `http://localhost:${port(url)}` })],
    ['LOCALHOST', (url) => ({ host: `LOCALHOST:${port(url)}` })],
    ['[::1]', (url) => ({ host: `[::1]:${port(url)}` })],
    ['another address of its loopback', (url) => ({ host: `127.0.0.2:${port(url)}` })],
    ['an allowed Host', () => ({ host: 'llm.internal', ...program })],
    ['the port of https, as a proxy names it', () => ({ host: 'llm.internal:443', origin: 'https://llm.internal' })],
    ['the port of http, as a proxy names it', () => ({ host: 'llm.internal:80', origin: 'http://llm.internal' })],
    ['the port of https in the Origin alone', () => ({ host: 'llm.internal', origin: 'https://llm.internal:443' })],
    ['another port, on both', () => ({ host: 'llm.internal:8443', origin: 'https://llm.internal:8443' })],
    ['upper case, on either', () => ({ host: 'LLM.internal:443', origin: 'https://llm.INTERNAL' })],
    ['a dot after the name, on either', () => ({ host: 'llm.internal.', origin: 'https://llm.internal' })],
    ['a name that is allowed with its dot', () => ({ host: 'llm.dotted', ...program })],
    ['IPv6 in full', () => ({ host: '[FD00:0:0:0:0:0:0:1]:443', origin: 'https://[fd00::1]' })],
    ['an allowed Origin with its port', () => ({ origin: `${allowed}:443` })],
    ['an allowed Origin of http', () => ({ origin: 'http://localhost' })],
    ['an allowed Origin of an app', () => ({ origin: 'capacitor://localhost' })],
    ['an allowed Origin, of whatever site', () => ({ origin: allowed, 'sec-fetch-site': 'cross-site' })],
  ];

  describe.each(ways)('$name', ({ name, come }) => {
    it('from another site, or under another name, is refused, and starts nothing', async () => {
      const { url, upstream } = test.current;
      for (const [what, headers] of foreign) {
        const answer = await come(url, headers(url));
        expect(answer.status, what).toBe(403);
        expect(refusalIn(answer), what).toMatchObject({ code: 'forbidden' });
        expect(answer.headers['access-control-allow-origin'], what).toBeUndefined();
      }
      expect(upstream.requestCount).toBe(0);
    });

    it('from this service’s own page, or from an allowed site, is let in', async () => {
      const { url } = test.current;
      for (const [what, headers] of own) {
        const answer = await come(url, headers(url));
        expect(answer.status, what).toBe(name === 'a WebSocket' ? 101 : 200);
        expect(answer.text, what).not.toContain('forbidden');
      }
    });
  });

  it.each(ways.filter(({ name }) => name !== 'a WebSocket'))(
    '$name from an allowed Origin may be read by its page, and no other may',
    async ({ come }) => {
      const { url } = test.current;
      const theirs = await come(url, { origin: allowed });
      expect(theirs.headers['access-control-allow-origin']).toBe(allowed);
      expect((await come(url, {})).headers['access-control-allow-origin']).toBeUndefined();
    },
  );

  it.each([
    ['/trpc/llm.stream', 'POST'],
    ['/trpc/llm.cancel', 'POST'],
    ['/trpc/llm.configs', 'GET'],
    ['/api/llm/process_stream/default', 'POST'],
    [`/api/llm/generations/${crypto.randomUUID()}`, 'DELETE'],
  ])('a preflight of %s is granted to an allowed Origin alone', async (path, method) => {
    const { url, upstream } = test.current;
    const preflight = (origin: string) =>
      send(url + path, {
        method: 'OPTIONS',
        headers: {
          origin,
          'sec-fetch-site': 'cross-site',
          'access-control-request-method': method,
          'access-control-request-headers': 'authorization,content-type',
        },
      });
    const granted = await preflight(allowed);
    expect(granted.status).toBe(204);
    expect(granted.headers['access-control-allow-origin']).toBe(allowed);
    expect(granted.headers['access-control-allow-methods']).toContain(method);
    for (const header of ['authorization', 'content-type', 'idempotency-key', 'last-event-id']) {
      expect(granted.headers['access-control-allow-headers']).toContain(header);
    }
    const refused = await preflight('https://evil.example');
    expect(refused.status).toBe(403);
    expect(Object.keys(refused.headers).filter((name) => name.startsWith('access-control-'))).toEqual([]);
    expect(upstream.requestCount).toBe(0);
  });

  it.each([
    ['traceparent,baggage,x-request-id,x-trpc-source', /traceparent, baggage, x-request-id, x-trpc-source$/],
    ['X-Anything-At-All , sentry-trace', /x-anything-at-all, sentry-trace$/],
    ['not a token, "quoted", ok', /trpc-accept, ok$/],
    [`x-${'a'.repeat(100)}, ok`, /trpc-accept, ok$/],
    ['', /trpc-accept$/],
  ])('an allowed Origin may send the headers it asks for: %s', async (asked, granted) => {
    const { headers, status } = await send(`${test.current.url}/trpc/llm.stream`, {
      method: 'OPTIONS',
      headers: {
        origin: allowed,
        'access-control-request-method': 'PATCH',
        'access-control-request-headers': asked,
        'access-control-request-private-network': 'true',
      },
    });
    expect(status).toBe(204);
    expect(headers['access-control-allow-headers']).toMatch(granted);
    expect(headers['access-control-allow-methods']).toContain('PATCH');
    expect(headers['access-control-allow-private-network']).toBe('true');
    expect(headers.vary).toContain('access-control-request-headers');
  });

  it.each<[string, number, (url: string) => [string, RawRequest]]>([
    ['a stream', 200, (url) => [`${url}/trpc/llm.stream`, post({ json: ask('hi') })]],
    ['a query', 200, (url) => [`${url}/trpc/llm.configs`, {}]],
    ['a refused query', 404, (url) => [`${url}/trpc/llm.nonsense`, {}]],
    ['a refused request', 400, (url) => [`${url}/api/llm/process_stream/default`, post({})]],
    ['a body that is too large', 413, (url) => [`${url}/api/llm/process_stream/default`, post('x'.repeat(3_000))]],
    ['a route that there is not', 404, (url) => [`${url}/api/nonsense`, {}]],
    ['a URL that can’t be read', 400, (url) => [`${url}/api/llm/generations/%`, {}]],
    ['a host name that is not ours', 403, (url) => [`${url}/api/llm/configs`, { headers: { host: 'evil.example' } }]],
    ['health', 200, (url) => [`${url}/healthz`, {}]],
  ])('%s can be read by a page of an allowed Origin, and by no other, caches told', async (_what, status, asked) => {
    const [target, request] = asked(test.current.url);
    const from = (origin?: string) =>
      send(target, { ...request, headers: { ...request.headers, ...(origin === undefined ? {} : { origin }) } });
    const theirs = await from(allowed);
    expect(theirs.status).toBe(status);
    expect(theirs.headers['access-control-allow-origin']).toBe(allowed);
    expect(theirs.headers['access-control-expose-headers']).toMatch(/retry-after.*x-request-id/);
    for (const other of [await from('https://evil.example'), await from()]) {
      expect(Object.keys(other.headers).filter((name) => name.startsWith('access-control-'))).toEqual([]);
      expect(other.headers.vary).toMatch(/\borigin\b/);
    }
    expect(theirs.headers.vary).toMatch(/\borigin\b/);
  });

  it.each(['/', '/index.html', '/assets/none.js', '/healthz', '/nonsense', '/api/llm/configs', '/trpc/llm.configs'])(
    'a foreign Host is told at %s which setting can name it',
    async (path) => {
      const { status, text } = await send(test.current.url + path, { headers: { host: 'Chat.Example:8443' } });
      expect(status).toBe(403);
      expect(text).toContain(String.raw`The host name \"chat.example\" is not allowed; LLM_ALLOWED_HOSTS can name it`);
    },
  );

  it.each(['/trpc', '/trpc?connectionParams=1', '/nonsense'])(
    'an upgrade at %s under a foreign Host is told the same',
    async (path) => {
      const { status, text } = await upgrade(test.current.url + path, { host: 'chat.example' });
      expect(status).toBe(403);
      expect(text).toContain('LLM_ALLOWED_HOSTS');
    },
  );

  it('a host name that is long or malformed is not repeated', async () => {
    for (const host of [`${'a'.repeat(101)}.example`, '<script>']) {
      const { status, text } = await send(`${test.current.url}/`, { headers: { host } });
      expect(status).toBe(403);
      expect(text).toContain('The host name is not allowed');
    }
  });

  it('a typed client with a foreign Host gets the reason', async () => {
    const { url } = test.current;
    const headers = { host: 'evil.example' };
    const fetchWithHost = async (target: string | URL) => {
      const { status, text } = await send(String(target), { headers });
      return new Response(text, { status });
    };
    const link = httpLink({ url: `${url}/trpc`, transformer: superjson, fetch: fetchWithHost as never });
    const client = createTRPCClient<AnyConfigRouter>({ links: [link] });
    await expect(client.llm.configs.query()).rejects.toMatchObject({ data: { llm: { code: 'forbidden' } } });
  });
});

/** The headers that differ in every response: the time, and the id under which it is logged. */
function withoutMoment({ status, headers, text }: RawAnswer) {
  const { date: _date, 'x-request-id': id, ...others } = headers;
  return { status, headers: others, text: text.replaceAll(String(id), 'id') };
}

function post(body: unknown): RawRequest {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

function trpc(url: string, key: string) {
  const headers = { authorization: `Bearer ${key}` };
  return createTRPCClient<AnyConfigRouter>({
    links: [httpLink({ url: `${url}/trpc`, transformer: superjson, headers })],
  });
}

/** The refusal in a raw response, in the shape of either door. */
function refusalIn({ text }: RawAnswer): ErrorData {
  const { error } = JSON.parse(text) as { error: ErrorData & { json?: { data: { llm: ErrorData } } } };
  return error.json?.data.llm ?? error;
}
