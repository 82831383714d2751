/** Waiting for what no event tells. */
import { vi } from 'vitest';

const timeoutMs = 60_000;
const intervalMs = 10;

/** Settles once the check passes; rejects with its last failure after a time in which it would have on any machine. */
export function eventually(check: () => void | Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: timeoutMs, interval: intervalMs });
}

/** The same of a condition. Between two looks the processor is free for what is waited for, and for other tests. */
export async function until(condition: () => boolean): Promise<void> {
  await vi.waitUntil(condition, { timeout: timeoutMs, interval: intervalMs });
}
