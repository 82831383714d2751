/**
 * Data that arrives at a model's pace, or in a burst, is passed on at once. If data never pauses, the pace inserts
 * pauses as long as they help.
 */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ReadPace } from '../src/upstream/http/read-pace.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'], now: 0 }));
afterEach(() => void vi.useRealTimers());

/** Whether the pace asks for a pause after each arrival. The numbers are the milliseconds since the arrival before. */
function verdicts(pace: ReadPace, everyMs: number, times: number, chunks = 1): boolean[] {
  return Array.from({ length: times }, () => {
    vi.advanceTimersByTime(everyMs);
    return pace.tooFast(chunks);
  });
}

it.each([2, 4, 20, 1_000])('data that arrives every %d ms is never paused', (everyMs) => {
  expect(verdicts(new ReadPace(), everyMs, 200)).not.toContain(true);
});

it('a burst of sixteen passes, and a longer one is paused', () => {
  const pace = new ReadPace();
  vi.advanceTimersByTime(100);
  expect(verdicts(pace, 0, 17)).not.toContain(true);
  expect(verdicts(pace, 1, 1)).toEqual([true]);
});

it('pauses continue while each brings several chunks, and end with one that brings a single chunk, or with a late arrival', () => {
  for (const [everyMs, chunks] of [
    [5, 1],
    [16, 3],
  ] as const) {
    const pace = new ReadPace();
    vi.advanceTimersByTime(100);
    expect(verdicts(pace, 1, 18).at(-1)).toBe(true);
    expect(verdicts(pace, 5, 50, 3)).not.toContain(false);
    expect(verdicts(pace, everyMs, 1, chunks)).toEqual([false]);
  }
});
