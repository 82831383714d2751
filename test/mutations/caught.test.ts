/**
 * `npm run mutations`: in a copy of the project, breaks one promise at a time with a patch beside this file, and checks
 * that a test fails. `npm run mutations -- -t two-terminals` tries one of them.
 */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { mutations } from './mutations.ts';

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);
/** A test that hangs because of what a mutation removed has failed. */
const timeoutMs = 15_000;

it.concurrent.for(mutations())('$name: $meaning', async ({ patch, caughtBy }, { onTestFinished }) => {
  const copy = await copyProject();
  onTestFinished(() => rm(copy, { recursive: true }));
  await run('git', ['apply', join(root, patch)], { cwd: copy });

  const out = join(copy, 'report.json');
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const options = ['--bail=1', '--maxWorkers=1', `--testTimeout=${timeoutMs}`, `--hookTimeout=${timeoutMs}`];
  const report = ['--reporter=json', `--outputFile=${out}`];
  // Without the page, which would have to be built. The exit code is 1 if a test failed, as it should.
  const args = [vitest, 'run', '--project=every-node', ...options, ...report, ...caughtBy];
  // The copy lacks what only other suites need, so a run there may skip them.
  const env = { ...process.env, REQUIRE_ALL: '' };
  await run(process.execPath, args, { cwd: copy, env }).catch(() => {});
  const { testResults } = JSON.parse(await readFile(out, 'utf8')) as Report;
  const failures = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName }) => `${relative(copy, name)}: ${fullName}`),
  );
  // A file that fails before its first test has noticed nothing: the patch has broken more than its promise.
  const messages = testResults.map(({ message }) => message).filter(Boolean);
  expect(failures, `caught by none of ${caughtBy.join(', ')}\n${messages.join('\n')}`).not.toEqual([]);
});

/** Copies the files that are in the repository or would be, and uses the installed packages. */
async function copyProject(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mutation-'));
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  for (const file of stdout.split('\0').filter(Boolean)) {
    await cp(join(root, file), join(folder, file), { force: true, verbatimSymlinks: true });
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}
