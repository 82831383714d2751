import { script } from '../script.ts';

/**
 * Makes a log with its first event, unless there is one or the id is spent. Refuses where Redis has forgotten everything since
 * the asking instance looked: whoever runs this generation may just be writing it again.
 *
 * Answers `O` for made, `X` for spent, `ERA`, or `{owner, state, request hash}` of the log that exists.
 */
export const OPEN = script(`
-- KEYS meta log spent live(of the instance) era
-- ARGV instance requestHash start k watchers era
local there = redis.call('HMGET', KEYS[1], 'o', 's', 'h')
if there[1] then return there end
if redis.call('EXISTS', KEYS[3]) == 1 then return 'X' end
if (redis.call('GET', KEYS[5]) or '') ~= ARGV[6] then return 'ERA' end
redis.call('DEL', KEYS[2])
redis.call('RPUSH', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[1], 'o', ARGV[1], 's', 'r', 'h', ARGV[2])
redis.call('HSET', KEYS[4], ARGV[4], ARGV[5])
return 'O'`);
