import { TRPCClientError } from '@trpc/client';
import superjson from 'superjson';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createLlmClient } from '../src/client.ts';
import { createLlmRouter, type LlmRouterOptions } from '../src/embed.ts';
import { defineConfigs } from '../src/configs/configs.ts';
import { LlmError } from '../src/errors.ts';
import type { EndedGeneration } from '../src/generations/generation-end.ts';
import { isTerminal, type ErrorData, type LlmEvent } from '../src/protocol.ts';
import type { AuthRequest } from '../src/doors/trpc/context.ts';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import {
  hostClient,
  secrets,
  startHostApp,
  type HostAppOptions,
  type HostInput,
  type HostRouter,
} from './support/host-app.ts';

finishesCleanly();
let upstream: Simulator;
beforeEach(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
});
afterEach(() => upstream[Symbol.asyncDispose]());

/** A host whose model calls go to this test's simulator. Disposing it waits for nothing. */
function startHost(options: Partial<HostAppOptions> = {}) {
  const limits = { drainMs: 0, ...options.limits };
  const env = { KEY_THAT_THROWS: 'sk-own' };
  return startHostApp({ baseUrl: upstream.url, apiKey: 'sk-test', env, ...options, limits });
}

const messages = [{ role: 'user', content: 'Hello?' }] as const;
const hello = (options: { generationId?: string } = {}): HostInput => ({ config: 'default', messages, ...options });

/** A subscription through a stock link. */
function subscribe(client: ReturnType<typeof hostClient>, input: HostInput) {
  const events: LlmEvent[] = [];
  let started!: () => void;
  const onFirst = new Promise<void>((resolve) => (started = resolve));
  let subscription: { unsubscribe(): void } | undefined;
  const completed = new Promise<void>((resolve, reject) => {
    subscription = client.llm.stream.subscribe(input, {
      onData: ({ data }) => {
        events.push(data as LlmEvent);
        started();
      },
      onError: reject,
      onComplete: resolve,
    });
  });
  completed.catch(() => {});
  return { events, onFirst, completed, [Symbol.dispose]: () => subscription?.unsubscribe() };
}

async function answerTo(client: ReturnType<typeof hostClient>, input: HostInput): Promise<LlmEvent[]> {
  const { events, completed } = subscribe(client, input);
  await completed;
  return events;
}

/** The error that the client's link received. Fails if there was none. */
async function refusalOf(asked: Promise<unknown>) {
  const error: unknown = await asked.then(
    () => expect.fail('was not refused'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof TRPCClientError)) throw error;
  const shape = error.shape as {
    code: number;
    message: string;
    data: { llm?: ErrorData; all?: string; stack?: string };
  };
  return { ...shape, raw: JSON.stringify(shape) };
}

const textOf = (events: readonly LlmEvent[]) =>
  events.map((event) => (event.type === 'text' ? event.text : '')).join('');

describe.each(['sse', 'websocket'] as const)("in a host's app, over %s", (transport) => {
  it('streams beside the procedures of the host, for the caller that the host names', async () => {
    upstream.respondWith({ kind: 'text', text: 'Hello from upstream.' });
    await using host = await startHost({ authenticate: ({ headers }) => ({ name: headers.authorization ?? '' }) });
    await using ann = hostClient(host.url, transport, { authorization: 'Ann' });
    await using ben = hostClient(host.url, transport, { authorization: 'Ben' });
    const generationId = crypto.randomUUID();
    const events = await answerTo(ann, hello({ generationId }));
    expect(events.map(({ type }) => type)).toEqual(['start', ...events.slice(1, -1).map(() => 'text'), 'done']);
    expect(textOf(events)).toBe('Hello from upstream.');
    expect(await ann.hello.query()).toBe('Hello Ann');
    expect((await ann.llm.generation.query({ generationId })).text).toBe('Hello from upstream.');
    expect((await refusalOf(ben.llm.generation.query({ generationId }))).data.llm?.code).toBe('generation_not_found');
    expect((await ben.llm.configs.query()).map(({ name }) => name)).toContain('tutor');
  });

  it('createLlmClient finds it there, resumes there, and is identified by its token', async () => {
    upstream.enqueue({ kind: 'manual' });
    const authenticate = ({ headers, connectionParams }: AuthRequest) => ({
      name: headers.authorization?.replace('Bearer ', '') ?? connectionParams?.['token'] ?? '',
    });
    await using host = await startHost({ authenticate });
    const plain = { serialize: (value: unknown) => value, deserialize: (value: unknown) => value };
    const to = {
      url: host.url,
      transport: transport === 'sse' ? 'sse' : 'ws',
      token: 'Ann',
      transformer: plain,
    } as const;
    await using llm = createLlmClient<HostRouter>(to);
    const run = llm.stream(hello());
    const seen: LlmEvent[] = [];
    for await (const event of run) {
      seen.push(event);
      const [request] = upstream.requests;
      if (event.type === 'start') void (await upstream.nextRequest()).text('Hello from ');
      if (event.type === 'text' && event.text === 'Hello from ') {
        host.cut();
        await request?.text('upstream.');
        request?.finish();
      }
    }
    expect(textOf(seen)).toBe('Hello from upstream.');
    expect(seen.at(-1)?.type).toBe('done');
    const { generationId } = run;
    expect(await llm.trpc.llm.generations.query()).toMatchObject([{ generationId, state: 'done' }]);
    expect(upstream.requestCount).toBe(1);
  });

  const refusals: readonly {
    readonly what: string;
    readonly code: ErrorData['code'];
    readonly input?: unknown;
    readonly options?: Partial<LlmRouterOptions>;
  }[] = [
    {
      what: 'authenticate throws something of its own',
      code: 'unauthorized',
      options: {
        authenticate: () => {
          throw new Error(secrets.error, { cause: new Error(secrets.error) });
        },
      },
    },
    { what: 'authenticate finds nobody', code: 'unauthorized', options: { authenticate: async () => undefined } },
    {
      what: 'authenticate throws an LlmError',
      code: 'forbidden',
      options: {
        authenticate: () => {
          throw new LlmError('forbidden', 'Not you', { cause: new Error(secrets.error) });
        },
      },
    },
    { what: 'there is no such config', code: 'config_not_found', input: { config: 'none', messages } },
    { what: 'a variable is missing', code: 'invalid_input', input: { config: 'tutor', messages } },
    { what: 'the input is none', code: 'invalid_input', input: { config: 'default', messages: 'Hello?' } },
    { what: 'a config throws', code: 'internal', input: { config: 'throws', messages } },
    { what: 'the host is full', code: 'rate_limited', options: { limits: { viewersPerCallerMax: 1 } } },
    { what: 'all places are taken', code: 'at_capacity', options: { limits: { generationsMax: 1 } } },
  ];

  it.each(refusals)('refuses once and reveals no secret if $what', async ({ code, input = hello(), options = {} }) => {
    let runs = 0;
    let armed = false;
    const { authenticate = () => ({ name: 'Ann' }) } = options;
    const env = {
      get KEY_THAT_THROWS() {
        if (armed) throw new Error(secrets.error);
        return 'key';
      },
    };
    await using host = await startHost({
      ...options,
      env,
      authenticate: (request) => {
        runs += 1;
        return authenticate(request);
      },
    });
    await using client = hostClient(host.url, transport);
    armed = true;
    const full = code === 'rate_limited' || code === 'at_capacity';
    if (full) upstream.enqueue({ kind: 'manual' });
    using first = full ? subscribe(client, hello()) : undefined;
    await first?.onFirst;
    runs = 0;

    // On -32603, the link would run the procedure again and report no error.
    const refusal = await refusalOf(subscribe(client, input as HostInput).completed);
    expect(refusal.code).not.toBe(-32603);
    expect(refusal.data.llm).toMatchObject({ code });
    // tRPC did not even call the host's formatter.
    expect(refusal.data).not.toHaveProperty('all');
    expect(refusal.data).not.toHaveProperty('stack');
    for (const secret of Object.values(secrets)) expect(refusal.raw).not.toContain(secret);
    expect(runs).toBe(1);
    expect(upstream.requestCount).toBe(full ? 1 : 0);
  });

  it('a host that shuts down refuses new generations, once', async () => {
    await using host = await startHost();
    await using client = hostClient(host.url, transport);
    await answerTo(client, hello());
    await host.llm[Symbol.asyncDispose]();
    const refusal = await refusalOf(subscribe(client, hello()).completed);
    expect(refusal.data.llm).toMatchObject({ code: 'shutting_down', retryable: true });
    expect(upstream.requestCount).toBe(1);
  });

  it('an unknown path is refused once', async () => {
    await using host = await startHost();
    await using client = hostClient(host.url, transport);
    const wrong = client.llm as unknown as { nothing: typeof client.llm.stream };
    const completed = new Promise<never>((_resolve, reject) => {
      wrong.nothing.subscribe(hello(), { onError: reject });
    });
    const error: unknown = await completed.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TRPCClientError);
    expect((error as TRPCClientError<never>).message).not.toContain(secrets.prompt);
    expect(upstream.requestCount).toBe(0);
  });

  it('a failure after start is an event, and nothing runs again after it', async () => {
    let runs = 0;
    const authenticate = () => ({ name: `caller ${(runs += 1)}` });
    await using host = await startHost({ authenticate });
    await using client = hostClient(host.url, transport);
    upstream.respondWith({ kind: 'fault', fault: 'invalid_request' });
    const refused = await answerTo(client, hello());
    expect(refused.at(-1)).toMatchObject({ type: 'error', code: 'upstream_invalid_request' });
    const unreachable = await answerTo(client, { config: 'unreachable', messages });
    expect(unreachable.at(-1)).toMatchObject({ type: 'error', code: 'upstream_unreachable' });
    for (const events of [refused, unreachable]) expect(events.filter(isTerminal)).toHaveLength(1);
    expect(runs).toBe(2);
    expect(upstream.requestCount).toBe(1);
  });

  it("events reach the client whole through a transformer that would refuse a tool's input", async () => {
    const input = { constructor: { prototype: 1 } };
    expect(() => superjson.serialize(input)).toThrow('prototype pollution');
    upstream.respondWith({ kind: 'blocks', blocks: [{ type: 'tool_use', id: 'toolu_1', name: 'find', input }] });
    await using host = await startHost({ transformer: superjson });
    await using client = hostClient(host.url, transport, { transformer: superjson });
    const events = await answerTo(client, hello());
    const block = events.find((event) => event.type === 'block')?.block;
    expect(block).toEqual({ type: 'tool_use', id: 'toolu_1', name: 'find', input });
    expect(events.at(-1)?.type).toBe('done');
  });
});

it('errors of the host keep the shape of its formatter, and llmErrorFormatter adds ours', async () => {
  await using host = await startHost();
  await using client = hostClient(host.url, 'sse');
  const theirs = await refusalOf(client.broken.query());
  expect(theirs.message).toBe('no such thing of the host');
  expect(theirs.data.all).toContain('no such thing of the host');
  expect(theirs.data).not.toHaveProperty('llm');
  const ours = await refusalOf(client.limited.query());
  expect(ours.data.llm).toEqual({ code: 'rate_limited', message: 'Not so fast', retryable: true, retryAfterMs: 1_000 });
  expect((await refusalOf(client.llm.cancel.mutate({ generationId: 'x' }))).data.llm).toMatchObject({
    code: 'invalid_input',
    issues: [{ path: 'generationId' }],
  });
  // Even somebody who prints the whole router sees no prompt.
  expect(theirs.raw).not.toContain(secrets.prompt);
});

it('invalid configs and limits are refused when the router is made', () => {
  const none = defineConfigs({ default: { model: '', max_tokens: 0, system_prompt: '' } });
  expect(() => createLlmRouter(none)).toThrow(/default\.model.*default\.max_tokens/s);
  const sound = defineConfigs({ default: { model: 'm', max_tokens: 1, system_prompt: '' } });
  expect(() => createLlmRouter(sound, { limits: { generationsMax: 0 } })).toThrow(
    'limits.generationsMax: expected a whole number of at least 1, found 0',
  );
  expect(() => createLlmRouter(sound, { limits: { generations: 1 } as object })).toThrow('there is no such limit');
});

it('looks up the key of a config in the environment of the process, unless the host gives another', async () => {
  vi.stubEnv('KEY_THAT_THROWS', 'sk-of-the-process');
  onTestFinished(() => void vi.unstubAllEnvs());
  const keyed = defineConfigs({
    default: { model: 'm', max_tokens: 1, system_prompt: '', api_key_env: 'KEY_THAT_THROWS', base_url: upstream.url },
  });
  await using router = createLlmRouter(keyed, { limits: { drainMs: 0 } });
  for await (const _ of await router.createCaller({}).llm.stream({ config: 'default', messages }));
  expect(upstream.requests[0]!.headers).toMatchObject({ authorization: 'Bearer sk-of-the-process' });
  expect(() => createLlmRouter(keyed, { env: {} })).toThrow('api_key_env');
});

it('prompt files are read from promptFolder, and without it refused by the name of that option', async () => {
  const filed = defineConfigs({ default: { model: 'm', max_tokens: 1, system_prompt: { file: 'LICENSE' } } });
  expect(() => createLlmRouter(filed)).toThrow(
    'default.system_prompt: expected text, found a file; set the option promptFolder',
  );
  await using _router = createLlmRouter(filed, { promptFolder: '.', limits: { drainMs: 0 } });
});

describe('logging', () => {
  const ended = async (options: Partial<HostAppOptions>) => {
    await using host = await startHost(options);
    await using client = hostClient(host.url, 'sse');
    upstream.enqueue({ kind: 'text', text: 'Fine.' });
    return (await answerTo(client, hello())).at(-1)?.type;
  };

  it('goes to the logger of the host, as facts and a message', async () => {
    const calls: unknown[][] = [];
    const log = (level: string) => (facts: object, message: string) => void calls.push([level, message, facts]);
    const logger = { info: log('info'), warn: log('warn'), error: log('error') };
    expect(await ended({ logger })).toBe('done');
    expect(calls).toEqual([
      ['info', 'generation ended', expect.objectContaining({ config: 'default', outcome: 'done' })],
      ['info', 'draining', { running: 0 }],
    ]);
    expect(JSON.stringify(calls)).not.toContain(secrets.prompt);
  });

  it('does no harm if the logger throws', async () => {
    const fail = () => {
      throw new Error('the log is full');
    };
    expect(await ended({ logger: { info: fail, warn: fail, error: fail } })).toBe('done');
  });
});

describe('onGenerationEnd', () => {
  it('is called once for each generation with the request and its outcome, however it ended', async () => {
    const told: EndedGeneration[] = [];
    await using host = await startHost({ onGenerationEnd: async (ended) => void told.push(ended) });
    await using client = hostClient(host.url, 'sse');
    upstream.enqueue({ kind: 'text', text: ['On ', 'algebra.'] }, { kind: 'fault', fault: 'invalid_request' });

    const generationId = crypto.randomUUID();
    const variables = { subject: 'algebra' };
    const events = await answerTo(client, { config: 'tutor', messages, variables, generationId });
    await answerTo(client, { config: 'tutor', messages, variables, generationId });
    const facts = { caller: { name: 'anonymous' }, generationId, config: 'tutor', messages, variables };
    const [start, terminal] = [events[0]!, events.at(-1)];
    const text = { type: 'text', index: 0, text: 'On algebra.' };
    const startedAt = start.type === 'start' && start.startedAt;
    expect(told).toEqual([{ ...facts, startedAt, text: 'On algebra.', events: [start, text, terminal], terminal }]);

    await answerTo(client, hello());
    expect(told[1]).toMatchObject({ text: '', terminal: { type: 'error', code: 'upstream_invalid_request' } });

    upstream.enqueue({ kind: 'manual' });
    await upstream.nextRequest();
    await upstream.nextRequest();
    const cancelled = crypto.randomUUID();
    const watched = subscribe(client, hello({ generationId: cancelled }));
    await (await upstream.nextRequest()).text('half');
    await client.llm.cancel.mutate({ generationId: cancelled });
    await watched.completed;
    expect(told[2]).toMatchObject({ generationId: cancelled, terminal: { type: 'cancelled', reason: 'requested' } });
    expect(told).toHaveLength(3);
  });

  it('does no harm if it throws', async () => {
    const lines: string[] = [];
    await using host = await startHost({
      telemetry: { logLevel: 'info', destination: { write: (line) => void lines.push(line) } },
      onGenerationEnd: () => {
        throw new Error(secrets.error);
      },
    });
    await using client = hostClient(host.url, 'sse');
    expect((await answerTo(client, hello())).at(-1)?.type).toBe('done');
    expect((await answerTo(client, hello())).at(-1)?.type).toBe('done');
    await host.llm[Symbol.asyncDispose]();
    expect(lines.filter((line) => line.includes('onGenerationEnd'))).toHaveLength(2);
    expect(lines.join('')).not.toContain(secrets.error);
  });

  it('delays neither the terminal event nor a cancel, keeps the place of its generation, and a shutdown waits for it', async () => {
    const saved: (() => void)[] = [];
    const onGenerationEnd = () => new Promise<void>((resolve) => saved.push(resolve));
    await using host = await startHost({ onGenerationEnd, limits: { generationsMax: 1 } });
    await using client = hostClient(host.url, 'sse');
    expect((await answerTo(client, hello())).at(-1)?.type).toBe('done');
    expect((await refusalOf(subscribe(client, hello()).completed)).data.llm?.code).toBe('at_capacity');
    saved.pop()!();
    upstream.enqueue({ kind: 'manual' });
    const generationId = crypto.randomUUID();
    await subscribe(client, hello({ generationId })).onFirst;
    expect(await client.llm.cancel.mutate({ generationId })).toEqual({ outcome: 'cancelled' });

    let disposed = false;
    const disposal = host.llm[Symbol.asyncDispose]().then(() => (disposed = true));
    await refusalOf(subscribe(client, hello()).completed);
    expect(disposed).toBe(false);
    saved.pop()!();
    await disposal;
  });
});
