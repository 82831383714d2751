import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/built-page.ts'],
    // Those under support/ fail by design: harness.test.ts runs them.
    exclude: ['test/support/**'],
    environment: 'node',
    // A process for each file, so that one file's leftovers are seen there and nowhere else. Tests mostly wait, hence
    // a worker for every core, where vitest would leave one idle.
    pool: 'forks',
    maxWorkers: '100%',
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});
