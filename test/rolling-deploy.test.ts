/** A rolling deploy as docs/scaling.md describes it: two instances behind nginx are replaced one after the other, under load. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startSimulator, type Simulator } from '../src/simulator.ts';
import { commandLine, type Running } from './support/command-line.ts';
import { eventually } from './support/eventually.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { send } from './support/raw-http.ts';
import { plainConfig } from './support/service.ts';
import { requires } from './support/skip.ts';
import { steadyLoad } from './support/steady-load.ts';
import { newPrefix, redisForAllTests } from './support/stream-logs.ts';

finishesCleanly();
vi.setConfig({ testTimeout: 240_000 });
const cli = commandLine();

requires('redis-server', 'nginx')('two instances behind nginx', () => {
  const redis = redisForAllTests();
  let upstream: Simulator;
  let nginx: Nginx;
  let ports: readonly number[];

  beforeEach(async () => {
    upstream = await startSimulator({ tokensPerSecond: 100, docs: [] });
    await writeFile(join(cli.cwd, 'configs.json'), JSON.stringify({ default: plainConfig }));
    const [front = 0, ...instances] = await freePorts(3);
    ports = instances;
    nginx = await startNginx(front, instances);
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
    const running = [await start(ports[0]!), await start(ports[1]!)];
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

interface Nginx extends AsyncDisposable {
  readonly url: string;
}

/** Runs the configuration that is shipped, with these ports in place of its own. */
async function startNginx(front: number, [first, second]: readonly number[]): Promise<Nginx> {
  const shipped = await readFile(new URL('../deploy/nginx.conf', import.meta.url), 'utf8');
  const replaced = shipped
    .replace('listen 8080;', `listen 127.0.0.1:${front};`)
    .replace('127.0.0.1:3001', `127.0.0.1:${first}`)
    .replace('127.0.0.1:3002', `127.0.0.1:${second}`);
  const folder = await mkdtemp(join(tmpdir(), 'nginx-'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const paths = temporary.map((name) => `${name}_temp_path ${join(folder, name)};`).join(' ');
  const main = `daemon off; pid ${join(folder, 'pid')}; error_log ${join(folder, 'error.log')}; worker_processes 1;
events { worker_connections 1024; }
http { access_log off; ${paths}
${replaced}
}`;
  const file = join(folder, 'nginx.conf');
  await writeFile(file, main);
  const child = spawn('nginx', ['-c', file, '-p', folder, '-e', join(folder, 'error.log')], { stdio: 'ignore' });
  const url = `http://127.0.0.1:${front}`;
  try {
    await eventually(async () => {
      if (child.exitCode !== null) throw new Error(await readFile(join(folder, 'error.log'), 'utf8'));
      await send(`${url}/healthz`);
    });
  } catch (error) {
    await stop(child);
    throw error;
  }
  return {
    url,
    async [Symbol.asyncDispose]() {
      await stop(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** nginx's fast shutdown: its workers go with it. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

/** Ports that nobody listens on: all are held until all are known, so that no two are the same. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
