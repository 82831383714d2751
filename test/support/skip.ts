/**
 * What to do on a machine that lacks a program some tests need: skip them where people can see it, or fail where
 * `REQUIRE_ALL=1` says that nothing may be missing.
 */
import { Launcher } from 'chrome-launcher';
import { describe, test } from 'vitest';
import { findProgram, isExecutable } from './programs.ts';

type Describe = (title: string, body: () => void) => void;

/**
 * A `describe` for tests that need programs: `requires('redis-server')('the Redis log', () => { … })`. The body is
 * still collected where one is missing, so that its tests are counted as skipped; look nothing up in it, only in tests
 * and hooks.
 */
export function requires(...programs: string[]): Describe {
  return describeUnlessMissing(programs.filter((name) => findProgram(name) === undefined));
}

/** Likewise, for tests that need a browser. */
export function requiresBrowser(): Describe {
  return describeUnlessMissing(findBrowser() === undefined ? ['a Chromium (CHROME_PATH can name one)'] : []);
}

/** Where a Chromium or Chrome is: what `CHROME_PATH` names, or else one that is installed; undefined if none is. */
export function findBrowser(): string | undefined {
  const named = process.env['CHROME_PATH'];
  if (named !== undefined) return isExecutable(named) ? named : undefined;
  try {
    return Launcher.getFirstInstallation();
  } catch {
    return undefined;
  }
}

function describeUnlessMissing(missing: readonly string[]): Describe {
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
