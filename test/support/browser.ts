/** A real browser for tests of the page: one for a file, a fresh profile for each test. */
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, vi } from 'vitest';
import { findBrowser } from './skip.ts';

export interface TestBrowser {
  /** A tab on the service's page, in the profile of this test. What it logs as an error fails the test. */
  open(url: string, options?: TabOptions): Promise<Page>;
  /** A profile of its own, as another person's browser. */
  profile(options?: TabOptions): Promise<BrowserContext>;
}

export interface TabOptions {
  readonly colorScheme?: 'light' | 'dark';
  readonly viewport?: { readonly width: number; readonly height: number };
}

const flags = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-gpu',
  // Names for tests that need some.
  '--host-resolver-rules=MAP *.test 127.0.0.1',
  // Tabs side by side are all looked at.
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

/** Find what hangs: what a page does in a moment may take a machine that is busy a while. */
const actionTimeoutMs = 60_000;
const testTimeoutMs = 300_000;

/** To be called within `requiresBrowser()(…)`. Gives the file's tests the time that a browser takes. */
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
      // Connections that fail are what these tests are about.
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
