import { existsSync } from 'node:fs';
import { configDefaults, defineConfig } from 'vitest/config';
import { findProgram } from './test/support/programs.ts';

/**
 * What looks at a browser, a compiler, a benchmark, words, the repository or a part that neither opens a socket nor starts a
 * process, which no Node changes. CI runs all other files, and with them whatever is new, on the oldest and the newest Node
 * that are promised, and each on one of the two between.
 */
const onOneNode = [
  'test/adapters-ag-ui.test.ts',
  'test/aimock.test.ts',
  'test/answer-fold.test.ts',
  'test/architecture.test.ts',
  'test/bench-*.test.ts',
  'test/canary.test.ts',
  'test/cli-words.test.ts',
  'test/client-browser.test.ts',
  'test/client-package.test.ts',
  'test/client-runtimes.test.ts',
  'test/config-combinations.test.ts',
  'test/config-schema.test.ts',
  'test/config-tools.test.ts',
  'test/config-warnings.test.ts',
  'test/configs.test.ts',
  'test/deploy-files.test.ts',
  'test/docs.test.ts',
  'test/foreign-encoders.test.ts',
  'test/foreign-requests.test.ts',
  'test/harness.test.ts',
  'test/held-bytes.test.ts',
  'test/history.test.ts',
  'test/image.test.ts',
  'test/init.test.ts',
  'test/json-bounds.test.ts',
  'test/keys.test.ts',
  'test/messages-api-parameters.test.ts',
  'test/mutations.test.ts',
  'test/node-versions.test.ts',
  'test/npm-start.test.ts',
  'test/openapi.test.ts',
  'test/package.test.ts',
  'test/page*.test.ts',
  'test/public-types.test.ts',
  'test/partial-json.test.ts',
  'test/request-identity.test.ts',
  'test/schemas.test.ts',
  'test/settings.test.ts',
  'test/sizing.test.ts',
  'test/simulator-validation.test.ts',
  'test/token-path.test.ts',
  'test/type-weight.test.ts',
  'test/types.test.ts',
  'test/ui-chunks.test.ts',
  'test/usage-and-cost.test.ts',
];
/** What clients see of a generation, whichever log keeps it: run on the memory log by the other projects, and on Redis. */
const onRedisToo = [
  'test/backpressure.test.ts',
  'test/cancel.test.ts',
  'test/client-tools.test.ts',
  'test/doors.test.ts',
  'test/faults.test.ts',
  'test/hangup.test.ts',
  'test/in-process.test.ts',
  'test/one-id.test.ts',
  'test/pages-of-generations.test.ts',
  'test/refusals.test.ts',
  'test/reload.test.ts',
  'test/resume.test.ts',
  'test/shutdown.test.ts',
  'test/structured-output.test.ts',
  'test/tools-calls.test.ts',
  'test/tools-cancel.test.ts',
  'test/threads.test.ts',
  'test/tools-once.test.ts',
  'test/ui-door.test.ts',
  'test/invariants/*.test.ts',
];
/** What only Redis makes happen, and no Node changes. They start servers of their own. */
const onRedisAlone = [
  'test/embedding-on-redis.test.ts',
  'test/redis-{cluster,connections,era,fitness,histories,hop,kills,log-lines,lost-answers,memory,shutdown}.test.ts',
  'test/rolling-deploy.test.ts',
  'test/shared-budgets.test.ts',
  'test/shared-limits.test.ts',
  'test/two-instances-tools.test.ts',
];
// The first fail by design: harness.test.ts runs them. The second break the project: `npm run mutations` does.
// The third say what the service is to withstand, which is more than it does: `npm run attack` runs them.
const runByOthers = [
  ...configDefaults.exclude,
  'test/support/**',
  'test/mutations/**',
  'test/attack/**',
  'test/front-ends/**',
];

const hasRedis = findProgram('redis-server') !== undefined;
if (!hasRedis) {
  const missing = 'redis-server is not installed';
  if (process.env['REQUIRE_ALL'] === '1') throw new Error(`${missing}, and REQUIRE_ALL=1 lets no test be skipped`);
  console.warn(`${missing}: ${onRedisToo.length + onRedisAlone.length} suites are skipped on Redis`);
}

/** Other people's clients have an install of their own: many packages, some of which ask for a newer Node than we do. */
const hasFrontEnds = existsSync(new URL('test/front-ends/node_modules', import.meta.url));
if (!hasFrontEnds) {
  const missing = 'test/front-ends is not installed (npm ci --prefix test/front-ends)';
  if (process.env['REQUIRE_ALL'] === '1') throw new Error(`${missing}, and REQUIRE_ALL=1 lets no test be skipped`);
  console.warn(`${missing}: the suites of other people's clients are skipped`);
}

export default defineConfig({
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: 'every-node',
          include: ['test/**/*.test.ts'],
          exclude: [...runByOthers, ...onOneNode, ...onRedisAlone],
        },
      },
      {
        extends: true,
        test: {
          name: 'one-node',
          // They leave nothing open that another file could trip over, and a process that runs many loads the packages once.
          isolate: false,
          include: onOneNode,
          exclude: runByOthers,
          globalSetup: ['test/support/built-page.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'on-redis',
          // The same files run in a process each on the memory log.
          isolate: false,
          include: hasRedis ? [...onRedisToo, ...onRedisAlone] : [],
          exclude: runByOthers,
          globalSetup: ['test/support/redis-server.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'front-ends',
          include: hasFrontEnds ? ['test/front-ends/*.test.ts', 'test/front-ends/*.test.tsx'] : [],
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
