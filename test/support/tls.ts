/** Servers behind TLS: a self-signed certificate with its key, and clients that accept it. */
import { afterEach, beforeEach, vi } from 'vitest';

/** For 127.0.0.1. The key is no secret. */
export const selfSigned = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFxf1pcwVRf2O/ak+
ahj5uRtMJzGT3KWb6M7e0yKkfs+hRANCAARCcl93PC/xynFLa8/mP89kvEJMNG3z
bVXcm0D6SLb4YDu1qdDA2JpXVWwnmF8W/hEID4JIXgtuvew1f4l6LSyA
-----END PRIVATE KEY-----`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIULnCWquyaY2Kg+/GXkUroQhjX42QwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNjEyNDAzNVoYDzIxMjYxMTAy
MTI0MDM1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARCcl93PC/xynFLa8/mP89kvEJMNG3zbVXcm0D6SLb4YDu1qdDA2JpX
VWwnmF8W/hEID4JIXgtuvew1f4l6LSyAo28wbTAdBgNVHQ4EFgQUUB2ay2OgMBYi
ZntSDP1w1y4kPoIwHwYDVR0jBBgwFoAUUB2ay2OgMBYiZntSDP1w1y4kPoIwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAJgBz4suyxYig+kFXXxN56tXTUVjG8CxRtfR/fTx9tQKAiEA
z7znb9kIPndrgrCqgILSynP8JQh7OsPrrrRrfBF/sQc=
-----END CERTIFICATE-----`,
};

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
