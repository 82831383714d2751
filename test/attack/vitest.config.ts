import { defineConfig } from 'vitest/config';

/**
 * Attacks on a service process of their own, one file at a time, so that tests that run beside them don't distort the
 * measurement.
 */
export default defineConfig({
  test: {
    include: ['test/attack/**/*.test.ts'],
    environment: 'node',
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 240_000,
    hookTimeout: 120_000,
  },
});
