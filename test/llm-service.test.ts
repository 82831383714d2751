import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http, { type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { hello, startBench, takeApart, testConfig, type Bench } from './support/llm-stream.ts';

finishesCleanly();
afterEach(() => void vi.unstubAllEnvs());

function emptyAnswer(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end('data: {"type":"message_start","message":{}}\n\ndata: {"type":"message_stop"}\n\n');
}

describe('an answer', () => {
  test('ends in done, with stop reason, usage, cost and timing', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({
      kind: 'text',
      text: 'twelve chars',
      usage: { input_tokens: 1_000, output_tokens: 2_000 },
    });
    const { text, terminal } = await bench.hear(testConfig());
    expect(text).toBe('twelve chars');
    expect(terminal).toEqual({
      type: 'done',
      stopReason: 'end_turn',
      messageId: expect.stringMatching(/^msg_/),
      steps: 1,
      usage: {
        inputTokens: 1_000,
        outputTokens: 2_000,
        cacheReadInputTokens: 0,
        cacheCreationInputTokens: 0,
        estimated: false,
        raw: expect.objectContaining({ output_tokens: 2_000 }),
        serviceTier: 'standard',
      },
      costUsd: 0.022,
      timing: { firstTokenMs: expect.any(Number), totalMs: expect.any(Number) },
      config: 'test',
      model: 'claude-sonnet-5-5',
    });
  });

  test.each([
    ['a reason of another server', 'content_filter', 'content_filter'],
    ['a sentence', 'the key sk-test was used', null],
    ['what stands in the request', 'conversation-9f3a', null],
    ['a key', 'sk-secret-0123456789', null],
    ['a word without end', 'x'.repeat(1_000), null],
  ])('tells a stop reason only if it is one word of upstream’s own: %s', async (_what, stopReason, told) => {
    await using bench = await startBench({ address: () => ({ apiKey: 'sk-secret-0123456789' }) });
    bench.simulator.enqueue({ kind: 'blocks', blocks: [], stopReason });
    const messages = [{ role: 'user' as const, content: 'Name: conversation-9f3a' }];
    expect((await bench.hear(testConfig(), undefined, messages)).terminal).toMatchObject({
      type: 'done',
      stopReason: told,
    });
  });

  test('comes with its stop details', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'blocks', blocks: [], stopReason: 'refusal', stopDetails: { category: 'cyber' } });
    const { terminal } = await bench.hear(testConfig());
    expect(terminal).toMatchObject({ type: 'done', stopReason: 'refusal', stopDetails: { category: 'cyber' } });
    expect(terminal.timing.firstTokenMs).toBeNull();
  });

  // All upstream sockets read into one buffer, so whatever has to wait must be copied.
  test('that waits to be taken is not overwritten by other answers', async () => {
    await using bench = await startBench();
    const speak = async (letter: string) => {
      bench.simulator.enqueue({ kind: 'manual' });
      const stream = bench.stream(testConfig());
      const first = stream.next();
      const upstream = await bench.simulator.nextRequest();
      await upstream.text(letter);
      const heard = (await first).value ?? [];
      return { letter, stream, upstream, heard };
    };
    const speakers = [await speak('a'), await speak('é'), await speak('語')];
    // Nobody takes any of it, so it stays in the buffer as it arrived.
    for (let turn = 0; turn < 50; turn += 1) {
      for (const { letter, upstream } of speakers) await upstream.text(letter.repeat(20));
    }
    for (const { letter, stream, upstream, heard } of speakers) {
      upstream.finish();
      const events = [...heard];
      for await (const batch of stream) events.push(...batch);
      expect(takeApart(events).text).toBe(letter.repeat(1_001));
    }
  });

  test('comes in batches as it is read, and done with the last of them', async () => {
    await using bench = await startBench();
    bench.simulator.enqueue({ kind: 'manual' });
    const stream = bench.stream(testConfig());
    const first = stream.next();
    const upstream = await bench.simulator.nextRequest();
    await upstream.text('one');
    expect((await first).value).toEqual([{ type: 'text', index: 0, text: 'one' }]);
    const second = stream.next();
    await upstream.text('two');
    expect((await second).value).toEqual([{ type: 'text', index: 0, text: 'two' }]);
    const last = stream.next();
    upstream.finish();
    expect((await last).value).toEqual([expect.objectContaining({ type: 'done' })]);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  test('shows thinking where the config says so', async () => {
    await using bench = await startBench();
    const think = { type: 'thinking', thinking: 'let me see', signature: 'sig' };
    bench.simulator.respondWith({ kind: 'blocks', blocks: [think, { type: 'text', text: 'so' }] });
    const types = async (show: boolean) => {
      const { events } = await bench.hear(testConfig({ thinking: { show } }));
      return [...new Set(events.map(({ type }) => type))];
    };
    expect(await types(true)).toEqual(['thinking', 'block', 'text', 'done']);
    expect(await types(false)).toEqual(['block', 'text', 'done']);
  });

  test('reuses the socket of the one before', async () => {
    await using bench = await startBench();
    for (let answer = 0; answer < 5; answer += 1) await bench.hear(testConfig());
    expect(bench.simulator.openSockets).toBe(1);
  });

  describe('on a kept socket that upstream resets', () => {
    // Answers the first request of each connection and resets the connection at the second. Nobody can know whether it
    // took that request.
    async function withResets(use: (bench: Bench, requests: () => number) => Promise<void>): Promise<void> {
      const ports = new Set<number | undefined>();
      let requests = 0;
      const server = http.createServer(({ socket }, response) => {
        requests += 1;
        if (ports.has(socket.remotePort)) return void socket.resetAndDestroy();
        ports.add(socket.remotePort);
        return emptyAnswer(response);
      });
      await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
      try {
        const { port } = server.address() as { port: number };
        const retryTiming = { firstDelayMs: 60_000, delayMaxMs: 60_000, random: () => 0 };
        await using bench = await startBench({ address: () => ({ baseUrl: `http://127.0.0.1:${port}` }), retryTiming });
        await use(bench, () => requests);
      } finally {
        await new Promise((resolve) => server.close(resolve));
      }
    }

    test('a retry goes out at once on another socket, and the usage is flagged as estimated', () =>
      withResets(async (bench, requests) => {
        const config = testConfig({ retries: { max: 1 } });
        // Two connections are kept, and both would be reset.
        await Promise.all([bench.hear(config), bench.hear(config)]);
        const { terminal } = await bench.hear(config);
        expect(terminal).toMatchObject({ type: 'done', usage: { estimated: true } });
        expect(bench.failures).toMatchObject([{ attempt: 1, error: { code: 'upstream_unreachable' }, retryInMs: 0 }]);
        expect(requests()).toBe(4);
      }));

    test('nothing is sent twice if no retry is allowed', () =>
      withResets(async (bench, requests) => {
        const config = testConfig({ retries: { max: 0 } });
        await bench.hear(config);
        const { terminal } = await bench.hear(config);
        expect(terminal).toMatchObject({ type: 'error', code: 'upstream_unreachable', usage: { estimated: true } });
        expect(requests()).toBe(2);
      }));
  });

  test('closes a kept socket on which upstream speaks out of turn, and takes another', async () => {
    const sockets = new Set<Socket>();
    const server = http.createServer(({ socket }, response) => {
      sockets.add(socket);
      emptyAnswer(response);
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    {
      const { port } = server.address() as { port: number };
      await using bench = await startBench({ address: () => ({ baseUrl: `http://127.0.0.1:${port}` }) });
      const config = testConfig({ retries: { max: 0 } });
      await bench.hear(config);
      const [kept] = sockets;
      const closed = once(kept!, 'close');
      kept!.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      await closed;
      expect((await bench.hear(config)).terminal.type).toBe('done');
      expect(sockets.size).toBe(2);
    }
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('a request', () => {
  const sent = async (keys: object, apiKey?: string) => {
    await using bench = await startBench({ address: () => (apiKey === undefined ? {} : { apiKey }) });
    await bench.hear(testConfig(keys));
    const [{ body, headers }] = bench.simulator.requests as [(typeof bench.simulator.requests)[0]];
    return { body: body as unknown, headers };
  };

  test('holds what the config says and nothing else', async () => {
    const { body, headers } = await sent({ max_tokens: 77 });
    expect(body).toEqual({
      model: 'claude-sonnet-5-5',
      max_tokens: 77,
      stream: true,
      system: 'You are a test.',
      messages: hello,
    });
    expect(headers['anthropic-version']).toBe('2026-10-21');
  });

  test('asks for the old version of the API where sampling parameters are set', async () => {
    const keys = { model: 'claude-sonnet-4-6', temperature: 0.5, top_p: 0.9, top_k: 40, stop_sequences: ['END'] };
    const { body, headers } = await sent(keys);
    expect(headers['anthropic-version']).toBe('2023-06-01');
    expect(body).toMatchObject(keys);
  });

  test('marks the system prompt for the cache, and leaves out an empty one', async () => {
    expect((await sent({ cache_prompt: true })).body).toMatchObject({
      system: [{ type: 'text', text: 'You are a test.', cache_control: { type: 'ephemeral' } }],
    });
    expect((await sent({ cache_prompt: true, system_prompt: '' })).body).not.toHaveProperty('system');
  });

  test.each([
    [{ show: true }, { type: 'adaptive', display: 'summarized' }],
    [
      { type: 'enabled', budget_tokens: 2_000 },
      { type: 'enabled', budget_tokens: 2_000, display: 'omitted' },
    ],
    [{ type: 'disabled' }, { type: 'disabled' }],
  ])('asks for thinking: %j', async (thinking, asked) => {
    expect((await sent({ thinking })).body).toMatchObject({ thinking: asked });
  });

  test('carries the key that it is given', async () => {
    const { headers } = await sent({}, 'sk-test');
    expect(headers.authorization).toBe('Bearer sk-test');
  });

  test('carries only what it is given, whatever the environment holds', async () => {
    vi.stubEnv('ANTHROPIC_API_KEY', 'sk-env');
    vi.stubEnv('ANTHROPIC_AUTH_TOKEN', 'token-env');
    vi.stubEnv('ANTHROPIC_BASE_URL', 'http://127.0.0.1:9');
    vi.stubEnv('ANTHROPIC_CUSTOM_HEADERS', 'Authorization: Bearer custom\nX-Secret: custom\nCookie: custom');
    const { headers } = await sent({});
    expect(headers).not.toHaveProperty('authorization');
    expect(headers).not.toHaveProperty('x-api-key');
    expect(JSON.stringify(headers)).not.toMatch(/sk-env|token-env|custom/);
  });

  test('carries nothing of the profiles that the SDK finds on a machine', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'profile-'));
    try {
      for (const name of ['configs', 'credentials']) mkdirSync(join(folder, name));
      const profile = { authentication: { type: 'user_oauth' }, base_url: 'http://127.0.0.1:9' };
      writeFileSync(join(folder, 'configs', 'default.json'), JSON.stringify(profile));
      const credentials = { version: '1.0', type: 'oauth_token', access_token: 'token-profile' };
      writeFileSync(join(folder, 'credentials', 'default.json'), JSON.stringify(credentials), { mode: 0o600 });
      vi.stubEnv('ANTHROPIC_CONFIG_DIR', folder);
      vi.stubEnv('ANTHROPIC_PROFILE', 'default');
      const { headers } = await sent({});
      expect(headers).not.toHaveProperty('authorization');
      expect(headers).not.toHaveProperty('anthropic-beta');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('goes to a base URL with a path', async () => {
    await using bench = await startBench();
    const { simulator } = bench;
    await using elsewhere = await startBench({ address: () => ({ baseUrl: `${simulator.url}/proxy/` }) });
    await elsewhere.hear(testConfig());
    expect(simulator.requests[0]?.path).toBe('/proxy/v1/messages');
  });
});
