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

/** Bars an id for a time, unless it has a log. Answers 1 if it has one, else 0. An id that is spent or barred stays so for as long as it was. */
export const BAR = script(`
-- KEYS meta spent
-- ARGV ms
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
redis.call('SET', KEYS[2], 1, 'PX', ARGV[1], 'NX')
return 0`);
