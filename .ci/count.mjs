/**
 * `node .ci/count.mjs REPORT STATUS`: prints the result of one test run, "N passed, N failed, N skipped".
 * REPORT is vitest's JSON report, STATUS is vitest's exit code.
 */
import { existsSync, readFileSync } from 'node:fs';

const [path, status] = process.argv.slice(2);
// If a run ended before it wrote its report, there is no test to count, and the run has failed.
const report = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
const { numPassedTests: passed = 0, numPendingTests = 0, numTodoTests = 0, testResults = [] } = report;
const skipped = numPendingTests + numTodoTests;

// A file may fail without any test of its own failing: in a hook, or before its first test.
const failures = testResults.map((file) => {
  const tests = file.assertionResults.filter((test) => test.status === 'failed').length;
  return file.status === 'failed' ? Math.max(tests, 1) : tests;
});
let failed = failures.reduce((sum, each) => sum + each, 0);
// Vitest also fails for an error that belongs to no test, and if it finds no tests.
if (failed === 0 && (status !== '0' || passed + skipped === 0)) failed = 1;

console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
