import { script } from '../script.ts';

/**
 * Ends a log in the place of its owner. Holds only if the owner's counter is still the observed one: an owner that has beaten
 * since then lives. Sends the end to the instances that watch, and the owner that it is to stop.
 *
 * Answers `E` for ended, `T` where the owner doesn't run it (any more), `L` where the owner lives, `N` where the log has
 * another length than the given one, and is to be read again.
 */
export const END = script(`#!lua flags=allow-oom
-- KEYS meta log spent live(of the owner) beats
-- ARGV owner itsBeat length terminal retentionMs spentMs k inboxes
local watchers = redis.call('HGET', KEYS[4], ARGV[7])
if not watchers then return 'T' end
if (redis.call('HGET', KEYS[5], ARGV[1]) or '') ~= ARGV[2] then return 'L' end
local length = redis.call('LLEN', KEYS[2])
if length ~= tonumber(ARGV[3]) then return 'N' end
redis.call('HDEL', KEYS[4], ARGV[7])
if redis.call('HGET', KEYS[1], 'o') ~= ARGV[1] then return 'T' end
redis.call('RPUSH', KEYS[2], ARGV[4])
redis.call('HSET', KEYS[1], 's', 'e')
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('SET', KEYS[3], 1, 'PX', ARGV[6])
for instance in string.gmatch(watchers, '[^,!]+') do
  redis.call('SPUBLISH', ARGV[8] .. instance, '[["' .. ARGV[7] .. '",' .. length .. ',' .. ARGV[4] .. ']]')
end
redis.call('SPUBLISH', ARGV[8] .. ARGV[1], '[["' .. ARGV[7] .. '",-2]]')
return 'E'`);
