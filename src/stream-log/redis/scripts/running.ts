import { script } from '../script.ts';

/**
 * Writes how many generations of a caller an instance runs, unless all instances together would then run more than `max`. Allowed
 * where Redis's memory is full, since the number also goes down by it.
 *
 * Answers 1 for written, 0 for too many. The number of an instance that doesn't write it again within the lease counts no more.
 */
export const RUNNING = script(`#!lua flags=allow-oom
-- KEYS run
-- ARGV instance count max lease
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local total = tonumber(ARGV[2])
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  if all[at] ~= ARGV[1] then
    local count, deadline = string.match(all[at + 1], '^(%d+) (%d+)$')
    if tonumber(deadline) > now then total = total + count
    else redis.call('HDEL', KEYS[1], all[at]) end
  end
end
if total > tonumber(ARGV[3]) then return 0 end
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%d', now + ARGV[4]))
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1`);
