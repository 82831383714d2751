/** What is sent to which upstream: the path, the key and its header, and headers that an operator adds. */
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { messagesUrl } from '../src/upstream/address/base-url.ts';
import { ConfigError, defineConfigs, parseConfigs } from '../src/configs/configs.ts';
import { createLlmRouter, type LlmRouterOptions } from '../src/embed.ts';
import { readSettings, SettingsError } from '../src/settings/settings.ts';
import { startSimulator, type Simulator, type SimulatorRequest } from '../src/simulator.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { doors, readAll, terminalOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig } from './support/llm-stream.ts';
import { startProxy } from './support/proxy.ts';
import { ask, plainConfig, startTestService, type TestServiceOptions } from './support/service.ts';

finishesCleanly();

/** Another server than the one that `ANTHROPIC_BASE_URL` names. */
let other: Simulator;
beforeEach(async () => {
  other = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
});
afterEach(() => other[Symbol.asyncDispose]());

/** The requests that upstream gets when each of these configs is used. */
async function asked(options: TestServiceOptions, names: readonly string[]): Promise<readonly SimulatorRequest[]> {
  await using service = await startTestService(options);
  for (const config of names) await readAll(doors[0]!.stream(service.url, ask('hi', { config })));
  return [...service.upstream.requests, ...other.requests];
}

/** Which of these headers a request had. */
const headersOf = ({ headers }: SimulatorRequest, ...names: string[]) => names.map((name) => headers[name]);

describe('the path of a request', () => {
  it.each([
    ['http://h', undefined, 'http://h/v1/messages'],
    ['http://h/', undefined, 'http://h/v1/messages'],
    ['http://h/v1', undefined, 'http://h/v1/messages'],
    ['http://h/v1/', undefined, 'http://h/v1/messages'],
    ['http://h/v1//', undefined, 'http://h/v1/messages'],
    ['http://h/v1/messages', undefined, 'http://h/v1/messages'],
    ['http://h/v1/messages/', undefined, 'http://h/v1/messages'],
    ['http://h:1/a/b/v1/', undefined, 'http://h:1/a/b/v1/messages'],
    ['http://h/dev1', undefined, 'http://h/dev1/v1/messages'],
    ['http://h/a@b', undefined, 'http://h/a@b/v1/messages'],
    ['http://h/v1', '/v1/messages?beta=true', 'http://h/v1/messages?beta=true'],
    ['http://h/v1', '/chat/messages', 'http://h/v1/chat/messages'],
    ['http://h/v1', '/', 'http://h/v1/'],
    ['http://h', '/v2/messages', 'http://h/v2/messages'],
  ])('below %s, with messages_path %s, is %s', (baseUrl, path, url) => {
    expect(messagesUrl(baseUrl, path)).toBe(url);
  });

  it('repeats no part, whether a config or the environment names the base URL', async () => {
    const configs = {
      default: plainConfig,
      own: { ...plainConfig, base_url: `${other.url}/v1/` },
      unusual: { ...plainConfig, base_url: other.url, messages_path: '/gateway/claude?tenant=a' },
    };
    await using upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
    const env = { ANTHROPIC_BASE_URL: `${upstream.url}/v1/messages` };
    await asked({ configs, env }, ['default', 'own', 'unusual']);
    expect([...upstream.requests, ...other.requests].map(({ path }) => path)).toEqual([
      '/v1/messages',
      '/v1/messages',
      '/gateway/claude',
    ]);
  });

  it.each([
    'http://user:pass@kestrel.example',
    'http://kestrel.example?key=1',
    'http://kestrel.example/?',
    'http://kestrel.example/#a',
    'ftp://kestrel.example',
    'kestrel.example',
  ])('is not taken from %s, by one rule for all who name it', (url) => {
    const refused = 'expected an http or https URL without credentials, query or fragment, found text, not shown here';
    expect(() => parseConfigs({ a: { ...plainConfig, base_url: url } })).toThrow(`a.base_url: ${refused}`);
    expect(() => readSettings({ ANTHROPIC_BASE_URL: url })).toThrow(`ANTHROPIC_BASE_URL: ${refused}`);
    expect(() => readSettings({ ANTHROPIC_BASE_URL: 'http://h/a@b' })).not.toThrow();
  });

  it.each(['v1/messages', '', '/a b', '/a#b', '/ü', 1])('is not taken from messages_path %j', (messages_path) => {
    expect(() => parseConfigs({ a: { ...plainConfig, messages_path } })).toThrow(
      /^ {2}a\.messages_path: expected a path/m,
    );
  });
});

describe('a 404', () => {
  const refusedWith = async (status: number, body: string, type: string, path = '/x1/v1/v1/messages') => {
    await using bench = await startBench();
    const { simulator } = bench;
    await using elsewhere = await startBench({ address: () => ({ baseUrl: simulator.url, messagesPath: path }) });
    // The simulator refuses other paths, so a plain server takes its place.
    const server = (await import('node:http')).createServer((request, response) => {
      request.resume().on('end', () => response.writeHead(status, { 'content-type': type }).end(body));
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    try {
      await using plain = await startBench({
        address: () => ({ baseUrl: `http://127.0.0.1:${port}`, messagesPath: path }),
      });
      await plain.hear(testConfig());
      expect(elsewhere.failures).toEqual([]);
      return plain.failures.map(({ error }) => error.cause);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  };

  it.each([
    [404, '<h1>Not Found</h1>', 'text/html'],
    [404, '404 page not found', 'text/plain'],
    [404, '{"detail":"Not Found"}', 'application/json'],
    [404, '{"type":"error","error":{"type":"not_found_error","message":"Not found"}}', 'application/json'],
    [
      404,
      '{"error":{"type":"invalid_request_error","message":"Invalid URL (POST /x1/v1/v1/messages)"}}',
      'application/json',
    ],
    [405, 'Method Not Allowed', 'text/plain'],
  ])('of the path itself is told as such, with the path and what to look at: %i %s', async (status, body, type) => {
    expect(await refusedWith(status, body, type)).toMatchObject([
      {
        code: 'no_such_path',
        status,
        requestPath: '/…/v1/v1/messages',
        check: expect.stringMatching(/base_url.*ANTHROPIC_BASE_URL.*messages_path/),
      },
    ]);
  });

  it.each([
    '{"type":"error","error":{"type":"not_found_error","message":"model: claude-of-tomorrow"}}',
    '{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","code":404}',
    '{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","code":"model_not_found"}}',
  ])('of what the request names is the API’s: %s', async (body) => {
    expect(await refusedWith(404, body, 'application/json')).toMatchObject([{ code: 'refused', status: 404 }]);
  });

  it('is logged with its path, without parts that may be a name', async () => {
    const lines: string[] = [];
    const telemetry = new Telemetry({
      logLevel: 'warn',
      logContent: false,
      destination: { write: (line) => void lines.push(line) },
    });
    const configs = { default: { ...plainConfig, base_url: `${other.url}/kestrel/v1`, messages_path: '/v2/messages' } };
    await asked({ configs, telemetry }, ['default']);
    const [line] = lines.map((text) => JSON.parse(text) as { cause: object[] });
    expect(line!.cause).toContainEqual(
      expect.objectContaining({ code: 'no_such_path', path: '/…/v1/v2/messages', check: expect.any(String) }),
    );
  });
});

describe('the key', () => {
  it('is sent in the header that the config names', async () => {
    const own = { ...plainConfig, base_url: other.url, api_key_env: 'OWN_KEY' };
    const configs = { bearer: own, header: { ...own, api_key_header: 'x-api-key' } };
    const requests = await asked({ configs, env: { OWN_KEY: ' own-key\n' } }, ['bearer', 'header']);
    expect(requests.map((each) => headersOf(each, 'authorization', 'x-api-key'))).toEqual([
      ['Bearer own-key', undefined],
      [undefined, 'own-key'],
    ]);
  });

  it('of the deployment is sent in the header of LLM_UPSTREAM_KEY_HEADER, only to its own server', async () => {
    const configs = {
      default: plainConfig,
      asked: { ...plainConfig, api_key_header: 'authorization' },
      own: { ...plainConfig, base_url: other.url, api_key_env: 'OWN_KEY' },
    };
    const env = { LLM_UPSTREAM_KEY_HEADER: 'x-api-key', OWN_KEY: 'own-key' };
    const requests = await asked({ configs, env }, ['default', 'asked', 'own']);
    expect(requests.map((each) => headersOf(each, 'authorization', 'x-api-key'))).toEqual([
      [undefined, 'sk-test'],
      ['Bearer sk-test', undefined],
      ['Bearer own-key', undefined],
    ]);
  });

  it('may be a token of ANTHROPIC_AUTH_TOKEN, but ANTHROPIC_API_KEY has priority', async () => {
    const token = { ANTHROPIC_AUTH_TOKEN: 'token', ANTHROPIC_API_KEY: '' };
    const [request] = await asked({ env: token }, ['default']);
    expect(headersOf(request!, 'authorization')).toEqual(['Bearer token']);
    expect(readSettings({ ANTHROPIC_AUTH_TOKEN: 'token' }).simulate).toBe(false);
    const [both] = await asked({ env: { ANTHROPIC_AUTH_TOKEN: 'token' } }, ['default']);
    expect(headersOf(both!, 'authorization')).toEqual(['Bearer sk-test']);
  });
});

describe('headers of a config', () => {
  const env = { GATEWAY_KEY: 'the-gateway-key\n' };

  it('are sent with its requests, from the text or from the environment', async () => {
    const headers = { 'X-Tenant': 'blue team', 'x-gateway-key': { env: 'GATEWAY_KEY' }, 'anthropic-beta': 'b-1' };
    const [request] = await asked({ configs: { default: { ...plainConfig, headers } }, env }, ['default']);
    expect(headersOf(request!, 'x-tenant', 'x-gateway-key', 'anthropic-beta', 'authorization')).toEqual([
      'blue team',
      'the-gateway-key',
      'b-1',
      'Bearer sk-test',
    ]);
  });

  it('outrank those of ANTHROPIC_CUSTOM_HEADERS, which are sent only to the deployment’s server', async () => {
    const configs = {
      default: { ...plainConfig, headers: { 'x-team': 'own' } },
      own: { ...plainConfig, base_url: other.url },
    };
    const custom = { ANTHROPIC_CUSTOM_HEADERS: 'X-Team: everyone\r\nX-Route:  a:b \n\nanthropic-beta: b-2' };
    // The SDK reads the real one.
    vi.stubEnv('ANTHROPIC_CUSTOM_HEADERS', custom.ANTHROPIC_CUSTOM_HEADERS);
    const requests = await asked({ configs, env: custom }, ['default', 'own']);
    vi.unstubAllEnvs();
    expect(requests.map((each) => headersOf(each, 'x-team', 'x-route', 'anthropic-beta'))).toEqual([
      ['own', 'a:b', 'b-2'],
      [undefined, undefined, undefined],
    ]);
  });

  const problemsOf = (headers: unknown, given: Record<string, string> = env) => {
    try {
      parseConfigs({ a: { ...plainConfig, headers } }, { env: given });
    } catch (error) {
      if (error instanceof ConfigError) return error.problems.map(({ path, message }) => `${path}: ${message}`);
      throw error;
    }
    return [];
  };

  it.each([
    ['authorization', /api_key_env names the key, and api_key_header/],
    ['X-Api-Key', /api_key_header: "x-api-key" sends it so/],
    ['Host', /no header "host", since the service sets it/],
    ['content-length', /since the service sets it/],
    ['transfer-encoding', /since the service sets it/],
    ['accept-encoding', /since the service sets it/],
    ['connection', /since the service sets it/],
    ['proxy-authorization', /HTTPS_PROXY and HTTP_PROXY/],
    ['with blank', /the name of a header/],
    ['', /the name of a header/],
    ['naïve', /the name of a header/],
  ])('may not be %j', (name, reason) => {
    expect(problemsOf({ [name]: 'the-secret' })).toEqual([expect.stringMatching(reason)]);
    expect(problemsOf({ [name]: 'the-secret' }).join()).not.toContain('the-secret');
  });

  it.each([['a\nb: c'], ['the-secret ü'], ['the-secret \ud83d'], [''], [' '], [7], [null], [{ env: 'not a name' }]])(
    'may not have the value %j',
    (value) => {
      const problems = problemsOf({ 'x-tenant': value });
      expect(problems).toEqual([expect.stringMatching(/^a\.headers\["x-tenant"\].*: (expected|unknown key)/)]);
      expect(problems.join()).not.toContain('the-secret');
    },
  );

  it('may not name a variable that is not set, or that no header can carry, and none twice', () => {
    expect(problemsOf({ 'x-key': { env: 'GATEWAY_KEY' } }, {})).toEqual([
      'a.headers["x-key"].env: expected the name of an environment variable that is set, found one that is not',
    ]);
    expect(problemsOf({ 'x-key': { env: 'GATEWAY_KEY' } }, { GATEWAY_KEY: 'the-secret\nx' })).toEqual([
      expect.stringMatching(
        /^a\.headers\["x-key"\]\.env: expected printable ASCII characters in that environment variable/,
      ),
    ]);
    expect(problemsOf({ 'x-key': 'a', 'X-Key': 'b' })).toEqual([
      expect.stringMatching(/^a\.headers\["X-Key"\]: expected each header once/),
    ]);
    expect(() => parseConfigs({ a: { ...plainConfig, api_key_env: 'K' } }, { env: { K: 'ü' } })).toThrow(
      /a\.api_key_env: expected printable ASCII/,
    );
  });

  it('show their values to nobody', () => {
    const headers = { 'x-tenant': 'the-secret' };
    const written = defineConfigs({ a: { model: 'm', max_tokens: 10, system_prompt: '', headers } });
    const configs = parseConfigs(written);
    const config = configs.get('a')!;
    expect(config.headers!.names).toEqual(['x-tenant']);
    expect(
      [inspect(config, { depth: 9 }), JSON.stringify(config), JSON.stringify(configs.summaries())].join(),
    ).not.toContain('the-secret');
    expect(config.hash).not.toBe(parseConfigs({ a: { model: 'm', max_tokens: 10, system_prompt: '' } }).get('a')!.hash);
  });
});

describe('variables of the SDK', () => {
  it.each([
    ['X-Tenant', 'in line 1 of 1, found no colon'],
    ['a: b\nAuthorization: Bearer the-secret', 'ANTHROPIC_AUTH_TOKEN'],
    ['x-api-key: the-secret', 'LLM_UPSTREAM_KEY_HEADER=x-api-key'],
    ['Host: the-secret', 'no header "host"'],
    ['x: the-secret ü', 'printable ASCII characters as the value in line 1 of 1'],
    ['x:', 'printable ASCII characters as the value in line 1 of 1'],
  ])('ANTHROPIC_CUSTOM_HEADERS is refused as %j, and not quoted', (value, reason) => {
    const read = () => readSettings({ ANTHROPIC_CUSTOM_HEADERS: value });
    expect(read).toThrow(SettingsError);
    expect(read).toThrow(reason);
    expect(read).not.toThrow('the-secret');
  });

  it('for credentials elsewhere are refused by name if there are no others', () => {
    for (const name of ['ANTHROPIC_PROFILE', 'ANTHROPIC_IDENTITY_TOKEN_FILE', 'ANTHROPIC_CONFIG_DIR']) {
      expect(() => readSettings({ [name]: 'x' })).toThrow(`${name}: not supported; set ANTHROPIC_API_KEY`);
      expect(readSettings({ [name]: 'x', ANTHROPIC_API_KEY: 'k' }).unused).toEqual([
        { path: name, message: 'not used, since there is a key or a token' },
      ]);
    }
  });

  it('that make no difference are named in the log', async () => {
    const lines: string[] = [];
    const telemetry = new Telemetry({
      logLevel: 'warn',
      logContent: false,
      destination: { write: (line) => void lines.push(line) },
    });
    const env = { ANTHROPIC_LOG: 'debug', ANTHROPIC_AUTH_TOKEN: 'the-secret' };
    await using _service = await startTestService({ telemetry, env });
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({
      unused: [
        { path: 'ANTHROPIC_LOG', message: expect.stringContaining('LOG_LEVEL') },
        { path: 'ANTHROPIC_AUTH_TOKEN', message: expect.stringContaining('ANTHROPIC_API_KEY is set too') },
      ],
    });
    expect(lines[0]).not.toContain('the-secret');
  });
});

describe('an embedded router', () => {
  const configs = defineConfigs({ default: { model: 'claude-sonnet-5-5', max_tokens: 10, system_prompt: '' } });
  const answer = async (options: LlmRouterOptions) => {
    await using router = createLlmRouter(configs, {
      telemetry: { logLevel: 'silent' },
      limits: { drainMs: 0 },
      ...options,
    });
    const { llm } = router.createCaller({});
    for await (const _ of await llm.stream({ config: 'default', messages: [{ role: 'user', content: 'hi' }] }));
  };

  it('sends the headers of its options, and the key as they say', async () => {
    await answer({
      baseUrl: `${other.url}/v1/`,
      apiKey: 'k',
      apiKeyHeader: 'x-api-key',
      headers: { 'X-Tenant': 'blue' },
    });
    expect(headersOf(other.requests[0]!, 'x-api-key', 'authorization', 'x-tenant')).toEqual(['k', undefined, 'blue']);
  });

  it('takes the proxies of its env', async () => {
    await using proxy = await startProxy({ upstreamPort: other.port });
    await answer({ baseUrl: 'http://gateway.example', env: { http_proxy: proxy.url } });
    expect(proxy.asked).toEqual(['POST http://gateway.example/v1/messages']);
    expect(() => createLlmRouter(configs, { env: { HTTPS_PROXY: 'socks5://p' } })).toThrow(/HTTPS_PROXY: .*SOCKS/);
  });

  it('refuses an invalid base URL, and headers that can’t be sent', () => {
    const create = () =>
      createLlmRouter(configs, { baseUrl: 'http://the-secret@h', headers: { host: 'x', 'x-tenant': 'the-secret\n' } });
    expect(create).toThrow(ConfigError);
    expect(create).toThrow(/ {2}baseUrl: .*\n {2}headers\["host"\]: .*\n {2}headers\["x-tenant"\]: /);
    expect(create).not.toThrow('the-secret');
  });
});

describe('the end of an answer', () => {
  it('names the stop sequence', async () => {
    const configs = { default: { ...plainConfig, stop_sequences: ['END_A', 'END_B'] } };
    await using service = await startTestService({ configs });
    for (const [text, stop] of [
      ['one END_B two END_A', 'END_B'],
      ['END_A', 'END_A'],
    ] as const) {
      service.upstream.enqueue({ kind: 'text', text });
      const terminal = terminalOf(await readAll(doors[0]!.stream(service.url, ask('hi'))));
      expect(terminal).toMatchObject({ type: 'done', stopReason: 'stop_sequence', stopSequence: stop });
    }
    service.upstream.enqueue({ kind: 'text', text: 'no end' });
    expect(terminalOf(await readAll(doors[0]!.stream(service.url, ask('hi'))))).not.toHaveProperty('stopSequence');
  });
});
