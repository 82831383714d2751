import { execFile } from 'node:child_process';
import { expect, test } from 'vitest';

interface FileReport {
  message: string;
  assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
}

/**
 * Runs a file of support/must-fail/ as vitest itself would, and returns the status or failure of each test, by name.
 */
async function runFile(name: string, env: Record<string, string> = {}) {
  const args = ['node_modules/vitest/vitest.mjs', 'run', name, '--root=test/support/must-fail', '--reporter=json'];
  const output = await new Promise<string>((resolve) => {
    // Its exit code is not 0, and that is no error here.
    execFile(process.execPath, args, { env: { ...process.env, ...env } }, (_, stdout) => resolve(stdout));
  });
  const [file] = (JSON.parse(output) as { testResults: [FileReport] }).testResults;
  const tests = file.assertionResults.map((each) => [
    each.fullName,
    each.failureMessages[0]?.split('\n')[0] ?? each.status,
  ]);
  return { file, tests: Object.fromEntries(tests) as Record<string, string> };
}

test.concurrent('a test that leaves something open fails and says what, and so does its suite', async () => {
  const { file, tests } = await runFile('leaky');
  expect(tests).toEqual({
    'a server': 'Error: Left open: 1 TCPServerWrap',
    'a connection': 'Error: Left open: 2 TCPSocketWrap',
    'two timers': expect.stringMatching(/^Error: Left open: \d Timeout$/) as string,
    'an entry in a registry': 'Error: Left open: 2 viewers',
    'what closes in a moment': 'passed',
  });
  expect(file.message).toMatch(/^Left open: 2 TCPServerWrap, 2 TCPSocketWrap, \d Timeout$/);
});

test.concurrent('tests that need a missing program are skipped, each of them counted, with the reason', async () => {
  const { tests } = await runFile('lacking', { REQUIRE_ALL: '' });
  expect(tests).toEqual({
    'with the program (skipped: no-such-program not installed) one': 'skipped',
    'with the program (skipped: no-such-program not installed) two': 'skipped',
    'without the program three': 'passed',
  });
});

test.concurrent('tests that need a missing program fail where all must run', async () => {
  const { tests } = await runFile('lacking', { REQUIRE_ALL: '1' });
  expect(tests).toEqual({
    'with the program has what it needs':
      'Error: no-such-program not installed, and REQUIRE_ALL=1 lets no test be skipped',
    'without the program three': 'passed',
  });
});
