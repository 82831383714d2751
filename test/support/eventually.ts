/** Waiting for what no event tells. */
import { vi } from 'vitest';

/** Settles once the check passes; rejects with its last failure after a time in which it would have on any machine. */
export function eventually(check: () => void | Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: 60_000, interval: 10 });
}
