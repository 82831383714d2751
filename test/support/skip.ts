/**
 * What to do on a machine without a program that some tests need: skip these tests visibly, or fail if `REQUIRE_ALL=1`
 * says that nothing may be missing.
 */
import { Launcher } from 'chrome-launcher';
import { describe, test } from 'vitest';
import { findProgram, isExecutable } from './programs.ts';

type Describe = (title: string, body: () => void) => void;

/**
 * A `describe` for tests that need programs: `requires('redis-server')('the Redis log', () => { … })`. If a program is
 * missing, the body is still collected, so that its tests count as skipped. So don't look the program up in the body,
 * only in tests and hooks.
 */
export function requires(...programs: string[]): Describe {
  return describeUnlessMissing(programs.filter((name) => findProgram(name) === undefined));
}

/** The same, for tests that need a browser. */
export function requiresBrowser(): Describe {
  return describeUnlessMissing(findBrowser() === undefined ? ['a Chromium (CHROME_PATH can name one)'] : []);
}

/**
 * The path of a browser: the one that `CHROME_PATH` names, or else a Chromium without a window, or else any Chromium or
 * Chrome; undefined if none is installed. A Chromium without a window renders pages with the same engine, and costs a test
 * a third less CPU because it draws no tabs and menus.
 */
export function findBrowser(): string | undefined {
  const named = process.env['CHROME_PATH'];
  if (named !== undefined) return isExecutable(named) ? named : undefined;
  const withoutWindow = findProgram('chromium-headless-shell');
  if (withoutWindow !== undefined) return withoutWindow;
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
