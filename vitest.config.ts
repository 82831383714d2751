import { configDefaults, defineConfig } from 'vitest/config';

/**
 * What looks at a browser, a compiler, a benchmark, words, the repository or a part that neither opens a socket nor starts a
 * process, which no Node changes. CI runs all other files on every Node that is promised, and with them whatever is new.
 */
const onOneNode = [
  'test/aimock.test.ts',
  'test/architecture.test.ts',
  'test/bench-*.test.ts',
  'test/canary.test.ts',
  'test/cli-words.test.ts',
  'test/client-browser.test.ts',
  'test/client-runtimes.test.ts',
  'test/config-schema.test.ts',
  'test/config-warnings.test.ts',
  'test/configs.test.ts',
  'test/docs.test.ts',
  'test/harness.test.ts',
  'test/held-bytes.test.ts',
  'test/init.test.ts',
  'test/json-bounds.test.ts',
  'test/keys.test.ts',
  'test/mutations.test.ts',
  'test/node-versions.test.ts',
  'test/npm-start.test.ts',
  'test/openapi.test.ts',
  'test/package.test.ts',
  'test/page*.test.ts',
  'test/request-identity.test.ts',
  'test/settings.test.ts',
  'test/simulator-validation.test.ts',
  'test/types.test.ts',
  'test/usage-and-cost.test.ts',
];
// The first fail by design: harness.test.ts runs them. The second break the project: `npm run mutations` does.
// The third say what the service is to withstand, which is more than it does: `npm run attack` runs them.
const runByOthers = [...configDefaults.exclude, 'test/support/**', 'test/mutations/**', 'test/attack/**'];

export default defineConfig({
  test: {
    projects: [
      {
        extends: true,
        test: { name: 'every-node', include: ['test/**/*.test.ts'], exclude: [...runByOthers, ...onOneNode] },
      },
      {
        extends: true,
        test: {
          name: 'one-node',
          include: onOneNode,
          exclude: runByOthers,
          globalSetup: ['test/support/built-page.ts'],
        },
      },
    ],
    environment: 'node',
    // A process for each file, so that one file's leftovers are seen there and nowhere else. Tests mostly wait, hence
    // a worker for every core, where vitest would leave one idle.
    pool: 'forks',
    maxWorkers: '100%',
    // Finds what hangs. What a test does in a moment may take a machine that is busy a minute.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
  },
});
