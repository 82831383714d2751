/** Waits for conditions that no event announces. */
import { vi } from 'vitest';

const timeoutMs = 60_000;
const intervalMs = 10;

/** Resolves once the check passes. Rejects with its last failure after a time that is long enough on any machine. */
export function eventually(check: () => void | Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: timeoutMs, interval: intervalMs });
}

/** The same for a condition. Between two checks the CPU is free for the awaited work and for other tests. */
export async function until(condition: () => boolean): Promise<void> {
  await vi.waitUntil(condition, { timeout: timeoutMs, interval: intervalMs });
}
