/** Builds the page before the tests that use it, if its sources are newer than the built page. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

const folder = 'client-example';
const built = join(folder, 'dist');
const madeOf = ['src', 'public', 'index.html', 'package.json', 'vite.config.ts'].map((name) => join(folder, name));
const client = ['src/client.ts', 'src/client'];
const cacheFolder = 'node_modules/.cache';

/** Vitest's global set-up: runs once, before any worker. */
export function setup(): void {
  if (isFresh()) return;
  mkdirSync(cacheFolder, { recursive: true });
  const aside = mkdtempSync(join(cacheFolder, 'page-'));
  try {
    // In a process of its own, because under vitest's NODE_ENV React would be built for debugging.
    const env = { ...process.env, NODE_ENV: 'production' };
    const outDir = join(resolve(aside), 'dist');
    const options = ['--outDir', outDir, '--emptyOutDir'];
    execFileSync('npm', ['run', 'build', '--silent', '--workspace', folder, '--', ...options], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    replace(outDir, join(aside, 'old'));
  } finally {
    rmSync(aside, { recursive: true });
  }
}

/** Replaces the built page. */
function replace(outDir: string, old: string): void {
  // Another test run in this folder may have built the page meanwhile, and may be using it.
  if (isFresh()) return;
  try {
    if (existsSync(built)) renameSync(built, old);
    renameSync(outDir, built);
  } catch (error) {
    if (!isFresh()) throw error;
  }
}

function isFresh(): boolean {
  const builtMs = statSync(join(built, 'index.html'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return newestMs([...madeOf, ...client]) < builtMs;
}

function newestMs(paths: readonly string[]): number {
  const times = paths.map((path) => {
    const entry = statSync(path);
    return entry.isDirectory() ? newestMs(readdirSync(path).map((name) => join(path, name))) : entry.mtimeMs;
  });
  return Math.max(0, ...times);
}
