/** A cluster of three primaries, the first of them with a replica, on free ports. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './free-port.ts';

const slots = 16_384;

export interface TestCluster extends AsyncDisposable {
  /** As `REDIS_URL`, without a prefix. */
  readonly url: string;
  /** Kills the first primary, and settles when its replica has taken its place. */
  killPrimary(): Promise<void>;
  /** Moves all slots of the second primary to the third. */
  moveSlots(): Promise<void>;
  /** From here on clients, and the nodes among themselves, need a password. Nothing else can be done with the cluster then. */
  requirePassword(password: string): Promise<void>;
}

interface Node {
  readonly port: number;
  readonly busPort: number;
  readonly child: ChildProcess;
  readonly id: string;
}

/** To be disposed by whoever starts it. */
export async function startCluster(): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'redis-cluster-'));
  const nodes: Node[] = [];
  for (let at = 0; at < 4; at += 1) nodes.push(await startNode(folder, at));
  const [first, second, third, replica] = nodes as [Node, Node, Node, Node];
  const primaries = [first, second, third];
  await Promise.all(
    primaries.map(({ port }, at) => {
      const [from, to] = [at, at + 1].map((part) => Math.floor((part * slots) / 3));
      return cli(port, 'CLUSTER', 'ADDSLOTSRANGE', String(from), String(to! - 1));
    }),
  );
  for (const [at, { port }] of nodes.entries()) await cli(port, 'CLUSTER', 'SET-CONFIG-EPOCH', String(at + 1));
  for (const { port, busPort } of nodes.slice(1)) {
    await cli(first.port, 'CLUSTER', 'MEET', '127.0.0.1', String(port), String(busPort));
  }
  await until(async () => (await cli(replica.port, 'CLUSTER', 'NODES')).split('\n').filter(Boolean).length === 4);
  await cli(replica.port, 'CLUSTER', 'REPLICATE', first.id);
  for (const { port } of nodes)
    await until(async () => (await cli(port, 'CLUSTER', 'INFO')).includes('cluster_state:ok'));
  await until(async () => (await cli(replica.port, 'INFO', 'replication')).includes('master_link_status:up'));
  return {
    url: primaries.map(({ port }) => `redis://127.0.0.1:${port}`).join(','),
    async killPrimary() {
      await stop(first.child);
      await until(async () => (await cli(replica.port, 'ROLE')).startsWith('master'));
      await until(async () => (await cli(second.port, 'CLUSTER', 'INFO')).includes('cluster_state:ok'));
    },
    async moveSlots() {
      const ids = ['--cluster-from', second.id, '--cluster-to', third.id, '--cluster-slots', String(slots)];
      await cli(second.port, '--cluster', 'reshard', `127.0.0.1:${second.port}`, ...ids, '--cluster-yes');
    },
    async requirePassword(password) {
      for (const { port } of nodes) await cli(port, 'CONFIG', 'SET', 'masterauth', password, 'requirepass', password);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map(({ child }) => stop(child)));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function startNode(folder: string, at: number): Promise<Node> {
  const [port, busPort] = await Promise.all([freePort(), freePort()]);
  const args = ['--port', String(port), '--cluster-port', String(busPort), '--bind', '127.0.0.1', '--save', ''];
  const cluster = ['--cluster-enabled', 'yes', '--cluster-config-file', `nodes-${at}.conf`];
  const timing = ['--cluster-node-timeout', '1000', '--repl-diskless-sync-delay', '0'];
  const child = spawn('redis-server', [...args, ...cluster, ...timing, '--dir', folder], { stdio: 'ignore' });
  await until(async () => (await cli(port, 'PING').catch(() => '')) === 'PONG');
  return { port, busPort, child, id: await cli(port, 'CLUSTER', 'MYID') };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

const run = promisify(execFile);

async function cli(port: number, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run('redis-cli', ['-p', String(port), ...args], { maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

async function until(test: () => Promise<boolean>): Promise<void> {
  while (!(await test().catch(() => false))) await new Promise((resolve) => setTimeout(resolve, 20));
}
