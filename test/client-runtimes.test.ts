import { createContext, runInContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type * as Client from '../src/client.ts';
import { createLlmClient, type LlmClient } from '../src/client.ts';
import type * as Live from '../src/react/live-answer.ts';
import { bundleClient, sourceOf } from './support/client-bundle.ts';
import type { AnyConfigRouter } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { ask, serviceForEachTest } from './support/service.ts';

finishesCleanly();
const test = serviceForEachTest();

/** The export conditions that each kind of bundler or runtime looks for. */
const runtimes = [
  ['a browser', ['browser']],
  ['workerd', ['workerd', 'worker', 'browser']],
  ['edge-light', ['edge-light', 'worker', 'node']],
  ['deno', ['deno', 'node']],
  ['bun', ['bun', 'node']],
  ['React Native', ['react-native', 'require']],
  ['a bundler that knows none of them', []],
] as const;

/** The globals that all of them have. All other globals of Node are removed. */
const common = {
  URL,
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  AbortController,
  Headers,
  Response,
  TextDecoder,
  crypto,
  fetch: (url: string, init: RequestInit) => fetch(url, init),
};

async function load(conditions: readonly string[], globals: object): Promise<typeof Client> {
  const context = createContext({ ...globals });
  runInContext(await bundleClient({ conditions }), context);
  return (context as { client: typeof Client }).client;
}

describe.each(runtimes)('for %s', (_, conditions) => {
  it('the client bundles without Node’s modules, and streams with what such a runtime has', async () => {
    const { url, upstream } = test.current;
    const { createLlmClient: create } = await load(conditions, common);
    upstream.enqueue({ kind: 'text', text: ['Hel', 'lo 🙂'] });
    const llm: LlmClient<AnyConfigRouter> = create<AnyConfigRouter>({ url, transport: 'sse' });
    const run = llm.stream(ask('Grüße 🙂'));
    expect(await run.text()).toBe('Hello 🙂');
    expect(await run.cancel()).toBe('already_ended');
    await llm.close();
  });

  it('the client is at most 20.5 kB, gzipped', async () => {
    const text = await bundleClient({ conditions });
    expect(gzipSync(text).length).toBeLessThan(20_500);
    expect(text).not.toMatch(/require\(|from"ws"|ZodError/);
  });
});

it('on Node the client is the one with a WebSocket of its own', async () => {
  expect(await sourceOf(['node'])).toBe('./src/client.ts');
});

describe('a feature that a runtime lacks is named in one sentence, under one code', () => {
  const without = (...names: (keyof typeof common)[]) =>
    Object.fromEntries(Object.entries(common).filter(([name]) => !names.includes(name as keyof typeof common)));

  async function refusalWithout(name: keyof typeof common, options: object = {}): Promise<unknown> {
    const client = await load(['react-native'], without(name));
    const llm = client.createLlmClient<AnyConfigRouter>({ url: test.current.url, transport: 'sse', ...options });
    try {
      return await llm.stream(ask('hi', name === 'crypto' ? {} : { generationId: crypto.randomUUID() })).text();
    } catch (error) {
      expect(error).toBeInstanceOf(client.LlmClientError);
      return error;
    }
  }

  it.each([
    ['crypto', /crypto\.getRandomValues.*generationId/],
    ['fetch', /no fetch/],
    ['TextDecoder', /no TextDecoder/],
  ] as const)('%s', async (name, message) => {
    expect(await refusalWithout(name)).toMatchObject({
      code: 'unsupported',
      retryable: false,
      message: expect.stringMatching(message),
    });
  });

  it('WebSocket, where that is the transport', async () => {
    const { createLlmClient: create } = await load(['edge-light'], common);
    const llm = create<AnyConfigRouter>({ url: test.current.url, transport: 'ws' });
    await expect(llm.stream(ask('hi')).text()).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(/no WebSocket/),
    });
  });

  it('an id of the app’s own needs no random numbers', async () => {
    const { upstream, url } = test.current;
    upstream.enqueue({ kind: 'text', text: ['ok'] });
    const { createLlmClient: create } = await load(['react-native'], without('crypto'));
    const llm = create<AnyConfigRouter>({ url, transport: 'sse' });
    expect(await llm.stream(ask('hi', { generationId: crypto.randomUUID() })).text()).toBe('ok');
  });
});

it('useAnswer reads where the engine has no Symbol.asyncIterator', async () => {
  const { upstream, url } = test.current;
  const context = createContext({ ...common, performance });
  const bundle = await bundleClient({
    entries: [await sourceOf(['react-native']), './src/react/live-answer.ts'],
    define: { 'Symbol.asyncIterator': 'undefined' },
  });
  runInContext(bundle, context);
  const { createLlmClient: create, LiveAnswer } = (context as { client: typeof Client & typeof Live }).client;
  upstream.enqueue({ kind: 'text', text: ['Hel', 'lo'] });
  const live = new LiveAnswer(ask('hi'));
  const llm = create<AnyConfigRouter>({ url, transport: 'sse' });
  const leave = live.subscribe(llm, () => {});
  await eventually(() => expect(live.get().answer).toMatchObject({ status: 'done', text: 'Hello' }));
  leave();
  await llm.close();
});

it('a URL object that has only href is enough', async () => {
  const { upstream, url } = test.current;
  class URLOfReactNative {
    readonly href: string;
    constructor(given: string | URL) {
      this.href = `${String(given).replace(/\/$/, '')}/`;
    }
    toString() {
      return this.href;
    }
  }
  const client = await load(['react-native'], { ...common, URL: URLOfReactNative });
  upstream.enqueue({ kind: 'text', text: ['ok'] });
  const llm = client.createLlmClient<AnyConfigRouter>({ url, transport: 'sse' });
  expect(await llm.stream(ask('hi')).text()).toBe('ok');
});

it('a signal without throwIfAborted is respected', async () => {
  const { createLlmClient: create } = await load(['react-native'], common);
  const llm = create<AnyConfigRouter>({ url: test.current.url, transport: 'sse' });
  const signal = AbortSignal.abort('enough');
  Object.defineProperty(signal, 'throwIfAborted', { value: undefined });
  await expect(llm.stream(ask('hi'), { signal }).text()).rejects.toBe('enough');
});

it.each([
  ['http://localhost:1', 'http://localhost:1/trpc/llm.configs?batch=1'],
  ['http://localhost:1/', 'http://localhost:1/trpc/llm.configs?batch=1'],
  ['ws://localhost:1/ai/trpc/', 'http://localhost:1/ai/trpc/llm.configs?batch=1'],
  ['wss://example.com?a=b', 'https://example.com/trpc/llm.configs?a=b&batch=1'],
  ['HTTPS://Example.com/api#part', 'https://example.com/api/llm.configs?batch=1'],
])('the url %s means %s', async (url, expected) => {
  const asked: string[] = [];
  const llm = createLlmClient<AnyConfigRouter>({
    url,
    transport: 'sse',
    reconnect: { attemptsMax: 1 },
    fetch: async (address) => {
      asked.push(address);
      throw new TypeError('no network');
    },
  });
  await expect(llm.trpc.llm.configs.query()).rejects.toMatchObject({ data: { llm: { code: 'unreachable' } } });
  expect(asked).toEqual([expected]);
});

it.each(['', '/trpc', 'localhost:3000', 'ftp://x', 'http://'])(
  'the url "%s" is refused with what was expected',
  (url) => {
    expect(() => createLlmClient({ url, transport: 'sse' })).toThrow(
      expect.objectContaining({ code: 'invalid_input', message: expect.stringMatching(/begins with http or ws/) }),
    );
  },
);
