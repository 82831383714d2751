/**
 * The connections to Redis, one for commands and one for messages, of each node. The only file that knows the client, which it
 * loads when it connects: whoever runs without Redis never loads it.
 *
 * Resends nothing by itself. A command whose answer is lost rejects, and whoever sent it decides.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type * as Client from 'redis';
import type { RedisClientType, RedisClusterType } from 'redis';
import type { RedisAddress } from '../../settings/redis-url.ts';
import type { Script } from './script.ts';

export interface Connection {
  /** Whether the keys are spread over the nodes of a cluster. */
  readonly clustered: boolean;
  /** Runs a script, all of whose keys are in one slot. */
  run(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown>;
  /** Sends one command to the node that has `key`. */
  command(key: string, ...args: readonly string[]): Promise<unknown>;
  /** Subscribes to a sharded channel, for good: the subscription outlasts lost connections. */
  subscribe(channel: string, listener: (message: string) => void): Promise<void>;
  /** Has `listener` called each time that a lost connection is up again, subscriptions included. */
  onUp(listener: () => void): void;
  /** Has `listener` called each time that a connection is lost. */
  onDown(listener: () => void): void;
  close(): void;
}

/** A socket without traffic for this long is closed, and the commands that wait for it count as lost. */
const socketTimeoutMs = 5_000;
/** Keeps a quiet socket from counting as lost. */
const pingIntervalMs = 2_000;
const connectTimeoutMs = 2_000;
const reconnectDelayMaxMs = 500;

const socket = {
  connectTimeout: connectTimeoutMs,
  socketTimeout: socketTimeoutMs,
  reconnectStrategy: (retries: number) => Math.min(50 + retries * 50, reconnectDelayMaxMs),
};
const common = { disableOfflineQueue: true, pingInterval: pingIntervalMs, disableClientInfo: true } as const;

/**
 * Connects, and tries again until Redis has accepted a connection. Rejects where that one then fails.
 *
 * @param signal Gives up when it aborts; the promise rejects then.
 */
export async function connect(address: RedisAddress, signal: AbortSignal): Promise<Connection> {
  const redis = await import('redis');
  if (address.urls.length > 1) return connectCluster(redis, address, signal);
  const [url = ''] = address.urls;
  const where = url.startsWith('unix:')
    ? { socket: { ...socket, path: new URL(url).pathname, tls: false as const } }
    : { url, socket };
  const open = async () => {
    const client = redis.createClient({ ...common, ...where }) as RedisClientType;
    // Without a listener an error would end the process. Each is followed by an attempt to connect again.
    client.on('error', () => {});
    const giveUp = () => client.destroy();
    signal.addEventListener('abort', giveUp, { once: true });
    await client.connect();
    signal.removeEventListener('abort', giveUp);
    return client;
  };
  const commands = await open();
  if (/redis_mode:cluster/.test(await commands.sendCommand<string>(['INFO', 'server']))) {
    commands.destroy();
    return connectCluster(redis, address, signal);
  }
  return new Standalone(commands, await open());
}

class Standalone implements Connection {
  readonly clustered = false;
  readonly #commands: RedisClientType;
  readonly #messages: RedisClientType;

  constructor(commands: RedisClientType, messages: RedisClientType) {
    this.#commands = commands;
    this.#messages = messages;
  }

  async run({ sha, lua }: Script, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const count = String(keys.length);
    try {
      return await this.#commands.sendCommand(['EVALSHA', sha, count, ...keys, ...args]);
    } catch (error) {
      if (startsWith(error, 'NOSCRIPT')) return this.#commands.sendCommand(['EVAL', lua, count, ...keys, ...args]);
      // A primary became a replica, and the client keeps its socket to it: only a new connection finds the new primary.
      if (startsWith(error, 'READONLY')) reconnect(this.#commands);
      throw error;
    }
  }

  async command(_key: string, ...args: readonly string[]): Promise<unknown> {
    return this.#commands.sendCommand([...args]);
  }

  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    await this.#messages.sSubscribe(channel, listener);
  }

  onUp(listener: () => void): void {
    this.#commands.on('ready', listener);
    this.#messages.on('ready', listener);
  }

  onDown(listener: () => void): void {
    this.#commands.on('reconnecting', listener);
    this.#messages.on('reconnecting', listener);
  }

  close(): void {
    this.#commands.destroy();
    this.#messages.destroy();
  }
}

function reconnect(client: RedisClientType): void {
  if (!client.isReady) return;
  client.destroy();
  client.connect().catch(() => {});
}

async function connectCluster(
  redis: Pick<typeof Client, 'createCluster'>,
  { urls }: RedisAddress,
  signal: AbortSignal,
): Promise<Connection> {
  const { username, password, protocol } = new URL(urls[0]!);
  const cluster = redis.createCluster({
    rootNodes: urls.map((url) => ({ url, ...common })),
    defaults: {
      ...common,
      ...(username === '' ? {} : { username: decodeURIComponent(username) }),
      ...(password === '' ? {} : { password: decodeURIComponent(password) }),
      socket: { ...socket, ...(protocol === 'rediss:' ? { tls: true as const } : {}) },
    },
  }) as RedisClusterType;
  cluster.on('error', () => {});
  for (;;) {
    try {
      await cluster.connect();
      return new Cluster(cluster);
    } catch (error) {
      if (signal.aborted) throw error;
      await delay(reconnectDelayMaxMs);
    }
  }
}

class Cluster implements Connection {
  readonly clustered = true;
  readonly #cluster: RedisClusterType;

  constructor(cluster: RedisClusterType) {
    this.#cluster = cluster;
  }

  async run({ sha, lua }: Script, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    const count = String(keys.length);
    const [first] = keys;
    try {
      return await this.#cluster.sendCommand(first, false, ['EVALSHA', sha, count, ...keys, ...args]);
    } catch (error) {
      if (!startsWith(error, 'NOSCRIPT')) throw error;
      return this.#cluster.sendCommand(first, false, ['EVAL', lua, count, ...keys, ...args]);
    }
  }

  async command(key: string, ...args: readonly string[]): Promise<unknown> {
    return this.#cluster.sendCommand(key, false, [...args]);
  }

  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    await this.#cluster.sSubscribe(channel, listener);
  }

  onUp(listener: () => void): void {
    this.#cluster.on('node-ready', listener);
  }

  onDown(listener: () => void): void {
    this.#cluster.on('node-reconnecting', listener);
  }

  close(): void {
    this.#cluster.destroy();
  }
}

/** Whether Redis refused with an error of this kind: they all begin with a word in capitals. */
export function startsWith(error: unknown, word: string): boolean {
  return error instanceof Error && error.message.startsWith(word);
}
