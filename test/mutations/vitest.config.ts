import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/mutations/*.test.ts'],
    // Each is a run of its own, mostly of one file. This many at once keep a machine of two cores busy.
    maxConcurrency: 2,
    testTimeout: 600_000,
  },
});
