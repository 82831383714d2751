/** What the AI SDK's own transport finds at our door, and at the same routes in somebody else's app. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { UIMessageChunk } from '../src/ai-sdk.ts';
import { defineConfigs } from '../src/configs/configs.ts';
import { createLlmRouter } from '../src/embed.ts';
import { createUIMessageHandler } from '../src/doors/ui/handler.ts';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { clientTool, tool } from '../src/tools/tool.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { sha256 } from './support/key-file.ts';
import { plainConfig, serviceForEachTest, startTestService } from './support/service.ts';
import { requires } from './support/skip.ts';
import { newPrefix, redisForAllTests } from './support/stream-logs.ts';
import { bySteps, call, city, message, text, withTools } from './support/tool-scripts.ts';

finishesCleanly();

const pick = clientTool({ description: 'Picks', input: city, output: z.string() });
const remove = tool({
  description: 'Removes',
  input: city,
  output: z.string(),
  approval: true,
  execute: ({ city: name }) => `removed ${name}`,
});
const configs = {
  default: plainConfig,
  tutor: { ...plainConfig, system_prompt: 'You teach {{subject}}.' },
  // Nobody may leave for longer than a moment, but while the answer waits.
  tools: withTools({ pick, remove }, { on_disconnect: { cancel_after_ms: 1 } }),
  at_once: withTools({ pick }, { client_tools: { wait_ms: 0 } }),
};
const key = 'sk-alice';
const env = { LLM_API_KEYS: `alice:${sha256(key)}` };

/** The routes of a chat. */
interface Routes extends AsyncDisposable {
  readonly upstream: Simulator;
  fetch(config: string, path: string, init?: RequestInit): Promise<Response>;
}

const places: readonly { readonly name: string; start(): Promise<Routes> }[] = [
  {
    name: 'the door',
    async start() {
      const service = await startTestService({ configs, env });
      return {
        upstream: service.upstream,
        fetch: (config, path, init) => fetch(`${service.url}/api/llm/ui/${config}${path}`, init),
        [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
      };
    },
  },
  {
    name: 'a handler in an app',
    async start() {
      const upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
      const router = createLlmRouter(defineConfigs(configs as never), {
        baseUrl: upstream.url,
        apiKey: 'sk-test',
        limits: { drainMs: 0 },
        authenticate: ({ headers }) => (headers.authorization === `Bearer ${key}` ? { name: 'alice' } : undefined),
      });
      return {
        upstream,
        fetch: (config, path, init) =>
          createUIMessageHandler(router, { config: config as never })(new Request(`http://app.test/chat${path}`, init)),
        async [Symbol.asyncDispose]() {
          await router[Symbol.asyncDispose]();
          await upstream[Symbol.asyncDispose]();
        },
      };
    },
  },
];

const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
const question = (words: string) => ({ id: 'u', role: 'user', parts: [{ type: 'text', text: words }] });

/** The chunks of a body. Fails unless it ends with the last frame. */
async function chunksIn(response: Response): Promise<UIMessageChunk[]> {
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  expect(response.headers.get('x-vercel-ai-ui-message-stream')).toBe('v1');
  const frames = [...(await response.text()).matchAll(/^data: (.*)$/gm)].map(([, data]) => data!);
  expect(frames.at(-1)).toBe('[DONE]');
  return frames.slice(0, -1).map((data) => JSON.parse(data) as UIMessageChunk);
}

function textIn(chunks: readonly UIMessageChunk[]): string {
  return chunks.map((chunk) => (chunk.type === 'text-delta' ? chunk.delta : '')).join('');
}

describe.each(places)('at $name', ({ start }) => {
  let routes: Routes;
  beforeEach(async () => {
    routes = await start();
  });
  afterEach(async () => routes[Symbol.asyncDispose]());

  const ask = (config: string, body: object) =>
    routes.fetch(config, '', { method: 'POST', headers, body: JSON.stringify({ id: 'chat', ...body }) });
  const resume = () => routes.fetch('default', '/chat/stream', { headers });
  const stop = () => routes.fetch('default', '/chat/stop', { method: 'POST', headers });

  it('an answer is streamed whole, and its end has the account', async () => {
    routes.upstream.enqueue({ kind: 'text', text: ['Hel', 'lo \u2028 é'] });
    const chunks = await chunksIn(await ask('default', { messages: [question('hi')], trigger: 'submit-message' }));
    expect(textIn(chunks)).toBe('Hello \u2028 é');
    expect(chunks.at(-1)).toMatchObject({ type: 'finish', finishReason: 'stop', messageMetadata: { state: 'done' } });
    expect(routes.upstream.requests[0]!.body.messages).toMatchObject([{ role: 'user', content: 'hi' }]);
  });

  it('a chat resumes from the first word while its answer runs, else there is nothing to resume', async () => {
    routes.upstream.enqueue({ kind: 'manual' });
    expect((await resume()).status).toBe(204);
    const first = await ask('default', { messages: [question('hi')] });
    const request = await routes.upstream.nextRequest();
    await request.text('one ');
    const second = await resume();
    await request.text('two');
    request.finish();
    const [asked, resumed] = await Promise.all([chunksIn(first), chunksIn(second)]);
    expect(textIn(asked)).toBe('one two');
    expect(textIn(resumed)).toBe('one two');
    expect(resumed[0]).toEqual(asked[0]);
    expect((await resume()).status).toBe(204);
    expect(routes.upstream.requestCount).toBe(1);
  });

  it('stop closes upstream, and the stream ends with what it has cost', async () => {
    routes.upstream.enqueue({ kind: 'manual' });
    expect((await stop()).status).toBe(404);
    const response = await ask('default', { messages: [question('hi')] });
    const request = await routes.upstream.nextRequest();
    await request.text('half');
    expect(await (await stop()).json()).toEqual({ outcome: 'cancelled' });
    expect(await request.outcome).toBe('client_closed');
    const finish = { type: 'finish', finishReason: 'other', messageMetadata: { state: 'cancelled' } };
    expect((await chunksIn(response)).at(-1)).toMatchObject(finish);
    expect(await (await stop()).json()).toEqual({ outcome: 'already_ended' });
  });

  it('a failed answer ends with its error, behind what it has cost', async () => {
    routes.upstream.respondWith({ kind: 'fault', fault: 'error_mid_stream' });
    const chunks = await chunksIn(await ask('default', { messages: [question('hi')] }));
    expect(chunks.slice(-2)).toMatchObject([
      { type: 'message-metadata', messageMetadata: { error: { code: 'upstream_error', retryable: true } } },
      { type: 'error' },
    ]);
  });

  it.each([
    ['another config', 'none', {}, 404, 'config_not_found', 'none'],
    ['no message', 'default', { messages: [] }, 400, 'invalid_input', 'messages'],
    ['a chat without a name', 'default', { id: '' }, 400, 'invalid_input', 'id'],
    ['a variable that is missing', 'tutor', {}, 400, 'invalid_input', 'subject'],
    ['a file that no model reads', 'default', { messages: [fileMessage()] }, 400, 'invalid_input', 'audio/mpeg'],
    ['a tool of its own', 'tools', { tools: { hammer: {} } }, 400, 'invalid_input', 'hammer'],
    ['tools in a list', 'default', { tools: [{ name: 'saw' }] }, 400, 'invalid_input', 'saw'],
    ['instructions', 'default', { system: 'Obey.' }, 400, 'invalid_input', 'system'],
  ])('a request with %s is refused by name, and nothing is run', async (_name, config, body, status, code, named) => {
    const response = await ask(config, { messages: [question('hi')], ...body });
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    expect([response.status, error.code]).toEqual([status, code]);
    expect(error.message).toContain(named);
    expect(routes.upstream.requestCount).toBe(0);
  });

  it('without a key nothing is answered, and a body that is no JSON is refused', async () => {
    const { authorization: _key, ...others } = headers;
    const body = JSON.stringify({ id: 'chat', messages: [question('hi')] });
    const init = { method: 'POST', body };
    expect((await routes.fetch('default', '', { ...init, headers: others })).status).toBe(401);
    expect((await routes.fetch('default', '/chat/stream', { headers: others })).status).toBe(401);
    expect((await routes.fetch('default', '/chat/stop', { method: 'POST', headers: others })).status).toBe(401);
    const plain = { ...headers, 'content-type': 'text/plain' };
    expect((await routes.fetch('default', '', { ...init, headers: plain })).status).toBe(400);
    expect((await routes.fetch('default', '', { method: 'POST', headers, body: '{' })).status).toBe(400);
    expect(routes.upstream.requestCount).toBe(0);
  });

  it('variables come with the request', async () => {
    await chunksIn(await ask('tutor', { messages: [question('hi')], variables: { subject: 'music' } }));
    expect(JSON.stringify(routes.upstream.requests[0]!.body.system)).toContain('You teach music.');
  });

  it('an answer that waits for its client ends the message, and goes on with the answers in the next one', async () => {
    routes.upstream.respondWith(
      bySteps(
        () => message(text('Let me. '), call('p', 'pick', { city: 'A' }), call('r', 'remove', { city: 'B' })),
        () => message(text('Done.')),
      ),
    );
    const chunks = await chunksIn(await ask('tools', { messages: [question('hi')] }));
    expect(chunks.slice(-2)).toEqual([{ type: 'finish-step' }, { type: 'finish', finishReason: 'tool-calls' }]);
    const [first] = chunks;
    if (first?.type !== 'start') throw new Error('expected start first');
    const llm = (toolCallId: string) => {
      const called = chunks.find((chunk) => chunk.type === 'tool-input-available' && chunk.toolCallId === toolCallId);
      return { toolCallId, callProviderMetadata: (called as { providerMetadata: unknown }).providerMetadata };
    };
    const answered = {
      id: first.messageId,
      role: 'assistant',
      metadata: first.messageMetadata,
      parts: [
        { type: 'step-start' },
        { type: 'text', text: 'Let me. ' },
        { type: 'tool-pick', state: 'output-available', input: { city: 'A' }, output: 'a.txt', ...llm('p') },
        {
          type: 'tool-remove',
          state: 'approval-responded',
          input: { city: 'B' },
          approval: { approved: true },
          ...llm('r'),
        },
      ],
    };
    const goesOn = await chunksIn(await ask('tools', { messages: [question('hi'), answered] }));
    expect(goesOn.map(({ type }) => type)).not.toContain('start');
    const removed = { type: 'tool-output-available', toolCallId: 'r', output: 'removed B', providerExecuted: true };
    expect(goesOn).toContainEqual(removed);
    expect(textIn(goesOn)).toBe('Done.');
    expect(goesOn.at(-1)).toMatchObject({ messageMetadata: { generationId: first.messageId, state: 'done' } });
    expect(routes.upstream.requestCount).toBe(2);

    // The same message once more: its generation has ended, so a new one reads the results.
    const anew = await chunksIn(await ask('tools', { messages: [question('hi'), answered] }));
    expect(anew[0]).toMatchObject({ type: 'start', messageId: first.messageId });
    expect(textIn(anew)).toBe('Done.');
    expect(routes.upstream.requestCount).toBe(3);
  });

  it('a result that doesn’t fit its tool is refused with its path, and the call still waits', async () => {
    routes.upstream.respondWith(
      bySteps(
        () => message(call('p', 'pick', { city: 'A' })),
        () => message(text('Done.')),
      ),
    );
    const [first] = await chunksIn(await ask('tools', { messages: [question('hi')] }));
    const metadata = (first as { messageMetadata?: unknown }).messageMetadata;
    const withOutput = (output: unknown) => ({
      role: 'assistant',
      metadata,
      parts: [
        {
          type: 'tool-pick',
          toolCallId: 'p',
          state: 'output-available',
          input: { city: 'A' },
          output,
          callProviderMetadata: { llm: { waitsFor: 'result' } },
        },
      ],
    });
    const refused = await ask('tools', { messages: [question('hi'), withOutput(17)] });
    expect(await refused.json()).toMatchObject({ error: { issues: [{ path: 'results[0].output' }] } });
    expect(textIn(await chunksIn(await ask('tools', { messages: [question('hi'), withOutput('x')] })))).toBe('Done.');
  });

  it('an answer that waits for no time has its account', async () => {
    routes.upstream.respondWith(() => message(call('p', 'pick', { city: 'A' })));
    const chunks = await chunksIn(await ask('at_once', { messages: [question('hi')] }));
    const finish = { type: 'finish', finishReason: 'tool-calls', messageMetadata: { state: 'done' } };
    expect(chunks.at(-1)).toMatchObject(finish);
  });
});

function fileMessage() {
  return { role: 'user', parts: [{ type: 'file', mediaType: 'audio/mpeg', url: 'data:audio/mpeg;base64,AAAA' }] };
}

describe('the door', () => {
  const test = serviceForEachTest({ configs });

  it('keeps pages of other sites out', async () => {
    const { url, upstream } = test.current;
    const init = {
      method: 'POST',
      headers: { origin: 'https://evil.test', 'content-type': 'application/json' },
      body: JSON.stringify({ id: 'chat', messages: [question('hi')] }),
    };
    for (const path of ['', '/chat/stop']) {
      expect((await fetch(`${url}/api/llm/ui/default${path}`, init)).status).toBe(403);
    }
    expect(upstream.requestCount).toBe(0);
  });

  it('knows the tools of the config that a request names', async () => {
    const { url, upstream } = test.current;
    upstream.enqueue({ kind: 'text', text: 'hi' });
    const body = { id: 'chat', messages: [question('hi')], tools: { pick: {}, remove: {} } };
    const response = await fetch(`${url}/api/llm/ui/tools`, { method: 'POST', headers, body: JSON.stringify(body) });
    expect(textIn(await chunksIn(response))).toBe('hi');
  });
});

requires('redis-server')('an instance that leaves', () => {
  const redis = redisForAllTests();

  it('breaks off the streams of answers that another one runs, since an end would look like a good answer', async () => {
    const shared = { REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}` };
    await using a = await startTestService({ configs, env: shared });
    await using b = await startTestService({ configs, env: { ...shared, ANTHROPIC_BASE_URL: a.upstream.url } });
    a.upstream.enqueue({ kind: 'manual' });
    const init = { method: 'POST', headers, body: JSON.stringify({ id: 'chat', messages: [question('hi')] }) };
    const asked = await fetch(`${a.url}/api/llm/ui/default`, init);
    const request = await a.upstream.nextRequest();
    await request.text('half ');
    const resumed = await fetch(`${b.url}/api/llm/ui/default/chat/stream`);
    const reader = resumed.body!.getReader();
    await reader.read();
    const draining = b.service.core.generations.drain(60_000);
    const read = async () => {
      for (;;) if ((await reader.read()).done) return 'ended';
    };
    await expect(read()).rejects.toThrow('terminated');
    await draining;
    await request.text('whole');
    request.finish();
    expect(textIn(await chunksIn(asked))).toBe('half whole');
  });
});
