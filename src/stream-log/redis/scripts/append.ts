import { script, type Script } from '../script.ts';

/**
 * Appends events to many logs of one instance, and sends them to the inboxes of the instances that watch.
 *
 * Each log's events come with the offset of the first. RPUSH answers the new length, and that shows in one call whether the
 * offset was right. If it wasn't, the push is undone: events from beyond the log's end are a gap, and nothing of them is kept;
 * of events that the log has in part, those that are missing are added. So the script may be repeated.
 *
 * A terminal event, the state, the expiry and the tombstone are one commit.
 *
 * Answers for each log its length now, and 2^40 more if the generation is to be cancelled; -2 if the instance doesn't run it
 * (any more).
 */
const body = `
-- KEYS live(of the instance), then for each generation: log, and where it ends also meta spent
-- ARGV retentionMs spentMs inboxes n, n times k, then for each generation: first count ends(0|1) events...
local n = tonumber(ARGV[4])
local live = redis.call('HMGET', KEYS[1], unpack(ARGV, 5, 4 + n))
local lengths, messages = {}, nil
local arg, key = 5 + n, 2
for g = 1, n do
  local k, watchers = ARGV[4 + g], live[g]
  local first, count, ends = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1]), ARGV[arg + 2] == '1'
  local from = arg + 3
  arg = from + count
  local log, meta, spent = KEYS[key], nil, nil
  key = key + 1
  if ends then
    meta, spent = KEYS[key], KEYS[key + 1]
    key = key + 2
  end
  if not watchers then
    lengths[g] = -2
  else
    local last = first + count
    local length = redis.call('RPUSH', log, unpack(ARGV, from, arg - 1))
    local added = first
    if length ~= last then
      length = length - count
      if length == 0 then redis.call('DEL', log) else redis.call('LTRIM', log, 0, length - 1) end
      if length > first and length < last then
        added = length
        length = redis.call('RPUSH', log, unpack(ARGV, from + added - first, arg - 1))
      else
        added = nil
      end
    end
    lengths[g] = length
    if ends and length == last then
      redis.call('HSET', meta, 's', 'e')
      redis.call('HDEL', KEYS[1], k)
      redis.call('PEXPIRE', log, ARGV[1])
      redis.call('PEXPIRE', meta, ARGV[1])
      redis.call('SET', spent, 1, 'PX', ARGV[2])
    elseif string.byte(watchers) == 33 then
      lengths[g] = length + 1099511627776
    end
    if added and watchers ~= '' then
      local part = '["' .. k .. '",' .. added .. ',' .. table.concat(ARGV, ',', from + added - first, arg - 1) .. ']'
      messages = messages or {}
      for instance in string.gmatch(watchers, '[^,!]+') do
        local parts = messages[instance]
        if parts then parts[#parts + 1] = part else messages[instance] = { part } end
      end
    end
  end
end
if messages then
  for instance, parts in pairs(messages) do
    redis.call('SPUBLISH', ARGV[3] .. instance, '[' .. table.concat(parts, ',') .. ']')
  end
end
return lengths`;

/** Refused by Redis where its memory is full. */
export const APPEND: Script = script(`#!lua\n${body}`);

/** The same, allowed where Redis's memory is full: for generations that end, which frees memory soon. */
export const APPEND_END: Script = script(`#!lua flags=allow-oom\n${body}`);
