import { script } from '../script.ts';

/**
 * Writes what a caller has used up on one instance on one day. The numbers only grow, so one that arrives late, behind a later
 * one, changes nothing. Allowed where Redis's memory is full: a limit holds there, too.
 *
 * Answers the numbers of all instances, by their names.
 */
export const USED = script(`#!lua flags=allow-oom
-- KEYS used
-- ARGV instance tokens dollars expiryMs
local tokens, dollars = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '0 0', '^(%S+) (%S+)$')
if tonumber(ARGV[2]) > tonumber(tokens) or tonumber(ARGV[3]) > tonumber(dollars) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return redis.call('HGETALL', KEYS[1])`);
