import { execFileSync } from 'node:child_process';
import { relative } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { mutations } from './mutations/mutations.ts';

/** Tests of the project that `npm run mutations` runs, as vitest reads its config. */
let files: string[] = [];
beforeAll(() => {
  const args = ['node_modules/vitest/vitest.mjs', 'list', '--filesOnly', '--json', '--project=every-node'];
  const listed = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as { readonly file: string }[];
  files = listed.map(({ file }) => relative('.', file));
});

it('there are as many mutations as promises to break', () => {
  expect(mutations().length).toBeGreaterThanOrEqual(18);
});

it.each(mutations())('$name still applies, and names tests that are run on every Node', ({ patch, caughtBy }) => {
  execFileSync('git', ['apply', '--check', patch], { stdio: 'pipe' });
  expect(files).toEqual(expect.arrayContaining([...caughtBy]));
});
