/**
 * Upstream through a proxy that the environment names: used for the upstreams that it is named for, and named in the
 * log when it fails.
 */
import { once } from 'node:events';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseProxy, proxyFor, type Proxies } from '../src/upstream/address/proxies.ts';
import { readSettings } from '../src/settings/settings.ts';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { doors, readAll, terminalOf, textOf } from './support/doors.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startBench, testConfig } from './support/llm-stream.ts';
import { startProxy } from './support/proxy.ts';
import { ask, plainConfig, startTestService } from './support/service.ts';
import { selfSigned } from './support/self-signed.ts';
import { trustSelfSigned } from './support/tls.ts';
import { frameOf } from './support/upstream-frames.ts';

finishesCleanly();
trustSelfSigned();

const none: Proxies = { httpProxy: undefined, httpsProxy: undefined, allProxy: undefined, noProxy: undefined };
const noRetries = testConfig({ retries: { max: 0 } });

let simulator: Simulator;
beforeEach(async () => {
  simulator = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
});
afterEach(() => simulator[Symbol.asyncDispose]());

/** The Messages API behind TLS, which says `hello` in pieces. */
async function startSecureUpstream() {
  const server = https.createServer(selfSigned, (request, response) => {
    const answer = async () => {
      for await (const _ of request);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const delta = (text: string) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
      const events = [
        { type: 'message_start', message: { usage: { input_tokens: 1, output_tokens: 1 } } },
        { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
        ...'hello'.split('').map(delta),
        { type: 'content_block_stop', index: 0 },
        { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 1 } },
        { type: 'message_stop' },
      ];
      for (const event of events) {
        response.write(frameOf(event));
        await new Promise(setImmediate);
      }
      response.end();
    };
    void answer();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

describe('an upstream behind TLS', () => {
  it('is reached through a tunnel, which is kept', async () => {
    await using upstream = await startSecureUpstream();
    await using proxy = await startProxy({ upstreamPort: upstream.port });
    const proxies = { ...none, httpsProxy: proxy.url.replace('//', '//user:p%40ss@') };
    await using bench = await startBench({ address: () => ({ baseUrl: 'https://api.example', proxies }) });
    for (const _ of [1, 2]) {
      const { text, terminal } = await bench.hear(noRetries);
      expect([terminal.type, text]).toEqual(['done', 'hello']);
    }
    expect(proxy.asked).toEqual(['CONNECT api.example:443']);
    expect(proxy.credentials).toEqual([`Basic ${Buffer.from('user:p@ss').toString('base64')}`]);
  });

  it.each([
    ['a proxy that refuses', 407, 'proxy_refused', 1],
    ['a proxy that can’t get there', 502, 'proxy_refused', 1],
  ] as const)('is unreachable behind %s, and the log says who it was', async (_what, answers, code, requests) => {
    await using proxy = await startProxy({ answers, upstreamPort: simulator.port });
    const proxies = { ...none, httpsProxy: proxy.url };
    await using bench = await startBench({ address: () => ({ baseUrl: 'https://api.example', proxies }) });
    const { terminal } = await bench.hear(testConfig());
    expect(terminal).toMatchObject({ code: 'upstream_unreachable', costUsd: 0, usage: { estimated: false } });
    expect(bench.failures.map(({ error }) => error.cause)).toMatchObject([{ code, status: answers }]);
    expect(proxy.asked).toHaveLength(requests);
  });

  it('can be given up while its tunnel is being made', async () => {
    await using proxy = await startProxy({ answers: 'silence', upstreamPort: simulator.port });
    const proxies = { ...none, httpsProxy: proxy.url };
    await using bench = await startBench({ address: () => ({ baseUrl: 'https://api.example', proxies }) });
    const abort = new AbortController();
    const heard = bench.hear(noRetries, abort.signal);
    await vi.waitFor(() => expect(proxy.asked).toHaveLength(1));
    abort.abort('requested');
    expect((await heard).terminal).toMatchObject({ type: 'cancelled', reason: 'requested' });
    const late = await bench.hear(testConfig({ retries: { max: 0 }, timeouts: { first_byte_ms: 30 } }));
    expect(late.terminal).toMatchObject({ type: 'error', code: 'upstream_timeout' });
  });

  it('is not trusted with the certificate of another server', async () => {
    vi.unstubAllEnvs();
    await using upstream = await startSecureUpstream();
    await using proxy = await startProxy({ upstreamPort: upstream.port });
    const proxies = { ...none, httpsProxy: proxy.url };
    await using bench = await startBench({ address: () => ({ baseUrl: 'https://api.example', proxies }) });
    const { terminal } = await bench.hear(noRetries);
    expect(terminal).toMatchObject({ code: 'upstream_unreachable', costUsd: 0 });
  });
});

describe('an upstream without TLS', () => {
  it('is requested by its whole URL', async () => {
    await using proxy = await startProxy({ upstreamPort: simulator.port });
    const proxies = { ...none, httpProxy: proxy.url.replace('//', '//user:pass@') };
    await using bench = await startBench({ address: () => ({ baseUrl: 'http://gateway.example:8080', proxies }) });
    expect((await bench.hear(noRetries)).terminal.type).toBe('done');
    expect(proxy.asked).toEqual(['POST http://gateway.example:8080/v1/messages']);
    expect(proxy.credentials).toEqual([`Basic ${Buffer.from('user:pass').toString('base64')}`]);
    expect(simulator.requests[0]!.headers.host).toBe('gateway.example:8080');
  });

  it('is unreachable behind a proxy that isn’t there or wants credentials', async () => {
    await using bench = await startBench({
      address: () => ({ baseUrl: 'http://gateway.example', proxies: { ...none, httpProxy: 'http://127.0.0.1:1' } }),
    });
    expect((await bench.hear(noRetries)).terminal).toMatchObject({ code: 'upstream_unreachable', costUsd: 0 });
    expect(bench.failures[0]!.error.cause).toMatchObject({
      code: 'proxy_unreachable',
      check: expect.stringContaining('HTTP_PROXY'),
      cause: { code: 'ECONNREFUSED' },
    });

    await using proxy = await startProxy({ answers: 407, upstreamPort: simulator.port });
    await using strict = await startBench({
      address: () => ({ baseUrl: 'http://gateway.example', proxies: { ...none, httpProxy: proxy.url } }),
    });
    expect((await strict.hear(testConfig())).terminal).toMatchObject({ code: 'upstream_unreachable' });
    expect(strict.failures[0]!.error.cause).toMatchObject({ code: 'proxy_refused', status: 407 });
    expect(proxy.asked).toHaveLength(1);
  });
});

describe('the service', () => {
  it('uses the proxy of its environment for configs of every kind, and shows its credentials to nobody', async () => {
    await using proxy = await startProxy({ upstreamPort: simulator.port });
    const lines: string[] = [];
    const telemetry = new Telemetry({
      logLevel: 'trace',
      logContent: false,
      destination: { write: (line) => void lines.push(line) },
    });
    const own = { ...plainConfig, base_url: 'http://own.example' };
    await using service = await startTestService({
      telemetry,
      configs: { default: plainConfig, own },
      env: {
        ANTHROPIC_BASE_URL: 'http://gateway.example/v1',
        http_proxy: `kestrel:secret@127.0.0.1:${proxy.port}`,
        HTTP_PROXY: 'http://127.0.0.1:1',
      },
    });
    for (const config of ['default', 'own']) {
      expect(terminalOf(await readAll(doors[0]!.stream(service.url, ask('hi', { config })))).type).toBe('done');
    }
    expect(proxy.asked).toEqual(['POST http://gateway.example/v1/messages', 'POST http://own.example/v1/messages']);
    expect(lines.join('')).not.toMatch(/kestrel|secret/);
  });

  it('never asks its built-in simulator through a proxy', async () => {
    const env = { ANTHROPIC_API_KEY: '', ANTHROPIC_BASE_URL: '', ALL_PROXY: 'http://127.0.0.1:1' };
    await using service = await startTestService({ env });
    const seen = await readAll(doors[0]!.stream(service.url, ask('/sim echo direct')));
    expect([terminalOf(seen).type, textOf(seen)]).toEqual(['done', 'direct']);
  });
});

describe('NO_PROXY', () => {
  const isDirect = (url: string, noProxy: string) =>
    proxyFor(new URL(url), { ...none, allProxy: 'http://proxy:3128', noProxy }) === undefined;

  it.each([
    ['*', 'https://a.example'],
    ['b.example,a.example', 'https://a.example'],
    ['a.example', 'https://deep.below.A.example'],
    ['.a.example', 'https://a.example'],
    ['*.a.example', 'https://b.a.example'],
    ['a.example:8443', 'https://a.example:8443'],
    ['a.example:443', 'https://a.example'],
    [' a.example  b.example', 'http://b.example'],
    ['127.0.0.1', 'http://127.0.0.1:9'],
    ['10.0.0.0/8', 'http://10.2.3.4'],
    ['[::1]', 'http://[::1]:9'],
    ['::1', 'http://[::1]:9'],
    ['[::1]:9', 'http://[::1]:9'],
    ['fd00::/8', 'http://[fd12::1]'],
    ['a.example.', 'https://a.example'],
  ])('%s exempts %s', (noProxy, url) => {
    expect(isDirect(url, noProxy)).toBe(true);
  });

  it.each([
    ['', 'https://a.example'],
    ['a.example', 'https://notaa.example'],
    ['a.example', 'https://ba.example'],
    ['a.example:8443', 'https://a.example'],
    ['b.a.example', 'https://a.example'],
    ['10.0.0.0/8', 'http://11.2.3.4'],
    ['10.0.0.0/99', 'http://10.2.3.4'],
    ['10.0.0.0/8', 'http://ten.example'],
    ['127.0.0.1', 'http://localhost'],
    [',, .', 'http://a.example'],
  ])('%s does not exempt %s', (noProxy, url) => {
    expect(isDirect(url, noProxy)).toBe(false);
  });
});

describe('the settings', () => {
  it('name a proxy for each scheme, ALL_PROXY for those without, lower case first', () => {
    const settings = readSettings({ https_proxy: 'low:1', HTTPS_PROXY: 'http://up:2', ALL_PROXY: 'https://all:3' });
    expect(proxyFor(new URL('https://a'), settings)?.href).toBe('http://low:1/');
    expect(proxyFor(new URL('http://a'), settings)?.href).toBe('https://all:3/');
    expect(proxyFor(new URL('http://a'), readSettings({ HTTPS_PROXY: 'x:1' }))).toBeUndefined();
  });

  it.each(['socks5://kestrel@127.0.0.1:1080', 'socks4a://127.0.0.1:1', 'ftp://127.0.0.1', 'http://'])(
    'refuse %s by name, without telling it',
    (value) => {
      for (const name of ['HTTPS_PROXY', 'http_proxy', 'ALL_PROXY']) {
        expect(() => readSettings({ [name]: value })).toThrow(
          expect.objectContaining({
            message: expect.stringMatching(new RegExp(`^  ${name}: expected .*SOCKS is not supported`, 'm')),
          }),
        );
        expect(() => readSettings({ [name]: value })).not.toThrow(/kestrel|127\.0/);
      }
    },
  );

  it('accept a SOCKS proxy beside two others, if nothing would use it', () => {
    const env = { https_proxy: 'http://p:1', http_proxy: 'http://p:1', all_proxy: 'socks5://p:2' };
    expect(proxyFor(new URL('https://a'), readSettings(env))?.href).toBe('http://p:1/');
    expect(parseProxy('socks5://p:2')).toBeUndefined();
  });
});
