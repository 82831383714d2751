/** A service under test. Its upstream is a simulator that the test controls. */
import { afterEach, beforeEach, expect, inject } from 'vitest';
import { readSettings } from '../../src/settings/settings.ts';
import { startWithParts, type CoreOptions, type ServiceWithParts } from '../../src/service.ts';
import { quickTiming } from './stream-logs.ts';
import { startSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator.ts';

export interface TestService extends AsyncDisposable {
  readonly url: string;
  readonly service: ServiceWithParts;
  readonly upstream: Simulator;
  /** What is left in the end, for `finishesCleanly`. */
  leftovers(): Record<string, number>;
}

export interface TestServiceOptions extends Pick<
  CoreOptions,
  'retryTiming' | 'telemetry' | 'redisTiming' | 'onGenerationEnd'
> {
  /** Replaces the configs: a map as in a config file. */
  readonly configs?: Readonly<Record<string, unknown>>;
  /** Replaces them by a config file, of this path. */
  readonly configFile?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly simulator?: SimulatorOptions;
}

export const plainConfig = { model: 'claude-sonnet-5-5', max_tokens: 100_000, system_prompt: 'You are a test.' };

const usualConfigs = {
  default: plainConfig,
  welcome: plainConfig,
  tutor: { ...plainConfig, system_prompt: 'You teach {{subject}}.' },
};

/** Retries happen at once unless a test sets other delays. */
const noDelay = { firstDelayMs: 0, delayMaxMs: 0, random: () => 0 };

/** A service for a part of a test. The caller disposes it. */
export async function startTestService(options: TestServiceOptions = {}): Promise<TestService> {
  const {
    configs,
    configFile,
    env = {},
    simulator,
    retryTiming = noDelay,
    telemetry,
    redisTiming = quickTiming,
  } = options;
  const upstream = await startSimulator({ tokensPerSecond: 'unpaced', docs: [], ...simulator });
  const variables = {
    PORT: '0',
    LOG_LEVEL: 'silent',
    LLM_DRAIN_MS: '0',
    LLM_RECONNECT_MS: '1',
    ANTHROPIC_BASE_URL: upstream.url,
    ANTHROPIC_API_KEY: 'sk-test',
    ...sharedLogs(),
    ...(configFile === undefined ? {} : { LLM_CONFIG: configFile }),
    ...env,
  };
  const service = await startWithParts({
    settings: readSettings(variables),
    env: variables,
    retryTiming,
    redisTiming,
    ...(telemetry ? { telemetry } : {}),
    ...(options.onGenerationEnd ? { onGenerationEnd: options.onGenerationEnd } : {}),
    ...(configFile === undefined ? { configs: configs ?? usualConfigs } : {}),
  }).catch(async (error: unknown) => {
    await upstream[Symbol.asyncDispose]();
    throw error;
  });
  return {
    url: service.url,
    service,
    upstream,
    leftovers: () => ({
      generations: service.core.generations.running,
      viewers: service.core.access.load.viewers,
      places: service.core.access.load.generations,
      webSockets: service.server.sockets,
    }),
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

/** Where the project that runs this test has its stream logs: in Redis, under a prefix that no other service has, or in memory. */
function sharedLogs(): Readonly<Record<string, string>> {
  const url = inject('redisUrl') as string | undefined;
  return url === undefined ? {} : { REDIS_URL: `${url}?prefix=${crypto.randomUUID()}` };
}

/** A new service for each test of a file; it must leave nothing open. Call this after `finishesCleanly`. */
export function serviceForEachTest(options?: TestServiceOptions): { readonly current: TestService } {
  let current: TestService | undefined;
  beforeEach(async () => {
    current = await startTestService(options);
  });
  afterEach(async () => {
    await current?.[Symbol.asyncDispose]();
    for (const [what, left] of Object.entries(current?.leftovers() ?? {})) expect(left, `${what} left over`).toBe(0);
    current = undefined;
  });
  return {
    get current() {
      if (!current) throw new Error('only within a test');
      return current;
    },
  };
}

export function ask(
  content: string,
  options: { config?: string; generationId?: string; lastEventId?: string; thread?: string } = {},
) {
  return { config: 'default', messages: [{ role: 'user' as const, content }], ...options };
}
