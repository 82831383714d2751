/** A real browser for tests of the page: one browser for a file, and a fresh profile for each test. */
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, vi } from 'vitest';
import { findBrowser } from './skip.ts';

export interface TestBrowser {
  /** A tab on the service's page, in the profile of this test. An error in its console fails the test. */
  open(url: string, options?: TabOptions): Promise<Page>;
  /** Another profile, as another person's browser. */
  profile(options?: TabOptions): Promise<BrowserContext>;
}

export interface TabOptions {
  readonly colorScheme?: 'light' | 'dark';
  readonly viewport?: { readonly width: number; readonly height: number };
  /** Accepts a certificate that nobody has signed. */
  readonly ignoreHTTPSErrors?: boolean;
}

const flags = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-gpu',
  // Some tests need host names of their own.
  '--host-resolver-rules=MAP *.test 127.0.0.1',
  // Chromium treats all tabs as visible, as if they stood side by side.
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

/** These only find tests that hang: on a busy machine the page may take long for what it usually does at once. */
const actionTimeoutMs = 60_000;
const testTimeoutMs = 300_000;

/** Call this within `requiresBrowser()(…)`. Gives the tests of the file the time that a browser needs. */
export function browserForEachTest(): TestBrowser {
  vi.setConfig({ testTimeout: testTimeoutMs, hookTimeout: testTimeoutMs });
  let browser: Browser | undefined;
  let context: BrowserContext | undefined;
  let errors: string[] = [];

  beforeAll(async () => {
    const executablePath = findBrowser();
    if (executablePath !== undefined) browser = await chromium.launch({ executablePath, args: flags });
  });
  afterEach(async () => {
    await Promise.all((browser?.contexts() ?? []).map((each) => each.close()));
    context = undefined;
    const seen = errors;
    errors = [];
    expect(seen, 'errors in the browser’s console').toEqual([]);
  });
  afterAll(async () => browser?.close());

  async function profile(options: TabOptions = {}): Promise<BrowserContext> {
    const made = await browser!.newContext({ viewport: { width: 1280, height: 820 }, ...options });
    made.setDefaultTimeout(actionTimeoutMs);
    made.on('weberror', (error) => errors.push(String(error.error())));
    made.on('console', (message) => {
      // Failing connections are what these tests are about, so their errors are expected.
      if (message.type() === 'error' && !/Failed to load resource|WebSocket connection to/.test(message.text())) {
        errors.push(message.text());
      }
    });
    return made;
  }

  return {
    profile,
    async open(url, options) {
      context ??= await profile(options);
      const page = await context.newPage();
      await page.goto(url);
      return page;
    },
  };
}
