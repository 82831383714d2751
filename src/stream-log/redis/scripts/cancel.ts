import { script } from '../script.ts';

/** Marks a generation as to be cancelled, and sends that to its owner. Answers 1, or 0 if the owner doesn't run it (any more). */
export const CANCEL = script(`#!lua flags=allow-oom
-- KEYS live(of the owner)
-- ARGV owner k inboxes
local watchers = redis.call('HGET', KEYS[1], ARGV[2])
if not watchers then return 0 end
if string.byte(watchers) ~= 33 then redis.call('HSET', KEYS[1], ARGV[2], '!' .. watchers) end
redis.call('SPUBLISH', ARGV[3] .. ARGV[1], '[["' .. ARGV[2] .. '",-2]]')
return 1`);
