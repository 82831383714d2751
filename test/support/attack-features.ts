/**
 * With `ATTACK_FEATURES=1` every service under attack has all features on that an operator may switch on: keys from a file, tokens of
 * an issuer, budgets, trusted proxies, metrics on a listener of their own, log lines, and an exporter of traces. None of them may
 * weaken what holds without.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyOf, keysOf } from './attack-callers.ts';
import { startIssuer } from './issuer.ts';

export interface TargetFeatures extends AsyncDisposable {
  readonly env: Readonly<Record<string, string>>;
}

/** What decides who may ask: where anyone may, the features of keys and tokens stay off. */
export function startFeatures(callers: readonly string[]): Promise<TargetFeatures> {
  return process.env['ATTACK_FEATURES'] === '1' ? allFeatures(callers) : Promise.resolve(noFeatures(callers));
}

function noFeatures(callers: readonly string[]): TargetFeatures {
  return { env: keysOf(callers), async [Symbol.asyncDispose]() {} };
}

async function allFeatures(callers: readonly string[]): Promise<TargetFeatures> {
  const folder = await mkdtemp(join(tmpdir(), 'attack-'));
  const issuer = await startIssuer();
  const collector = createServer((request, response) => request.resume().on('end', () => response.end('{}')));
  collector.listen(0, '127.0.0.1');
  await once(collector, 'listening');
  const keyFile = join(folder, 'keys.json');
  await writeFile(keyFile, JSON.stringify(callers.map(entryOf)));
  return {
    env: {
      ...(callers.length > 0 ? { ...issuer.env, LLM_API_KEYS_FILE: keyFile } : {}),
      LLM_METRICS_PORT: '0',
      LLM_TOKENS_PER_CALLER_PER_DAY_MAX: '1000000000000',
      LLM_COST_PER_CALLER_PER_DAY_MAX: '1000000000',
      LLM_SOCKETS_PER_ADDRESS_MAX: '100000',
      LLM_TRUSTED_PROXIES: '127.0.0.1, ::1',
      LOG_LEVEL: 'trace',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
    },
    async [Symbol.asyncDispose]() {
      collector.closeAllConnections();
      await new Promise((resolve) => collector.close(resolve));
      await issuer[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

function entryOf(name: string) {
  return { name, sha256: createHash('sha256').update(keyOf(name)).digest('hex'), configs: ['default'] };
}
