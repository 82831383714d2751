import { script } from '../script.ts';

/** Enters a generation in its caller's index, and in that of its thread if it has one. Keeps the newest of each index only. */
export const LISTED = script(`
-- KEYS indexes...
-- ARGV startedAt generationId max expiryMs
for _, index in ipairs(KEYS) do
  redis.call('ZADD', index, 'NX', ARGV[1], ARGV[2])
  redis.call('ZREMRANGEBYRANK', index, 0, -1 - ARGV[3])
  redis.call('PEXPIRE', index, ARGV[4])
end
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
