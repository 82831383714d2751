/** A rolling deploy as docs/scaling.md describes it: two instances behind nginx are replaced one after the other, under load. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { commandLine, type Running } from './support/command-line.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { freePorts } from './support/free-port.ts';
import { send } from './support/raw-http.ts';
import { plainConfig } from './support/service.ts';
import { startShippedNginx, type ShippedNginx } from './support/shipped-nginx.ts';
import { requires } from './support/skip.ts';
import { steadyLoad } from './support/steady-load.ts';
import { newPrefix, redisForAllTests } from './support/stream-logs.ts';

finishesCleanly();
vi.setConfig({ testTimeout: 240_000 });
const cli = commandLine();

requires('redis-server', 'nginx')('two instances behind nginx', () => {
  const redis = redisForAllTests();
  let upstream: Simulator;
  let nginx: ShippedNginx;
  let ports: readonly [number, number];

  beforeEach(async () => {
    upstream = await startSimulator({ tokensPerSecond: 100, docs: [] });
    await writeFile(join(cli.cwd, 'configs.json'), JSON.stringify({ default: plainConfig }));
    ports = (await freePorts(2)) as [number, number];
    nginx = await startShippedNginx({ instances: ports });
  });
  afterEach(async () => {
    await nginx[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
  });

  it('are replaced one after the other without a failed answer, a second upstream request or a lost token', async () => {
    const env = {
      REDIS_URL: `${redis.current.url}?prefix=${newPrefix()}`,
      ANTHROPIC_BASE_URL: upstream.url,
      ANTHROPIC_API_KEY: 'sk-test',
      LLM_CONFIG: 'configs.json',
      LLM_RECONNECT_MS: '50',
    };
    const start = async (port: number): Promise<Running> => {
      const instance = cli.start(['serve'], { env: { ...env, PORT: String(port) } });
      await instance.until('stderr', /listens on/);
      return instance;
    };
    const running = [await start(ports[0]), await start(ports[1])];
    const text = 'word '.repeat(60);
    upstream.respondWith({ kind: 'text', text });
    const load = steadyLoad(nginx.url, 3);
    await load.more(6);
    for (const [at, port] of ports.entries()) {
      running[at]!.child.kill('SIGTERM');
      expect(await running[at]!.ended).toMatchObject({ code: 0 });
      // The other one serves alone.
      await load.more(6);
      running[at] = await start(port);
      await load.more(6);
    }
    const answers = await load.stop();

    for (const answer of answers) expect(answer).toMatchObject({ text, end: 'done' });
    expect(new Set(answers.map(({ door }) => door)).size).toBe(3);
    expect(upstream.requestCount).toBe(answers.length);
    for (const instance of running) {
      instance.child.kill('SIGTERM');
      expect(await instance.ended).toMatchObject({ code: 0 });
    }
  });

  it('are each asked for what the other one refuses to take', async () => {
    await expect(send(`${nginx.url}/healthz`)).resolves.toMatchObject({ status: 502 });
    const env = { REDIS_URL: redis.current.url, ANTHROPIC_BASE_URL: upstream.url, LLM_CONFIG: 'configs.json' };
    const instance = cli.start(['serve'], { env: { ...env, PORT: String(ports[1]) } });
    await instance.until('stderr', /listens on/);
    for (let request = 0; request < 4; request += 1) {
      expect((await send(`${nginx.url}/readyz`)).status).toBe(200);
    }
    instance.child.kill('SIGTERM');
    await instance.ended;
  });
});
