import { script } from '../script.ts';

/**
 * Allowed where Redis's memory is full, as are the scripts that cancel and watch: without them nothing would end there. Counts an instance's beat up, and makes the era if Redis has none.
 *
 * Answers the beats of all instances; the generations that Redis has as run by this one, or nil where their number is
 * the expected one; the era; and the era's age in milliseconds.
 */
export const BEAT = script(`#!lua flags=allow-oom
-- KEYS beats live(of the instance) era
-- ARGV instance running era
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[3], ARGV[3] .. ':' .. string.format('%d', now), 'NX')
local era = redis.call('GET', KEYS[3])
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
local differs = redis.call('HLEN', KEYS[2]) ~= tonumber(ARGV[2])
return {
  redis.call('HGETALL', KEYS[1]), differs and redis.call('HKEYS', KEYS[2]) or false, era,
  now - tonumber(string.match(era, ':(%d+)$'))
}`);
