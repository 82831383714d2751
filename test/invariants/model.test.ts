/**
 * Random histories of two callers, compared with a reference: an array of events and a state for each generation. The
 * test controls the time, upstream is a script, and everything else is the code that runs in production.
 *
 * A history that fails is printed in its smallest form, with the seed of its run and its path. `MODEL_REPLAY=seed,path
 * npx vitest run test/invariants/model.test.ts` runs it alone again, and `MODEL_REPLAY=seed` repeats the whole run. Add
 * histories that were found in this way below, to the others.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { commandNames, stateNames, World, type Command } from '../support/generations-model.ts';

/** The clock and timers of the machine, before the test replaces them. */
const { setTimeout: startTimer, clearTimeout: stopTimer } = globalThis;
/** A history that takes longer than this hangs; the longest ones take some milliseconds. */
const historyMs = 60_000;

/** `npm run soak` asks for 5,000. */
const runs = Number(process.env['MODEL_RUNS'] ?? 400);
/** As fast-check prints them: `1703924571,12:3:0`. */
const [seed = crypto.getRandomValues(new Int32Array(1))[0], path] = process.env['MODEL_REPLAY']?.split(',') ?? [];

const id = fc.nat(1);
const key = fc.record({ caller: fc.constantFrom('ada', 'eve'), id });
const cursor = fc.option(fc.nat(12), { nil: undefined, freq: 2 });

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('start' as const), key, request: fc.nat(1), eager: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('retry' as const), key, cursor: fc.nat(12) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('attach' as const), key, cursor, eager: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('drop' as const), key, all: fc.nat(3).map((n) => n > 0) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('cancel' as const), key }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('emit' as const), key, events: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('finish' as const), key, well: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('expire' as const), key }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('advance' as const), key, ms: fc.integer({ min: 1, max: 500 }) }),
  },
);

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

it('every history of a generation agrees with the reference', { timeout: 600_000 }, async () => {
  /** How often each command met each state. */
  const met = new Map<string, number>();
  let hangs = false;
  const history = async (commands: readonly Command[]) => {
    await using world = new World((ms) => void vi.advanceTimersByTime(ms));
    for (const each of commands) {
      const meeting = `${each.do} × ${world.stateOf(each.key)}`;
      met.set(meeting, (met.get(meeting) ?? 0) + 1);
      await world.run(each);
    }
  };
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 20, maxLength: 160, size: 'max' }), async (commands) => {
      // To shrink a history that hangs would take as long at each attempt.
      if (hangs) return;
      let timer: NodeJS.Timeout | undefined;
      const tooLong = new Promise<never>((_resolve, reject) => {
        timer = startTimer(() => {
          hangs = true;
          reject(new Error('the history waits for ever'));
        }, historyMs);
      });
      await Promise.race([history(commands), tooLong]).finally(() => stopTimer(timer));
    }),
    { numRuns: runs, seed: Number(seed), ...(path === undefined ? {} : { path }) },
  );
  if (path !== undefined) return;
  const all = commandNames.flatMap((name) => stateNames.map((state) => `${name} × ${state}`));
  const rare = all.filter((meeting) => (met.get(meeting) ?? 0) < 20).map((meeting) => [meeting, met.get(meeting) ?? 0]);
  expect(Object.fromEntries(rare), `of seed ${seed}`).toEqual({});
});

const ada = { caller: 'ada', id: 0 };

it.each<readonly [string, readonly Command[]]>([
  [
    'a viewer that was refused, since its cursor lay beyond the end, had stopped the disconnect clock',
    [
      { do: 'start', key: ada, request: 0, eager: true },
      { do: 'drop', key: ada, all: true },
      { do: 'advance', key: ada, ms: 1 },
      { do: 'retry', key: ada, cursor: 1 },
      { do: 'expire', key: ada },
    ],
  ],
])('found once: %s', async (_, commands) => {
  await using world = new World((ms) => void vi.advanceTimersByTime(ms));
  for (const each of commands) await world.run(each);
});
