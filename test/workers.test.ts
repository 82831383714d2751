/** `serve --workers`: several processes behind one port and one Redis, as whoever runs and asks them sees it. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTRPCClient, createWSClient, httpLink, wsLink } from '@trpc/client';
import superjson from 'superjson';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { commandLine, type Running } from './support/command-line.ts';
import { doors, readAll, terminalOf, textOf, type AnyConfigRouter, type View } from './support/doors.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { sample, scrape } from './support/prometheus.ts';
import { send } from './support/raw-http.ts';
import { ask, plainConfig } from './support/service.ts';
import { requires } from './support/skip.ts';
import { steadyLoad } from './support/steady-load.ts';
import { newPrefix, redisForAllTests } from './support/stream-logs.ts';

finishesCleanly();
// Each worker loads the service.
vi.setConfig({ testTimeout: 240_000 });
const cli = commandLine();

let upstream: Simulator;
beforeEach(async () => {
  upstream = await startSimulator({ tokensPerSecond: 100, docs: [] });
  await writeFile(join(cli.cwd, 'configs.json'), JSON.stringify({ default: plainConfig }));
});
afterEach(() => upstream[Symbol.asyncDispose]());

const upstreamEnv = () => ({
  ANTHROPIC_BASE_URL: upstream.url,
  ANTHROPIC_API_KEY: 'sk-test',
  LLM_CONFIG: 'configs.json',
});

it('without REDIS_URL, workers are refused with the reason', async () => {
  const { code, stdout, stderr } = await cli.run(['serve', '--workers', '2'], { env: { ...upstreamEnv(), PORT: '0' } });
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(
    /^error: --workers needs REDIS_URL: without it each worker would keep its stream logs to itself/,
  );
});

it.each(['0', 'two', '1.5', '-1'])('--workers %s is refused with what was expected', async (count) => {
  const { code, stderr } = await cli.run(['serve', `--workers=${count}`]);
  expect(code).toBe(2);
  expect(stderr).toContain('Expected a whole number from 1 to');
});

requires('redis-server')('workers', () => {
  const redis = redisForAllTests();

  interface Serving extends Running {
    readonly url: string;
  }

  async function serve(workers: number | 'auto', env: Readonly<Record<string, string>> = {}): Promise<Serving> {
    const shared = { REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}`, PORT: '0', LLM_RECONNECT_MS: '50' };
    const running = cli.start(['serve', '--workers', String(workers)], {
      env: { ...upstreamEnv(), ...shared, ...env },
    });
    const [, url = ''] = await running.until('stderr', /^llm-service listens on (\S+) with \d+ workers?$/m);
    return { ...running, url };
  }

  async function stop(serving: Serving) {
    serving.child.kill('SIGTERM');
    return serving.ended;
  }

  async function pidsOf({ child }: Serving): Promise<number[]> {
    const text = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
    return text.trim().split(' ').filter(Boolean).map(Number);
  }

  it('that can’t start end it with the exit code and the reason of one of them', async () => {
    const env = { ...upstreamEnv(), REDIS_URL: redis.current.url, PORT: '0', LLM_CONFIG: 'missing.json' };
    const { code, stderr } = await cli.run(['serve', '--workers', '3'], { env });
    expect(code).toBe(2);
    expect(stderr.match(/^error: .*missing\.json/gm)).toHaveLength(1);
  });

  it('share a port, write whole log lines, and drain at one SIGTERM', async () => {
    const serving = await serve(2);
    expect(await pidsOf(serving)).toHaveLength(2);
    upstream.enqueue({ kind: 'manual' }, { kind: 'manual' });
    const views = [doors[0]!.stream(serving.url, ask('one')), doors[0]!.stream(serving.url, ask('two'))];
    const requests = [await upstream.nextRequest(), await upstream.nextRequest()];
    for (const request of requests) await request.text('first ');
    for (const view of views) await view.until(({ type }) => type === 'text');
    serving.child.kill('SIGTERM');
    await serving.until('stderr', /Finishing running answers/);
    await eventually(async () => expect((await send(`${serving.url}/readyz`)).status).toBe(503));
    for (const request of requests) {
      await request.text('last');
      request.finish();
    }
    for (const view of views) {
      const seen = await readAll(view);
      expect([textOf(seen), terminalOf(seen).type]).toEqual(['first last', 'done']);
    }
    const { code, stdout, stderr } = await serving.ended;
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    const ends = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
    expect(ends.filter((message) => message === 'generation ended')).toHaveLength(2);
    expect(ends.filter((message) => message === 'stopped')).toHaveLength(2);
    const numbers = lines.map((line) => (JSON.parse(line) as { worker?: number }).worker);
    expect(new Set(numbers)).toEqual(new Set([1, 2]));
    expect(stderr.match(/listens on/g)).toHaveLength(1);
    expect(stderr.match(/Finishing/g)).toHaveLength(1);
  });

  it('are all in the metrics, whichever of them a scrape reaches', async () => {
    const serving = await serve(2);
    upstream.respondWith({ kind: 'text', text: ['word'] });
    for (let asked = 0; asked < 6; asked += 1) await readAll(doors[0]!.stream(serving.url, ask('hi')));
    for (let scraped = 0; scraped < 4; scraped += 1) {
      const samples = await scrape(`${serving.url}/metrics`);
      const ended = (worker: string) =>
        samples.get(sample('llm_generations_total', { config: 'default', outcome: 'done', code: '', worker })) ?? 0;
      expect(ended('1') + ended('2')).toBe(6);
      expect(samples.has(sample('llm_viewers', { door: 'sse', worker: '1' }))).toBe(true);
      expect(samples.has(sample('llm_viewers', { door: 'sse', worker: '2' }))).toBe(true);
    }
    await stop(serving);
  });

  it('end at once at a second signal', async () => {
    const serving = await serve(2);
    upstream.enqueue({ kind: 'manual' });
    const view = doors[0]!.stream(serving.url, ask('hi'));
    const request = await upstream.nextRequest();
    await view.until(({ type }) => type === 'start');
    const pids = await pidsOf(serving);
    serving.child.kill('SIGTERM');
    await serving.until('stderr', /a second signal ends the process at once/);
    serving.child.kill('SIGINT');
    expect(await serving.ended).toMatchObject({ code: 130 });
    expect(await request.outcome).toBe('client_closed');
    await eventually(() => pids.forEach((pid) => expect(isAlive(pid)).toBe(false)));
    view.close();
  });

  it('drain when the process that started them is killed', async () => {
    const serving = await serve(2);
    upstream.enqueue({ kind: 'manual' });
    const view = doors[0]!.stream(serving.url, ask('hi'));
    const request = await upstream.nextRequest();
    await request.text('first ');
    await view.until(({ type }) => type === 'text');
    const pids = await pidsOf(serving);
    serving.child.kill('SIGKILL');
    await request.text('last');
    request.finish();
    const seen = await readAll(view);
    expect([textOf(seen), terminalOf(seen).type]).toEqual(['first last', 'done']);
    await eventually(() => pids.forEach((pid) => expect(isAlive(pid)).toBe(false)));
    await serving.ended;
  });

  it('of which one is killed: another takes its place, and no viewer of the others loses anything', async () => {
    const serving = await serve(2);
    const generations = 8;
    // Over SSE and WebSocket, the stock clients come back by themselves.
    const returning = doors.filter(({ name }) => name !== 'rest');
    const asked = Array.from({ length: generations }, () => ask('hi', { generationId: crypto.randomUUID() }));
    const text = 'a token and another one, '.repeat(120);
    upstream.respondWith({ kind: 'text', text });
    const views: View[][] = [];
    for (const request of asked) {
      const own = returning.flatMap((door) => [door.stream(serving.url, request), door.stream(serving.url, request)]);
      await Promise.all(own.map((view) => view.until(({ type }) => type === 'text')));
      views.push(own);
      // Connections are dealt in turn: one more, and the next generation begins on the other worker.
      await send(`${serving.url}/healthz`);
    }
    const [killed = 0] = await pidsOf(serving);
    process.kill(killed, 'SIGKILL');

    const ends = await Promise.all(
      views.map(async (own) => {
        const seen = await Promise.all(own.map(readAll));
        const [first, ...others] = seen;
        for (const other of others) {
          expect(textOf(other)).toBe(textOf(first!));
          expect(terminalOf(other)).toEqual(terminalOf(first!));
        }
        const terminal = terminalOf(first!);
        if (terminal.type === 'done') expect(textOf(first!)).toBe(text);
        else expect(terminal).toMatchObject({ type: 'error', code: 'producer_lost' });
        return terminal.type;
      }),
    );
    expect(new Set(ends)).toEqual(new Set(['done', 'error']));
    expect(upstream.requestCount).toBe(generations);
    await eventually(async () => {
      const pids = await pidsOf(serving);
      expect(pids).toHaveLength(2);
      expect(pids).not.toContain(killed);
    });
    const { stderr } = await stop(serving);
    expect(stderr).toContain(`process ${killed} ended by SIGKILL; another starts in 0.1 s`);
  });

  it('are replaced one after the other at SIGUSR2, under load: no request fails, and each answer is whole', async () => {
    const serving = await serve(2);
    const before = await pidsOf(serving);
    const text = 'word '.repeat(60);
    upstream.respondWith({ kind: 'text', text });
    const load = steadyLoad(serving.url, 2);
    const keptOpen = askOnOpenConnections(serving.url);
    await load.more(6);
    serving.child.kill('SIGUSR2');
    await serving.until('stderr', /All workers are replaced/);
    await load.more(6);
    const [answers, kept] = await Promise.all([load.stop(), keptOpen.stop()]);

    for (const answer of answers) expect(answer).toMatchObject({ text, end: 'done', attempts: 1 });
    expect(upstream.requestCount).toBe(answers.length + kept.answers);
    expect(kept.queries).toBeGreaterThan(0);
    const after = await pidsOf(serving);
    expect(after).toHaveLength(2);
    expect(after.filter((pid) => before.includes(pid))).toEqual([]);
    const { code, stderr } = await stop(serving);
    expect(code).toBe(0);
    expect(stderr.match(/takes over from/g)).toHaveLength(2);
  });

  it('stay as they are at SIGUSR2 where a new one does not start', async () => {
    const serving = await serve(1);
    const before = await pidsOf(serving);
    await writeFile(join(cli.cwd, 'configs.json'), '{');
    serving.child.kill('SIGUSR2');
    await serving.until('stderr', /The new worker did not start; the workers stay as they are/);
    expect(await pidsOf(serving)).toEqual(before);
    expect((await send(`${serving.url}/readyz`)).status).toBe(200);
    await stop(serving);
  });
});

/** Asks on one WebSocket and on one kept HTTP connection again and again. Fails at the first request that fails. */
function askOnOpenConnections(url: string) {
  const socket = createWSClient({
    url: `${url.replace('http', 'ws')}/trpc`,
    WebSocket: WebSocket as never,
    retryDelayMs: () => 10,
  });
  const overSocket = createTRPCClient<AnyConfigRouter>({ links: [wsLink({ client: socket, transformer: superjson })] });
  const overHttp = createTRPCClient<AnyConfigRouter>({
    links: [httpLink({ url: `${url}/trpc`, transformer: superjson })],
  });
  let asking = true;
  let answers = 0;
  let queries = 0;
  const subscribing = (async () => {
    while (asking) {
      await new Promise<void>((resolve, reject) => {
        const request = ask('hi', { generationId: crypto.randomUUID() });
        overSocket.llm.stream.subscribe(request, { onComplete: resolve, onError: reject });
      });
      answers += 1;
    }
  })();
  const querying = (async () => {
    while (asking) {
      await overHttp.llm.configs.query();
      queries += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  const all = Promise.all([subscribing, querying]);
  all.catch(() => {});
  return {
    async stop() {
      asking = false;
      await all;
      await socket.close();
      return { answers, queries };
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
