/** A Redis for the benchmark, with the persistence that docs/scaling.md recommends, on a port of loopback as on a network. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { cores } from '../processes.ts';

export interface BenchRedis extends AsyncDisposable {
  readonly pid: number;
  readonly url: string;
  /** Bytes that its data takes. */
  usedBytes(): Promise<number>;
}

const startTries = 200;
const tryMs = 25;

/** On the core of the load, since the server under test has one to itself. */
export async function startRedis(): Promise<BenchRedis> {
  const folder = mkdtempSync(join(tmpdir(), 'llm-service-bench-redis-'));
  const port = await freePort();
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  const durable = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction'];
  const command = ['redis-server', ...options, ...durable];
  const pinned = cores ? ['taskset', '-c', String(cores.upstream), ...command] : command;
  const child = spawn(pinned[0]!, pinned.slice(1), { stdio: 'ignore' });
  const exited = once(child, 'exit');
  exited.catch(() => {});
  const dispose = async () => {
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  for (let tries = 0; (await ask(port, 'PING').catch(() => '')) !== '+PONG\r\n'; tries += 1) {
    if (tries < startTries && child.exitCode === null) await delay(tryMs);
    else throw new Error('redis-server did not start: is it installed?');
  }
  return {
    pid: child.pid!,
    url: `redis://127.0.0.1:${port}`,
    async usedBytes() {
      return Number(/^used_memory:(\d+)/m.exec(await ask(port, 'INFO memory'))?.[1]);
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** Sends an inline command and returns the first piece of the answer, which holds what is asked here. */
async function ask(port: number, command: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    socket.write(`${command}\r\n`);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString();
  } finally {
    socket.destroy();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await once(server.close(), 'close');
  return port;
}
