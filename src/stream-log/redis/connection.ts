/**
 * The connections to Redis, one for commands and one for messages, of each node. The only file that knows the client, which it
 * loads when it connects: whoever runs without Redis never loads it.
 *
 * Resends nothing by itself. A command whose answer is lost rejects, and whoever sent it decides. So does one that isn't answered
 * in time: where a network swallows what is sent, no socket reports an error for many minutes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type * as Client from 'redis';
import type { RedisClientType, RedisClusterType } from 'redis';
import { within } from '../../flow/within.ts';
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
  /** Has `listener` called each time that a lost connection is up again. One that had channels is subscribed to them by then. */
  onUp(listener: () => void): void;
  /** Has `listener` called each time that a connection was lost and is about to be made again. */
  onDown(listener: () => void): void;
  close(): void;
}

export interface ConnectOptions {
  /** Connecting is given up when it aborts; the promise rejects then. */
  readonly signal: AbortSignal;
  /** How long a call may wait for its answer. */
  readonly callMs: number;
  /** Called with each error of a connection. An attempt to connect again follows. */
  readonly onError: (error: unknown) => void;
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

/** Connects, and tries again until Redis has accepted a connection. Rejects where the first command on it fails. */
export async function connect(address: RedisAddress, options: ConnectOptions): Promise<Connection> {
  const redis = await import('redis');
  if (address.urls.length > 1) return connectCluster(redis, address, options);
  const [url = ''] = address.urls;
  const where = url.startsWith('unix:')
    ? { socket: { ...socket, path: new URL(url).pathname, tls: false as const } }
    : { url, socket };
  const open = async () => {
    const client = redis.createClient({ ...common, ...where }) as RedisClientType;
    // Without a listener an error would end the process. Each is followed by an attempt to connect again.
    client.on('error', options.onError);
    const giveUp = () => client.destroy();
    options.signal.addEventListener('abort', giveUp, { once: true });
    await client.connect();
    options.signal.removeEventListener('abort', giveUp);
    return client;
  };
  const commands = await open();
  try {
    const server = await within(options.callMs, commands.sendCommand<string>(['INFO', 'server']), unanswered);
    if (!/redis_mode:cluster/.test(server!)) return new Standalone(commands, await open(), options.callMs);
  } catch (error) {
    commands.destroy();
    throw error;
  }
  commands.destroy();
  return connectCluster(redis, address, options);
}

/** Sends a command to a node that its sender has chosen. */
type Send = (args: readonly string[]) => Promise<unknown>;

/** By its hash, and by its text where Redis doesn't know that. */
async function runScript(
  send: Send,
  { sha, lua }: Script,
  keys: readonly string[],
  args: readonly string[],
): Promise<unknown> {
  const called = [String(keys.length), ...keys, ...args];
  try {
    return await send(['EVALSHA', sha, ...called]);
  } catch (error) {
    if (!startsWith(error, 'NOSCRIPT')) throw error;
    return send(['EVAL', lua, ...called]);
  }
}

class Standalone implements Connection {
  readonly clustered = false;
  readonly #commands: RedisClientType;
  readonly #messages: RedisClientType;
  readonly #callMs: number;

  constructor(commands: RedisClientType, messages: RedisClientType, callMs: number) {
    this.#commands = commands;
    this.#messages = messages;
    this.#callMs = callMs;
  }

  run(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    return runScript(this.#send, script, keys, args);
  }

  command(_key: string, ...args: readonly string[]): Promise<unknown> {
    return this.#send(args);
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
    destroyForGood(this.#commands);
    destroyForGood(this.#messages);
  }

  readonly #send: Send = async (args) => {
    try {
      return await within(this.#callMs, this.#commands.sendCommand([...args]), unanswered);
    } catch (error) {
      if (error instanceof Unanswered) reconnect(this.#commands);
      // A primary became a replica, and the client keeps its sockets to it: only new connections find the new primary.
      if (startsWith(error, 'READONLY')) for (const client of [this.#commands, this.#messages]) reconnect(client);
      throw error;
    }
  };
}

async function connectCluster(
  redis: Pick<typeof Client, 'createCluster'>,
  { urls }: RedisAddress,
  { signal, callMs, onError }: ConnectOptions,
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
  cluster.on('error', onError);
  for (;;) {
    try {
      await cluster.connect();
      return new Cluster(cluster, callMs);
    } catch (error) {
      if (signal.aborted) throw error;
      onError(error);
      await delay(reconnectDelayMaxMs);
    }
  }
}

class Cluster implements Connection {
  readonly clustered = true;
  readonly #cluster: RedisClusterType;
  readonly #callMs: number;

  constructor(cluster: RedisClusterType, callMs: number) {
    this.#cluster = cluster;
    this.#callMs = callMs;
  }

  run(script: Script, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    return runScript((command) => this.#send(keys[0]!, command), script, keys, args);
  }

  command(key: string, ...args: readonly string[]): Promise<unknown> {
    return this.#send(key, args);
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
    for (const { client, pubSub } of this.#cluster.masters) {
      for (const each of [client, pubSub?.client]) if (each) destroyForGood(each);
    }
    this.#cluster.destroy();
  }

  async #send(key: string, args: readonly string[]): Promise<unknown> {
    try {
      return await within(this.#callMs, this.#cluster.sendCommand(key, false, [...args]), unanswered);
    } catch (error) {
      if (error instanceof Unanswered) this.#reconnectSilent();
      throw error;
    }
  }

  /** The client doesn't say which node owes the answer, so each is asked for a sign of life. */
  #reconnectSilent(): void {
    for (const { client } of this.#cluster.masters) {
      if (!client) continue;
      within(this.#callMs, client.ping(), unanswered).catch((error: unknown) => {
        if (error instanceof Unanswered) reconnect(client);
      });
    }
  }
}

/**
 * Closes the client. One that is just opening a socket doesn't notice: it goes on until it is ready, and would then send a ping every
 * two seconds for ever.
 */
function destroyForGood(client: Pick<RedisClientType, 'on' | 'destroy'>): void {
  client.on('ready', () => client.destroy());
  client.destroy();
}

/** Makes the connection anew. What waits for answers on the old one rejects. */
function reconnect(client: RedisClientType): void {
  // One that isn't ready is just being made anew.
  if (!client.isReady) return;
  client.destroy();
  client.connect().catch(() => {});
}

class Unanswered extends Error {}

function unanswered(): Unanswered {
  return new Unanswered('Redis has not answered in time');
}

/** Whether Redis refused with an error of this kind: they all begin with a word in capitals. */
export function startsWith(error: unknown, word: string): boolean {
  return error instanceof Error && error.message.startsWith(word);
}
