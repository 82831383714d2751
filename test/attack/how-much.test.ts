/** How much anybody may take: the listener of metrics, sockets of one address behind a proxy, and budgets under attack. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSimulator, type Simulator } from '../../src/simulator.ts';
import { bearer, bodyOf, keyOf } from '../support/attack-callers.ts';
import { strangersBytesMax, targetForTests, turnMsMax } from '../support/attack-target.ts';
import {
  frame,
  headOf,
  openWebSocketWire,
  openWire,
  posted,
  repeat,
  verdictOf,
  type Wire,
} from '../support/attack-wire.ts';
import { freePort } from '../support/free-port.ts';
import { plainConfig } from '../support/service.ts';

const path = '/api/llm/process_stream/default';
const budgetDollars = 1;
const answerDollars = 0.25;
const places = 10;
const socketsPerAddressMax = 5;
/** An output token costs 25 cents. */
const price = { input: 0, output: answerDollars * 1e6, cache_write: 0, cache_read: 0 };
const priced = { ...plainConfig, price };
const entries = ['ada', 'eve', 'mallory', 'trudy'].map((name) => ({
  name,
  sha256: createHash('sha256').update(keyOf(name)).digest('hex'),
  limits: {
    generations_per_caller_max: places,
    ...(name === 'ada' ? {} : { cost_per_caller_per_day_max: budgetDollars }),
  },
}));

let upstream: Simulator;
let metricsPort: number;
let folder: string;
beforeAll(async () => {
  upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [] });
  metricsPort = await freePort();
  folder = await mkdtemp(join(tmpdir(), 'how-much-'));
  await writeFile(join(folder, 'keys.json'), JSON.stringify(entries));
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
const target = targetForTests(() => ({
  upstreamUrl: upstream.url,
  env: {
    LLM_API_KEYS_FILE: join(folder, 'keys.json'),
    LLM_METRICS_PORT: `${metricsPort}`,
    LLM_TRUSTED_PROXIES: '127.0.0.1',
    LLM_SOCKETS_PER_ADDRESS_MAX: `${socketsPerAddressMax}`,
  },
  configs: { default: priced, brief: { ...priced, on_disconnect: { cancel_after_ms: 1 } } },
}));

let clients = 0;
/** A header by which the trusted proxy names a client of its own for each connection. */
function fromAnywhere(): Record<string, string> {
  clients += 1;
  return { 'x-forwarded-for': `198.18.${(clients >> 8) & 255}.${clients & 255}` };
}

describe('the listener of metrics', () => {
  const url = () => `http://127.0.0.1:${metricsPort}`;
  const scrape = async (signal: AbortSignal) => {
    const wire = await openWire(url(), signal);
    wire.write(headOf('GET', '/metrics', { connection: 'close' }));
    return verdictOf(wire, 5_000);
  };

  it('lets scrapers in again soon after heads that never end have taken every place, and the service doesn’t notice', async () => {
    const toll = await target.current.withstands(
      'API4 slow heads for metrics',
      async (signal) => {
        const wires = await Promise.all(Array.from({ length: 300 }, () => openWire(url(), signal)));
        for (const wire of wires) wire.write('GET /metrics HTTP/1.1\r\nhost: localhost\r\nx-slow: ');
        const dripping = setInterval(() => wires.forEach((wire) => wire.write('a')), 200);
        // Long before the first of those that are let in has been too slow.
        await delay(2_000, undefined, { signal });
        const beyond = wires.filter(({ isClosed }) => isClosed).length;
        await Promise.all(wires.map(({ closed }) => closed));
        clearInterval(dripping);
        return { beyond, after: await scrape(signal) };
      },
      30_000,
    );
    expect(toll.result.beyond).toBeGreaterThanOrEqual(200);
    expect(toll.result.after).toBe('200');
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
    expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  });

  it('makes a few responses at once for a connection, however many it asks for', async () => {
    const toll = await target.current.withstands('API4 pipelined scrapes', async (signal) => {
      const wires = await Promise.all(Array.from({ length: 20 }, () => openWire(url(), signal)));
      await Promise.all(wires.map((wire) => wire.flood(repeat(headOf('GET', '/metrics'), 20_000))));
      await Promise.all(wires.map(({ closed }) => closed));
      return { most: Math.max(...wires.map(({ bytesReceived }) => bytesReceived)), after: await scrape(signal) };
    });
    expect(toll.result.after).toBe('200');
    // A few pages of metrics.
    expect(toll.result.most).toBeLessThan(500_000);
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
    expect(toll.heldBytes).toBeLessThan(strangersBytesMax);
  });

  it('has one route, for one method, and for nobody who comes by another name or from another site', async () => {
    const { result } = await target.current.withstands('API9 other routes of metrics', async (signal) => {
      const heads = [
        ...[
          '/',
          '/healthz',
          '/trpc/llm.configs',
          '/api/llm/configs',
          '/openapi.json',
          '/metrics/..',
          '/%2e%2e/metrics',
          '//metrics',
          '*',
        ].map((route) => headOf('GET', route, bearer('ada'))),
        ...['POST', 'PUT', 'OPTIONS', 'TRACE', 'PROPFIND'].map((method) => headOf(method, '/metrics')),
        headOf('CONNECT', 'example.com:443'),
        headOf('GET', 'http://example.com/metrics', {}, 'example.com'),
        headOf('GET', '/metrics', {}, 'evil.example'),
        headOf('GET', '/metrics', { origin: 'https://evil.example' }),
        headOf('GET', '/metrics', { 'sec-fetch-site': 'cross-site' }),
        headOf('GET', '/trpc', {
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': 13,
          'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        }),
      ];
      const verdicts = heads.map(async (head) => {
        const wire = await openWire(url(), signal);
        wire.write(head);
        return [head.split('\r\n', 1)[0]!, await verdictOf(wire, 5_000)] as const;
      });
      return Promise.all(verdicts);
    });
    for (const [head, verdict] of result) expect(verdict, head).toMatch(/^(?:4\d\d\b.*|closed)$/);
  });
});

describe('what a client writes of its own address', () => {
  const open = (forwarded: string, signal: AbortSignal) =>
    openWebSocketWire(target.current.url, signal, { headers: { ...bearer('ada'), 'x-forwarded-for': forwarded } });

  it('in front of what the proxy adds gets it no more sockets', async () => {
    const client = '203.0.113.77';
    const lies = [
      '',
      '1.1.1.1, ',
      '::1, ',
      '127.0.0.1, ',
      '[2001:db8::1]:443, ',
      'unknown, _hidden, ',
      '9.9.9.9, '.repeat(1_000),
      '127.0.0.1, '.repeat(800),
      '0x7f.1, ',
      ',,,,,',
    ];
    const toll = await target.current.withstands('API4 forged X-Forwarded-For', async (signal) => {
      const wires: (Wire | undefined)[] = [];
      for (let round = 0; round < 3; round += 1) for (const lie of lies) wires.push(await open(lie + client, signal));
      const other = await open('203.0.113.78', signal);
      return { own: wires.filter(Boolean).length, other: other !== undefined };
    });
    expect(toll.result).toEqual({ own: socketsPerAddressMax, other: true });
    expect(toll.longestTurnMs).toBeLessThan(turnMsMax);
  });

  it('from all addresses of its network of IPv6, with ports or without, counts as one client', async () => {
    const { result } = await target.current.withstands('API4 one network of IPv6', async (signal) => {
      const wires: (Wire | undefined)[] = [];
      for (let host = 1; host <= 40; host += 1) {
        const address = `2001:db8:7:7:${host.toString(16)}::${(host * 7).toString(16)}`;
        wires.push(await open(host % 2 ? address : `[${address}]:${1_000 + host}`, signal));
      }
      return wires.filter(Boolean).length;
    });
    expect(result).toBe(socketsPerAddressMax);
  });
});

describe('a budget', () => {
  const dollarsMax = budgetDollars + places * answerDollars;
  const verdictIn = ({ received }: Wire) => /"type":"done"|rate_limited/.exec(received.toString('latin1'))?.[0];

  /** One start over one of the doors. Settles when its answer has ended, or it was refused. */
  async function start(caller: string, at: number, signal: AbortSignal): Promise<string | undefined> {
    const { url } = target.current;
    const input = { json: { config: 'default', messages: [{ role: 'user', content: 'hi' }] } };
    const headers = { ...bearer(caller), connection: 'close' };
    let wire: Wire | undefined;
    if (at % 3 === 0) {
      wire = await openWebSocketWire(url, signal, { headers: { ...bearer(caller), ...fromAnywhere() } });
      wire?.write(frame(JSON.stringify({ id: 1, method: 'subscription', params: { path: 'llm.stream', input } })));
    } else {
      wire = await openWire(url, signal);
      if (at % 3 === 1) wire.write(posted(path, bodyOf('hi'), headers));
      else wire.write(posted('/trpc/llm.stream', JSON.stringify(input), { ...headers, accept: 'text/event-stream' }));
    }
    await wire?.until((each) => verdictIn(each) !== undefined, 20_000);
    return wire && verdictIn(wire);
  }

  it('of a dollar is overrun by no more than what runs in the caller’s places, by starts that race over all doors', async () => {
    upstream.respondWith(() => ({ kind: 'text', text: 'an answer', usage: { output_tokens: 1 } }));
    const before = upstream.requestCount;
    const { result } = await target.current.withstands(
      'API6 a race for a budget',
      async (signal) => {
        const verdicts: (string | undefined)[] = [];
        for (let wave = 0; wave < 3; wave += 1) {
          const racing = Array.from({ length: 100 }, (_, at) => start('eve', at, signal));
          verdicts.push(...(await Promise.all(racing)));
        }
        return verdicts;
      },
      60_000,
    );
    upstream.respondWith(undefined);
    const answers = upstream.requestCount - before;
    expect(new Set(result)).toEqual(new Set(['"type":"done"', 'rate_limited']));
    expect(result.filter((verdict) => verdict === '"type":"done"')).toHaveLength(answers);
    expect(answers * answerDollars).toBeGreaterThanOrEqual(budgetDollars);
    expect(answers * answerDollars).toBeLessThan(dollarsMax);
  });

  it.each([
    ['a cancel', 'mallory', true],
    ['leaving', 'trudy', false],
  ] as const)('is not evaded by %s before upstream says what an answer costs', async (how, caller, cancels) => {
    upstream.respondWith((request) => {
      void request.text('some words');
      return { kind: 'manual' };
    });
    const before = upstream.requestCount;
    const { result } = await target.current.withstands(
      `API6 a budget, and ${how}`,
      async (signal) => {
        for (let tries = 0; tries < 100; tries += 1) {
          const id = crypto.randomUUID();
          const wire = await openWire(target.current.url, signal);
          wire.write(
            posted('/api/llm/process_stream/brief', bodyOf('hi'), { ...bearer(caller), 'idempotency-key': id }),
          );
          const told = () => /"type":"text"|The budget of|At most/.exec(wire.received.toString('latin1'))?.[0];
          await wire.until(() => told() !== undefined, 10_000);
          if (told() === 'The budget of') return 'refused';
          if (cancels) {
            const cancel = await openWire(target.current.url, signal);
            cancel.write(headOf('DELETE', `/api/llm/generations/${id}`, bearer(caller)));
            await verdictOf(cancel, 5_000);
          }
          wire.socket.destroy();
        }
        return 'never refused';
      },
      60_000,
    );
    upstream.respondWith(undefined);
    expect(result).toBe('refused');
    expect(upstream.requestCount - before).toBeLessThan(dollarsMax / answerDollars);
  });
});
