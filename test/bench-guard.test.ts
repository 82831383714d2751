/**
 * The service costs about as much as the raw byte proxy. The bounds are wide, because CI machines are too noisy to
 * measure on; they only find a collapse. hot-path.test.ts counts what can be counted.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { platform } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import type { Report } from '../bench/report.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Below node_modules, so that the compiled files find their packages. */
const cacheFolder = join(root, 'node_modules/.cache');
/** Only finds a run that hangs. */
const timeoutMs = 900_000;
let report: Report;

beforeAll(() => {
  mkdirSync(cacheFolder, { recursive: true });
  // Builds of its own, because those in dist may be older than the source, or belong to another run.
  const folder = mkdtempSync(join(cacheFolder, 'bench-guard-'));
  const [bench, service] = [join(folder, 'bench'), join(folder, 'service')];
  const tsc = (...args: string[]) =>
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', ...args], { cwd: root, stdio: 'pipe' });
  try {
    tsc('-p', 'bench/tsconfig.json', '--outDir', bench);
    tsc('-p', 'tsconfig.build.json', '--outDir', service, '--declaration', 'false');
    // The service looks for package.json beside its own folder.
    copyFileSync(join(root, 'package.json'), join(folder, 'package.json'));
    const options = ['--only', 'saturated', '--targets', 'raw,sse,ws', '--rounds', '3', '--scale', '0.2'];
    const paths = ['--service', join(service, 'cli.js'), '--out', folder];
    execFileSync(process.execPath, [join(bench, 'bench.js'), ...options, ...paths], { cwd: root, stdio: 'pipe' });
    report = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as Report;
  } finally {
    rmSync(folder, { recursive: true });
  }
}, timeoutMs);

it.skipIf(platform() !== 'linux').for(['sse', 'ws'])(
  'saturated over %s, a token costs at most three times what a byte proxy takes for it',
  (name) => {
    const { ratios } = report.workloads[0]!.results.find(({ target }) => target === name)!;
    // Measured: about 1. With tRPC's stock adapters it would be 10.
    expect(ratios['cpuUsPerToken']).toBeLessThan(3);
  },
);
