/** A Redis for the suites that are run on it: one for all files, each service under a prefix of its own. Vitest's global set-up. */
import type { TestProject } from 'vitest/node';
import { startRedis } from './redis.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** As `REDIS_URL`, without a prefix. */
    redisUrl: string;
  }
}

export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const redis = await startRedis();
  provide('redisUrl', redis.url);
  return async () => redis[Symbol.asyncDispose]();
}
