/** The stream logs that there are, behind one interface, so that one test can hold for all. */
import { afterAll, beforeAll, describe } from 'vitest';
import { MemoryStreamLogs, type MemoryLogsLimits } from '../../src/stream-log/memory.ts';
import { RedisStreamLogs, type RedisLogsOptions } from '../../src/stream-log/redis/redis-logs.ts';
import type { RedisTiming } from '../../src/stream-log/redis/timing.ts';
import type { StreamLogs } from '../../src/stream-log/stream-log.ts';
import { startRedis, type TestRedis, type TestRedisOptions } from './redis.ts';
import { requires } from './skip.ts';

const KiB = 1024;

export const roomyLimits: MemoryLogsLimits = {
  logBytesMax: 1_024 * KiB,
  logsBytesMax: 1_024 * KiB,
  logsBytesPerCallerMax: 1_024 * KiB,
  logRetentionMs: 60_000,
  tombstonesMax: 100,
  tombstoneMs: 3_600_000,
  barsMax: 100,
  barsPerCallerMax: 50,
  viewerBatchBytesMax: 64 * KiB,
};

/** The clockwork of tests: what takes seconds takes tenths of them. */
export const quickTiming: RedisTiming = {
  beatMs: 100,
  beatsMissedMax: 4,
  keepEndedMs: 8_000,
  retryMs: 10,
  // A machine that is busy takes a while to load the client.
  patienceMs: 30_000,
  callMs: 10_000,
  cursorWaitMs: 200,
};

/** Where logs are written, and where they are read, which may be another instance. */
export interface Instances extends AsyncDisposable {
  readonly writer: StreamLogs;
  readonly reader: StreamLogs;
}

export interface LogKind {
  readonly name: string;
  /** Registers the tests of this kind: skipped where the machine lacks what they need. */
  readonly describe: (title: string, body: () => void) => void;
  create(limits?: Partial<MemoryLogsLimits>): Promise<Instances>;
}

/** A Redis for all tests of the enclosing file or describe. To be called after `finishesCleanly`. */
export function redisForAllTests(options?: TestRedisOptions): { readonly current: TestRedis } {
  let current: TestRedis | undefined;
  beforeAll(async () => {
    current = await startRedis(options);
  });
  afterAll(async () => {
    await current?.[Symbol.asyncDispose]();
    current = undefined;
  });
  return {
    get current() {
      if (!current) throw new Error('only within a test');
      return current;
    },
  };
}

/** Logs on a Redis, as one instance has them. Instances with one prefix share their logs. */
export function redisLogs(
  redis: Pick<TestRedis, 'url'>,
  prefix: string,
  options: Partial<RedisLogsOptions> = {},
): RedisStreamLogs {
  return new RedisStreamLogs({
    url: `${redis.url}?prefix=${prefix}`,
    flushMs: 5,
    outageMs: 60_000,
    limits: roomyLimits,
    timing: quickTiming,
    ...options,
  });
}

let prefixes = 0;
/** A prefix that no other test of this file has. */
export function newPrefix(): string {
  prefixes += 1;
  return `test${prefixes}`;
}

/** The one of the describe whose tests are running. */
let redis: TestRedis | undefined;

function describeWithRedis(title: string, body: () => void): void {
  requires('redis-server')(title, () => {
    const own = redisForAllTests();
    beforeAll(() => void (redis = own.current));
    body();
  });
}

function redisInstances(count: 1 | 2) {
  return async (limits: Partial<MemoryLogsLimits> = {}): Promise<Instances> => {
    const prefix = newPrefix();
    const options = { limits: { ...roomyLimits, ...limits } };
    const all = Array.from({ length: count }, () => redisLogs(redis!, prefix, options));
    return {
      writer: all[0]!,
      reader: all.at(-1)!,
      async [Symbol.asyncDispose]() {
        await Promise.all(all.map((logs) => logs[Symbol.asyncDispose]()));
      },
    };
  };
}

export const logKinds: readonly LogKind[] = [
  {
    name: 'memory',
    describe,
    async create(limits) {
      const logs = new MemoryStreamLogs({ ...roomyLimits, ...limits });
      return { writer: logs, reader: logs, [Symbol.asyncDispose]: () => logs[Symbol.asyncDispose]() };
    },
  },
  { name: 'Redis', describe: describeWithRedis, create: redisInstances(1) },
  { name: 'Redis, read on another instance', describe: describeWithRedis, create: redisInstances(2) },
];
