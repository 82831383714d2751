/** A URL alone starts no generation, because any web page could make a browser open it. A URL may attach or read. */
import { createTRPCClient, httpSubscriptionLink } from '@trpc/client';
import { EventSource } from 'eventsource';
import superjson from 'superjson';
import { describe, expect, it } from 'vitest';
import { view, textOf, readAll, type AnyConfigRouter, type View } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { postJson, send } from './support/raw-http.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();

const name = 'dev.box';
type Headers = Readonly<Record<string, string>>;

function urlOf(url: string, input: unknown = ask('hi'), procedure = 'llm.stream'): string {
  return `${url}/trpc/${procedure}?input=${encodeURIComponent(JSON.stringify({ json: input }))}`;
}

/** The other headers that an EventSource sends. */
const events = { accept: 'text/event-stream', 'cache-control': 'no-cache' };
const ofCode = { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' };

describe('without keys', () => {
  const test = serviceForEachTest({ env: { LLM_ALLOWED_HOSTS: name, LLM_ALLOWED_ORIGINS: 'https://app.example' } });

  it.each<[string, Headers]>([
    ['no header, under another name than localhost', { host: name }],
    ['the headers of an EventSource', { host: name, ...events }],
    ['the page of another site, as an EventSource', { host: name, ...events, referer: 'http://evil.example/' }],
    ['an image in a page of its own', { host: name, accept: 'image/avif,*/*;q=0.8', referer: `http://${name}/` }],
    ['a page of another port', { host: `${name}:3000`, ...events, referer: `http://${name}:8080/` }],
    ['a page of a name that ends alike', { host: name, ...events, referer: `http://evil.example@${name}.evil/` }],
    ['a referer that is no URL', { host: name, ...events, referer: name }],
    ['a name and a password in the URL', { host: name, authorization: 'Basic eDp5' }],
    ['what a form may say of its type', { host: name, 'content-type': 'text/plain' }],
    ['the app that shows the page', { host: name, 'x-requested-with': 'com.example.browser' }],
    ['what proxies add', { host: name, 'x-forwarded-for': '10.0.0.1', 'x-request-id': 'x', via: '1.1 proxy' }],
    ['an address that somebody typed', { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' }],
    ['an address that somebody typed, by its site alone', { 'sec-fetch-site': 'none' }],
    ['a navigation whose site is hidden', { 'sec-fetch-mode': 'navigate' }],
    ['a link in a page of its own', { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate' }],
    [
      'an image in a page of its own, which says so',
      { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'image' },
    ],
    ['an old browser on localhost, in a page of another site', { referer: 'http://evil.example/' }],
  ])('%s is no more than a URL', async (_what, headers) => {
    const { url, upstream } = test.current;
    const { text } = await send(urlOf(url), { headers });
    expect(text).toMatch(/"code":"forbidden"/);
    expect(upstream.requestCount).toBe(0);
  });

  it('the refusal says what would be accepted', async () => {
    const { text } = await send(urlOf(test.current.url), { headers: { host: name } });
    expect(text).toMatch(/POST.*x-llm-client/);
  });

  it.each<[string, Headers]>([
    ['a program on this machine', {}],
    ['Node’s fetch', { host: name, 'sec-fetch-mode': 'cors' }],
    ['a page of its own, in a browser that says so', { 'sec-fetch-site': 'same-origin', ...ofCode }],
    ['a page of its own, in a browser that says so of https alone', { host: name, 'sec-fetch-site': 'same-origin' }],
    ['an EventSource of its own page', { host: name, ...events, referer: `http://${name}/chat?x=1` }],
    ['an EventSource of its own page on localhost', { ...events, referer: 'http://localhost/' }],
    ['an origin of its own', { host: name, origin: `http://${name}` }],
    [
      'an origin that is allowed',
      { host: name, origin: 'https://app.example', 'sec-fetch-site': 'cross-site', ...ofCode },
    ],
    ['a bearer token', { host: name, authorization: 'Bearer x' }],
    ['a type of JSON', { host: name, 'content-type': 'application/json' }],
    ['x-llm-client', { host: name, 'x-llm-client': 'curl' }],
    ['x-trpc-source', { host: name, 'x-trpc-source': 'app' }],
    ['trpc-accept', { host: name, 'trpc-accept': 'application/jsonl' }],
  ])('%s is more', async (_what, given) => {
    const { url, upstream } = test.current;
    const headers = { host: 'localhost', ...given };
    upstream.respondWith({ kind: 'text', text: 'hello' });
    const { text } = await send(urlOf(url), { headers });
    expect(text).toContain('"type":"done"');
    expect(upstream.requestCount).toBe(1);
  });

  it('a URL may attach and read', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'text', text: 'hello' });
    const generationId = crypto.randomUUID();
    await postJson(`${url}/trpc/llm.stream`, { json: ask('hi', { generationId }) }, { host: name });
    const lastEventId = `${generationId}:0`;
    for (const target of [
      urlOf(url, ask('hi', { generationId })),
      urlOf(url, ask('hi', { generationId, lastEventId })),
      urlOf(url, { generationId }, 'llm.follow'),
      `${url}/api/llm/generations/${generationId}/events`,
    ]) {
      expect((await send(target, { headers: { host: name } })).text, target).toContain('"type":"done"');
    }
    expect((await send(`${url}/trpc/llm.generations`, { headers: { host: name } })).text).toContain(generationId);
    expect(upstream.requestCount).toBe(1);
  });

  it('a body is accepted only as JSON, at every door', async () => {
    const { url, upstream } = test.current;
    const types = [
      'text/plain',
      'text/plain; charset=application/json',
      'text/plain;application/json',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=application/json',
      'application/octet-stream',
      'application/jsonp',
      'text/json',
      '',
    ];
    for (const path of ['/trpc/llm.stream', '/trpc/llm.cancel', '/api/llm/process_stream/default']) {
      const body = JSON.stringify(path.startsWith('/api') ? { messages: ask('hi').messages } : { json: ask('hi') });
      for (const type of types) {
        const headers = { host: name, ...(type === '' ? {} : { 'content-type': type }) };
        const { text } = await send(url + path, { method: 'POST', headers, body });
        expect(text, `${path} ${type}`).toContain('"code":"invalid_input"');
      }
    }
    expect(upstream.requestCount).toBe(0);
  });

  it('the stock link starts one by GET from Node', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'text', text: 'hello' });
    expect(textOf(await readAll(byStockLink(url.replace('127.0.0.1', 'localhost'))))).toBe('hello');
    expect(upstream.requestCount).toBe(1);
  });
});

describe('with keys', () => {
  // SHA-256 of "key".
  const sha256 = '2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683';
  const test = serviceForEachTest({ env: { LLM_ALLOWED_HOSTS: name, LLM_API_KEYS: `ada:${sha256}` } });

  it('the key is more than a URL', async () => {
    const { url, upstream } = test.current;
    upstream.respondWith({ kind: 'text', text: 'hello' });
    expect((await send(urlOf(url), { headers: { host: name } })).text).toContain('"code":"unauthorized"');
    const { text } = await send(urlOf(url), { headers: { host: name, authorization: 'Bearer key' } });
    expect(text).toContain('"type":"done"');
    expect(upstream.requestCount).toBe(1);
  });
});

function byStockLink(url: string): View {
  return view((sink) => {
    const client = createTRPCClient<AnyConfigRouter>({
      links: [httpSubscriptionLink({ url: `${url}/trpc`, transformer: superjson, EventSource })],
    });
    const subscription = client.llm.stream.subscribe(ask('hi'), {
      onData: sink.push,
      onError: sink.fail,
      onComplete: sink.complete,
    });
    return () => subscription.unsubscribe();
  });
}
