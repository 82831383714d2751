/**
 * Holds tests to the promise that nothing is left in the end: no socket, server, timer or child process, and nothing
 * that a test counts itself. It sees only what keeps the event loop alive, so the owner of anything unref'd must count
 * it.
 */
import { aroundAll, aroundEach } from 'vitest';

/** How many resources of each kind are open: Node's (`TCPSocketWrap`, `Timeout`, …) or an owner's (`generations`). */
type Open = ReadonlyMap<string, number>;

/**
 * On a busy machine the deadline may pass before the event loop has turned once. So the check runs for at least this
 * many turns.
 */
const turnsMin = 1_000;

/**
 * Fails each test of the enclosing file or describe that ends with more open resources than it began with, and the
 * suite if it does. Call it once, before any other hook, because it must check after all hooks that come later. It
 * doesn't work for concurrent tests, whose resources can't be told apart.
 *
 * @param count What owners still hold, asked again at every check: `() => ({ generations: service.running })`. Each
 *   number must come down to 0.
 * @param deadlineMs How long closing may take. Only a test that fails waits for it.
 */
export function finishesCleanly(count: () => Record<string, number> = () => ({}), deadlineMs = 10_000): void {
  // Between tests the runner starts a timer of its own, 100 ms long, which looks like a timer of the test. The timer
  // doesn't exist yet while tests are collected. So a test may leave one timer; only the check of the suite would find
  // it, and that check waits until the runner's timer is over.
  const timersAtFirst = openResources().get('Timeout') ?? 0;

  aroundEach(async (runTest) => {
    const before = openResources();
    before.set('Timeout', Math.max(before.get('Timeout') ?? 0, timersAtFirst + 1));
    await runTest();
    await assertClosed(before, count, deadlineMs);
  });
  aroundAll(async (runSuite) => {
    const before = openResources().set('Timeout', timersAtFirst);
    await runSuite();
    await assertClosed(before, count, deadlineMs);
  });
}

async function assertClosed(before: Open, count: () => Record<string, number>, deadlineMs: number): Promise<void> {
  const startedAtMs = performance.now();
  let left = leftOpen(before, count());
  for (let turns = 0; left.size > 0; turns += 1) {
    if (turns >= turnsMin && performance.now() - startedAtMs >= deadlineMs) break;
    // Most resources close within a few turns of the event loop. For the others this waits with a timer that keeps
    // nothing open.
    await new Promise((resolve) => (turns < turnsMin ? setImmediate(resolve) : setTimeout(resolve, 5).unref()));
    left = leftOpen(before, count());
  }
  if (left.size > 0) throw new Error(`Left open: ${[...left].map(([kind, open]) => `${open} ${kind}`).join(', ')}`);
}

function openResources(): Map<string, number> {
  const open = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) open.set(kind, (open.get(kind) ?? 0) + 1);
  return open;
}

function leftOpen(before: Open, counts: Record<string, number>): Open {
  const more = [...openResources()].map(([kind, open]) => [kind, open - (before.get(kind) ?? 0)] as const);
  return new Map([...more.filter(([, open]) => open > 0), ...Object.entries(counts).filter(([, open]) => open !== 0)]);
}
