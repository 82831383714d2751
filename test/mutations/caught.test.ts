/**
 * `npm run mutations`: breaks one promise at a time in a copy of the project, as the patches beside this file say, and
 * holds the tests to noticing. `npm run mutations -- -t two-terminals` tries one of them.
 */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
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
/** A test that hangs for want of what a mutation took away has failed. */
const testTimeoutMs = 30_000;

it.concurrent.each(mutations())('$name: $meaning', async ({ patch, caughtBy }) => {
  const copy = await copyProject();
  onTestFinished(() => rm(copy, { recursive: true }));
  await run('git', ['apply', join(root, patch)], { cwd: copy });

  const out = join(copy, 'report.json');
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const options = ['--bail=1', '--maxWorkers=1', `--testTimeout=${testTimeoutMs}`];
  const report = ['--reporter=json', `--outputFile=${out}`];
  // Without the page, which would have to be built. Ends with 1 where a test failed, as it should.
  const args = [vitest, 'run', '--project=every-node', ...options, ...report, ...caughtBy];
  await run(process.execPath, args, { cwd: copy }).catch(() => {});
  const { testResults } = JSON.parse(await readFile(out, 'utf8')) as Report;
  const failures = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName }) => `${relative(copy, name)}: ${fullName}`),
  );
  // A file that fails before its first test has noticed nothing: then the patch has broken more than its promise.
  const messages = testResults.map(({ message }) => message).filter(Boolean);
  expect(failures, `caught by none of ${caughtBy.join(', ')}\n${messages.join('\n')}`).not.toEqual([]);
});

/** Of what is in the repository or would be, and with the packages that are installed. */
async function copyProject(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mutation-'));
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  for (const file of stdout.split('\0').filter(Boolean)) {
    await cp(join(root, file), join(folder, file), { force: true, verbatimSymlinks: true });
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}
