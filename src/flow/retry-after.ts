/**
 * Reads how long a server asks its client to wait. Imports nothing, since the typed client takes it into browsers.
 */

/** The longest wait that is passed on: a day. */
const retryAfterMsMax = 86_400_000;

/**
 * The wait that a response asks for, in whole milliseconds; undefined where it asks for none. Reads `retry-after-ms`, then
 * `retry-after` as seconds or as an HTTP date (RFC 9110, 10.2.3).
 */
export function parseRetryAfter(headers: Pick<Headers, 'get'>, nowMs = Date.now()): number | undefined {
  const delayMs = [
    Number(headers.get('retry-after-ms') ?? Number.NaN),
    Number(headers.get('retry-after') ?? Number.NaN) * 1_000,
    Date.parse(headers.get('retry-after') ?? '') - nowMs,
  ].find(Number.isFinite);
  return delayMs === undefined ? undefined : Math.min(Math.max(0, Math.ceil(delayMs)), retryAfterMsMax);
}
