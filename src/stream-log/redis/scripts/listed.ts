import { script } from '../script.ts';

/** Enters a generation in its caller's index, and keeps the newest of the index only. */
export const LISTED = script(`
-- KEYS index
-- ARGV startedAt generationId max expiryMs
redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1`);

/** Takes generations off the index that were started before a time. Answers how many that were. */
export const PRUNE = script(`
-- KEYS index
-- ARGV before generationIds...
local gone = 0
for at = 2, #ARGV do
  local startedAt = redis.call('ZSCORE', KEYS[1], ARGV[at])
  if startedAt and tonumber(startedAt) < tonumber(ARGV[1]) then gone = gone + redis.call('ZREM', KEYS[1], ARGV[at]) end
end
return gone`);
