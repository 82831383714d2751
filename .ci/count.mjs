/**
 * `node .ci/count.mjs REPORT STATUS [REPORT STATUS]`: prints the result of one test run, "N passed, N failed, N skipped", and
 * below it a line for each test that failed. REPORT is vitest's JSON report, STATUS is vitest's exit code. The second pair is
 * of the run in which the failed files had their second try: what passed there counts as passed, and is still named.
 *
 * `node .ci/count.mjs --failed-files REPORT`: prints the path of each file that has a failure.
 */
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

const args = process.argv.slice(2);
if (args[0] === '--failed-files') {
  for (const file of failedFiles(read(args[1]))) console.log(relative('.', file.name));
} else {
  const [path, status, secondPath, secondStatus] = args;
  const first = count(read(path), status);
  const second = secondPath === undefined ? undefined : count(read(secondPath), secondStatus);
  const failed = second ? second.failures.length : first.failures.length;
  const passed = first.passed + first.failures.length - failed;
  console.log(`${passed} passed, ${failed} failed, ${first.skipped} skipped`);
  for (const failure of first.failures) {
    const again =
      second && !second.failures.some(({ test }) => test === failure.test) ? ' (passed at its second try)' : '';
    console.log(`  ${failure.test}${again}: ${failure.reason}`);
  }
}

function read(path) {
  // If a run ended before it wrote its report, there is no test to count, and the run has failed.
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
}

function failedFiles({ testResults = [] }) {
  return testResults.filter((file) => file.status === 'failed' || failedTests(file).length > 0);
}

function failedTests(file) {
  return file.assertionResults.filter((test) => test.status === 'failed');
}

function count(report, status) {
  const { numPassedTests: passed = 0, numPendingTests = 0, numTodoTests = 0 } = report;
  const skipped = numPendingTests + numTodoTests;
  const failures = failedFiles(report).flatMap((file) => {
    const path = relative('.', file.name);
    const tests = failedTests(file);
    // A file may fail without any test of its own failing: in a hook, or before its first test.
    if (tests.length === 0) return [{ test: path, reason: firstLine(file.message) }];
    return tests.map((test) => ({ test: `${path} > ${test.fullName}`, reason: firstLine(test.failureMessages?.[0]) }));
  });
  // Vitest also fails for an error that belongs to no test, and if it finds no tests.
  if (failures.length === 0 && (status !== '0' || passed + skipped === 0)) {
    failures.push({ test: 'the run as a whole', reason: `vitest ended with status ${status}` });
  }
  return { passed, skipped, failures };
}

function firstLine(message = '') {
  return message.split('\n')[0].slice(0, 300);
}
