/**
 * `npm run mutations [NAME…]`: breaks one promise at a time in a copy of the project, as the patches beside this file say,
 * and holds the tests to noticing. Prints which test caught which; exits with 1 if one was not caught.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { mutations, type Mutation } from './mutations.ts';

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** A test that hangs for want of what a mutation took away has failed. */
const testTimeoutMs = 15_000;

const copy = copyProject();
let missed = 0;
try {
  const asked = process.argv.slice(2);
  for (const mutation of mutations()) {
    if (asked.length > 0 && !asked.includes(mutation.name)) continue;
    apply(mutation);
    const catcher = findCatcher(mutation);
    apply(mutation, '--reverse');
    if (catcher === undefined) missed += 1;
    console.log(`${mutation.name} (${mutation.meaning})\n  ${catcher ?? 'NOT CAUGHT'}`);
  }
} finally {
  rmSync(copy, { recursive: true });
}
process.exitCode = missed === 0 ? 0 : 1;

/** Of what is in the repository or would be, and with the packages that are installed. */
function copyProject(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mutations-'));
  const files = run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], '.').split('\0');
  for (const file of files.filter(Boolean)) cpSync(file, join(folder, file), { force: true, verbatimSymlinks: true });
  symlinkSync(join(process.cwd(), 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

function apply({ patch }: Mutation, ...options: string[]): void {
  run('git', ['apply', ...options, join(process.cwd(), patch)], copy);
}

/** The first test that fails, with its file; undefined if all pass. */
function findCatcher({ caughtBy }: Mutation): string | undefined {
  const out = join(copy, 'report.json');
  const args = [
    'vitest',
    'run',
    '--bail=1',
    '--reporter=json',
    `--outputFile=${out}`,
    `--testTimeout=${testTimeoutMs}`,
  ];
  const { status } = spawnSync('npx', [...args, ...caughtBy], { cwd: copy, stdio: 'ignore' });
  if (status === 0) return undefined;
  const report = JSON.parse(readFileSync(out, 'utf8')) as Report;
  for (const file of report.testResults) {
    const failed = file.assertionResults.find((result) => result.status === 'failed');
    if (failed) return `${relative(copy, file.name)}: ${failed.fullName}`;
  }
  return `${caughtBy.join(', ')}: a hook`;
}

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return stdout;
}
