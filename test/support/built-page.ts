/** Builds the page before the tests that look at it, if what it is made of is newer than the page that is there. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

const folder = 'client-example';
const built = join(folder, 'dist');
const madeOf = ['src', 'public', 'index.html', 'package.json', 'vite.config.ts'].map((name) => join(folder, name));
const client = ['src/client.ts', 'src/client'];
const cacheFolder = 'node_modules/.cache';

/** Vitest's global set-up: once, before any worker. */
export function setup(): void {
  if (isFresh()) return;
  mkdirSync(cacheFolder, { recursive: true });
  const aside = mkdtempSync(join(cacheFolder, 'page-'));
  try {
    // By itself, since under vitest's NODE_ENV React would be built for debugging.
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

/** Puts a page in the place of the one that is there. */
function replace(outDir: string, old: string): void {
  // Another run of the tests in this folder may have built it meanwhile, and be looking at it.
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
