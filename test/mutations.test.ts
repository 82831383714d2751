import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { mutations } from './mutations/mutations.ts';

it('there are as many mutations as promises to break', () => {
  expect(mutations().length).toBeGreaterThanOrEqual(12);
});

it.each(mutations())('$name still applies, and names tests that there are', ({ patch, caughtBy }) => {
  execFileSync('git', ['apply', '--check', patch], { stdio: 'pipe' });
  for (const file of caughtBy) expect(existsSync(file), file).toBe(true);
});
