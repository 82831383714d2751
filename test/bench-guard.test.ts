/**
 * The service stays in the raw byte proxy's class. Bounds are wide: CI is no place to measure, only to notice a collapse.
 * What can be counted instead is in hot-path.test.ts.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import type { Report } from '../bench/report.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const timeoutMs = 240_000;
let report: Report;

beforeAll(() => {
  const tsc = (...args: string[]) =>
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', ...args], { cwd: root, stdio: 'pipe' });
  tsc('-p', 'bench/tsconfig.json');
  // A build of its own: that in dist may be older than the source.
  tsc('-p', 'tsconfig.build.json', '--outDir', 'bench/dist/service', '--declaration', 'false');
  // It looks for the package's beside its own folder.
  copyFileSync(join(root, 'package.json'), join(root, 'bench/dist/package.json'));
  const out = mkdtempSync(join(tmpdir(), 'bench-guard-'));
  try {
    const options = ['--only', 'saturated', '--targets', 'raw,sse,ws', '--rounds', '3', '--scale', '0.4'];
    const paths = ['--service', 'bench/dist/service/cli.js', '--out', out];
    execFileSync(process.execPath, ['bench/dist/bench.js', ...options, ...paths], { cwd: root, stdio: 'pipe' });
    report = JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')) as Report;
  } finally {
    rmSync(out, { recursive: true });
  }
}, timeoutMs);

it.skipIf(platform() !== 'linux').for(['sse', 'ws'])(
  'saturated over %s, a token costs at most three times what a byte proxy takes for it',
  (name) => {
    const { ratios } = report.workloads[0]!.results.find(({ target }) => target === name)!;
    // Measured: about 1. What tRPC's stock adapters would cost: 10.
    expect(ratios['cpuUsPerToken']).toBeLessThan(3);
  },
);
