import { script } from '../script.ts';

/**
 * As READ, and enters the instance among those that get the log's events from here on. As appending and watching are one
 * step each, no event falls between the events that are read here and those that are sent. Sends the owner who watches.
 *
 * Answers `{owner, state, request hash, length, events}`, or nil. Enters nobody where `owner` isn't the log's.
 */
export const WATCH = script(`#!lua flags=allow-oom
-- KEYS meta log live(of the owner)
-- ARGV from to owner instance k inboxes
local meta = redis.call('HMGET', KEYS[1], 'o', 's', 'h')
if not meta[1] then return false end
if meta[2] == 'r' and meta[1] == ARGV[3] then
  local watchers = redis.call('HGET', KEYS[3], ARGV[5])
  if watchers and not string.find(watchers, ',' .. ARGV[4] .. ',', 1, true) then
    if not string.find(watchers, ',', 1, true) then watchers = watchers .. ',' end
    watchers = watchers .. ARGV[4] .. ','
    redis.call('HSET', KEYS[3], ARGV[5], watchers)
    redis.call('SPUBLISH', ARGV[6] .. meta[1], '[["' .. ARGV[5] .. '",-1,"' .. watchers .. '"]]')
  end
end
return { meta[1], meta[2], meta[3], redis.call('LLEN', KEYS[2]), redis.call('LRANGE', KEYS[2], ARGV[1], ARGV[2]) }`);

/** Takes the instance off those that watch, and sends the owner who is left. Answers 1, or 0 if it wasn't among them. */
export const UNWATCH = script(`#!lua flags=allow-oom
-- KEYS live(of the owner)
-- ARGV owner instance k inboxes
local watchers = redis.call('HGET', KEYS[1], ARGV[3])
if not watchers then return 0 end
local from, to = string.find(watchers, ',' .. ARGV[2] .. ',', 1, true)
if not from then return 0 end
watchers = string.sub(watchers, 1, from) .. string.sub(watchers, to + 1)
if watchers == ',' then watchers = '' elseif watchers == '!,' then watchers = '!' end
redis.call('HSET', KEYS[1], ARGV[3], watchers)
redis.call('SPUBLISH', ARGV[4] .. ARGV[1], '[["' .. ARGV[3] .. '",-1,"' .. watchers .. '"]]')
return 1`);
