/** A Redis of a test's own, on a socket in a folder of its own, or on a port of this machine. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { selfSigned } from './self-signed.ts';

export interface TestRedis extends AsyncDisposable {
  /** As `REDIS_URL`, without a prefix. */
  readonly url: string;
  /** Sends a command on a connection of its own, and returns what Redis answers, as it does over the wire. */
  send(...command: readonly string[]): Promise<string>;
  /** As `kill -9` does. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, with the data that it has kept. */
  restart(): Promise<void>;
}

export interface TestRedisOptions {
  /** What it keeps over a kill: everything, or nothing. */
  readonly keeps?: 'all' | 'nothing';
  /** Whether its URL names a port, with or without TLS, rather than a socket. */
  readonly port?: 'plain' | 'tls';
  readonly args?: readonly string[];
}

/** To be disposed by whoever starts it. */
export async function startRedis({ keeps = 'nothing', port, args = [] }: TestRedisOptions = {}): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'redis-'));
  const socket = join(folder, 'redis.sock');
  const logFile = join(folder, 'redis.log');
  const persistence = keeps === 'all' ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
  const number = port ? String(await freePort()) : '0';
  const listen = port === 'tls' ? await listenWithTls(folder, number) : ['--port', number, '--bind', '127.0.0.1'];
  const start = async () => {
    const options = [...listen, '--unixsocket', socket, '--dir', folder, '--save', '', '--logfile', logFile];
    const child = spawn('redis-server', [...options, ...persistence, ...args], { stdio: 'ignore' });
    await answers(socket, child, logFile);
    return child;
  };
  const stop = async (child: ChildProcess) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  };
  let child = await start();
  return {
    url: port ? `redis${port === 'tls' ? 's' : ''}://127.0.0.1:${number}` : `unix://${socket}`,
    send: (...command) => send(socket, command),
    kill: () => stop(child),
    async restart() {
      child = await start();
    },
    async [Symbol.asyncDispose]() {
      await stop(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The arguments for a port that speaks TLS only, with a certificate that no authority has signed. */
async function listenWithTls(folder: string, port: string): Promise<string[]> {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await Promise.all([writeFile(cert, selfSigned.cert), writeFile(key, selfSigned.key)]);
  const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-auth-clients', 'no'];
  return ['--port', '0', '--tls-port', port, '--bind', '127.0.0.1', ...files];
}

/** Settles when it takes commands, its data loaded. */
async function answers(socket: string, child: ChildProcess, logFile: string): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) {
      throw new Error(`redis-server ended with ${child.exitCode}: ${await readFile(logFile, 'utf8')}`);
    }
    const answer = await send(socket, ['PING']).catch(() => '');
    if (answer === '+PONG\r\n') return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function send(path: string, command: readonly string[]): Promise<string> {
  const connection = connect(path);
  try {
    await once(connection, 'connect');
    const parts = command.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`);
    connection.write(`*${parts.length}\r\n${parts.join('')}`);
    const [answer] = (await once(connection, 'data')) as [Buffer];
    return answer.toString();
  } finally {
    connection.destroy();
  }
}
