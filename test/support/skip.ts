/**
 * What to do on a machine that lacks a program some tests need: skip them where people can see it, or fail where
 * `REQUIRE_ALL=1` says that nothing may be missing.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, test } from 'vitest';

/** Where a program is on the PATH, or undefined if it isn't. */
function findProgram(name: string): string | undefined {
  const candidates = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * A `describe` for tests that need programs: `requires('redis-server')('the Redis log', () => { … })`. The body is
 * still collected where one is missing, so that its tests are counted as skipped; look nothing up in it, only in tests
 * and hooks.
 */
export function requires(...programs: string[]): (title: string, body: () => void) => void {
  const missing = programs.filter((name) => findProgram(name) === undefined);
  if (missing.length === 0) return describe;
  const reason = `${missing.join(' and ')} not installed`;
  if (process.env['REQUIRE_ALL'] !== '1') {
    return (title, body) => describe.skip(`${title} (skipped: ${reason})`, body);
  }
  return (title) =>
    describe(title, () => {
      test('has what it needs', () => {
        throw new Error(`${reason}, and REQUIRE_ALL=1 lets no test be skipped`);
      });
    });
}
