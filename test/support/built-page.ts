/** Builds the page before the tests that look at it, if what it is made of is newer than what is there. */
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const folder = 'client-example';
const madeOf = ['src', 'public', 'index.html', 'package.json', 'vite.config.ts'].map((name) => join(folder, name));
const client = ['src/client.ts', 'src/client'];

/** Vitest's global set-up: once, before any worker, so that no two build at a time. */
export function setup(): void {
  const builtMs = statSync(join(folder, 'dist/index.html'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (newestMs([...madeOf, ...client]) < builtMs) return;
  // By itself, since under vitest's NODE_ENV React would be built for debugging.
  const env = { ...process.env, NODE_ENV: 'production' };
  execFileSync('npm', ['run', 'build', '--silent', '--workspace', folder], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

function newestMs(paths: readonly string[]): number {
  const times = paths.map((path) => {
    const entry = statSync(path);
    return entry.isDirectory() ? newestMs(readdirSync(path).map((name) => join(path, name))) : entry.mtimeMs;
  });
  return Math.max(0, ...times);
}
