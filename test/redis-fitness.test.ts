/** What an operator is told at start of a Redis that may lose logs without an error: one line each, and none for one that does not. */
import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Problem } from '../src/settings/problems.ts';
import { Telemetry } from '../src/telemetry/telemetry.ts';
import { finishesCleanly } from './support/finishes-cleanly.ts';
import { startRedis } from './support/redis.ts';
import { startTestService } from './support/service.ts';
import { requires } from './support/skip.ts';

finishesCleanly();

const kept = ['--appendonly', 'yes'];

/** The warnings that a service logs when it starts on a Redis with these arguments. */
async function warningsOf(args: readonly string[]): Promise<readonly Problem[]> {
  await using redis = await startRedis({ args });
  const warnings: Problem[] = [];
  const warn = (facts: { readonly warnings?: readonly Problem[] }) => void warnings.push(...(facts.warnings ?? []));
  const logger = { info() {}, warn, error() {} };
  const telemetry = new Telemetry({ logLevel: 'info', logContent: false, logger });
  await using _service = await startTestService({ env: { REDIS_URL: redis.url }, telemetry });
  // Another warning is about this process's heap.
  return warnings.filter(({ path }) => path === 'REDIS_URL');
}

const aboutRedis = (words: string) => [{ path: 'REDIS_URL', message: expect.stringContaining(words) as string }];

requires('redis-server')('a Redis', () => {
  it('that keeps nothing over a restart gets a warning', async () => {
    expect(await warningsOf([])).toEqual(aboutRedis('keeps nothing over a restart'));
  });

  it('that drops ended answers early gets a warning', async () => {
    const args = [...kept, '--maxmemory', '100mb', '--maxmemory-policy', 'volatile-ttl'];
    expect(await warningsOf(args)).toEqual(aboutRedis('maxmemory-policy volatile-ttl'));
  });

  it.each([
    { what: 'with an append-only file', args: kept },
    { what: 'that saves its data from time to time', args: ['--save', '3600', '1'] },
    { what: 'without a bound, whatever its policy', args: [...kept, '--maxmemory-policy', 'volatile-ttl'] },
  ])('$what gets none', async ({ args }) => {
    expect(await warningsOf(args)).toEqual([]);
  });

  it('as deploy/compose.yaml starts it gets none', async () => {
    const text = await readFile(new URL('../deploy/compose.yaml', import.meta.url), 'utf8');
    const { services } = parse(text) as { services: { redis: { command: string[] } } };
    const [program, ...args] = services.redis.command;
    expect(program).toBe('redis-server');
    expect(await warningsOf(args)).toEqual([]);
  });
});
