import { script } from '../script.ts';

/**
 * Reads a part of a log. Answers `{owner, state, request hash, length, events, start}`, or where there is no log the era, so that
 * whoever asked sees whether Redis has forgotten everything since it looked last.
 */
export const READ = script(`
-- KEYS meta log era
-- ARGV from to
local meta = redis.call('HMGET', KEYS[1], 'o', 's', 'h')
if not meta[1] then return redis.call('GET', KEYS[3]) or '' end
return {
  meta[1], meta[2], meta[3], redis.call('LLEN', KEYS[2]), redis.call('LRANGE', KEYS[2], ARGV[1], ARGV[2]),
  redis.call('LINDEX', KEYS[2], 0) or ''
}`);
