/**
 * Holds tests to the promise that nothing is left when all is over: no socket, server, timer or child process, and
 * nothing in what a test counts by itself. Knows only what keeps the event loop alive, so whatever is unref'd must be
 * counted by its owner.
 */
import { aroundAll, aroundEach } from 'vitest';

/** How many of each kind are open: Node's resources (`TCPSocketWrap`, `Timeout`, …) or an owner's (`generations`). */
type Open = ReadonlyMap<string, number>;

/** A machine that is busy may let the deadline pass before the event loop has turned once: so often it turns at the least. */
const turnsMin = 1_000;

/**
 * Fails each test of the enclosing file or describe that ends with more open than it began with, and the suite if it
 * does. To be called once, before any other hook, since it looks after all hooks that come later. Not for concurrent
 * tests, which can't be told apart.
 *
 * @param count What owners still hold, asked anew at every look: `() => ({ generations: service.running })`. Each
 *   number must come down to 0.
 * @param deadlineMs How long closing may take. Only a test that fails waits for it.
 */
export function finishesCleanly(count: () => Record<string, number> = () => ({}), deadlineMs = 10_000): void {
  // Between tests the runner starts a timer of its own, 100 ms long, that looks like one of theirs. It isn't there yet
  // while tests are collected. So a test may leave one timer that only its suite's look finds, which waits it out.
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
    // Most of it is closed within a few turns of the event loop; the rest is waited for, by a timer that keeps nothing open.
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
