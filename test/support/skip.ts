/**
 * What to do on a machine that lacks a program some tests need: skip them where people can see it, or fail where
 * `REQUIRE_ALL=1` says that nothing may be missing.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Launcher } from 'chrome-launcher';
import { describe, test } from 'vitest';

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

/**
 * Where a browser is: what `CHROME_PATH` names, or else a Chromium without a window, or else any Chromium or Chrome;
 * undefined if none is installed. The one without a window renders pages with the same engine, and spends a third less
 * CPU on a test because it draws no tabs and menus.
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

/** Where a program is on the PATH, or undefined if it isn't. */
function findProgram(name: string): string | undefined {
  const candidates = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name));
  return candidates.find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
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
