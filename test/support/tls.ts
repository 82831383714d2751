/** Clients of servers behind TLS, that accept a self-signed certificate. */
import { afterEach, beforeEach, vi } from 'vitest';

/**
 * Makes the clients of this process accept the certificate, in each test of a file. Call this at the top of the file.
 * It restores all mocks after each test.
 */
export function trustSelfSigned(): void {
  beforeEach(() => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    // Node warns about the setting that was just stubbed.
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });
}
