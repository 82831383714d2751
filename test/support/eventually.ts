/** Waiting for what no event tells. */
import { vi } from 'vitest';

/** Settles once the check passes; rejects with its last failure when that takes longer than a busy machine needs. */
export function eventually(check: () => void | Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: 15_000, interval: 10 });
}
