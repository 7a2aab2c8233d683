"""The scripts that run inside Redis, where looking and doing cannot be torn apart."""

from __future__ import annotations

import hashlib

APPEND = """
-- KEYS: pointer, stream.
-- ARGV: epoch, first seq, digest before it, channel, then per entry: digest, payload, signature.
-- Appends what is missing of the entries, or nothing; answers {'OK', seq} or {what is wrong, seq, detail}.
local kind = redis.call('TYPE', KEYS[1])['ok']
if kind ~= 'hash' then return {'POINTER', 0, kind} end
local pointer = redis.call('HMGET', KEYS[1], 'epoch', 'start', 'seq', 'digest')
local start, seq, digest = tonumber(pointer[2]), tonumber(pointer[3]), pointer[4]
if pointer[1] ~= ARGV[1] or not start or not seq or not digest then
  return {'EPOCH', seq or 0, pointer[1] or ''}
end

-- The id generated last, not the last entry: a stream trimmed to nothing is not a stream wiped.
local last = ''
kind = redis.call('TYPE', KEYS[2])['ok']
if kind == 'stream' then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
elseif kind ~= 'none' then
  return {'STREAM', seq, kind}
end
local expected = ''
if seq >= start then expected = string.format('%.0f-0', seq) end
if last ~= expected then return {'TAIL', seq, last} end

local first, count = tonumber(ARGV[2]), (#ARGV - 4) / 3
local known = seq - first + 1
if known < 0 then return {'BEHIND', seq, digest} end
if known > count then return {'AHEAD', seq, digest} end
local before = ARGV[3]
if known > 0 then before = ARGV[4 + (known - 1) * 3 + 1] end
if before ~= digest then return {'DIGEST', seq, digest} end
if known == count then return {'OK', seq} end

for i = known, count - 1 do
  local at = 4 + i * 3
  redis.call('XADD', KEYS[2], string.format('%.0f-0', first + i), 'p', ARGV[at + 2], 's', ARGV[at + 3])
end
local newest = string.format('%.0f', first + count - 1)
redis.call('HSET', KEYS[1], 'seq', newest, 'digest', ARGV[4 + count * 3 - 2])
for i = known, count - 1 do
  redis.call('PUBLISH', ARGV[4], ARGV[4 + i * 3 + 2])
end
return {'OK', first + count - 1}
"""

LOOK = """
-- KEYS: pointer, stream, cursors, repairs.
-- Answers what is there, each empty where it is missing or of another type.
local function hash(key)
  if redis.call('TYPE', key)['ok'] ~= 'hash' then return {} end
  return redis.call('HGETALL', key)
end
local last, kind = '', redis.call('TYPE', KEYS[2])['ok']
if kind == 'stream' then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
elseif kind ~= 'none' then
  last = kind
end
local pointer, pointer_kind = hash(KEYS[1]), redis.call('TYPE', KEYS[1])['ok']
if pointer_kind ~= 'hash' and pointer_kind ~= 'none' then pointer = {'type', pointer_kind} end
return {pointer, last, hash(KEYS[3]), hash(KEYS[4])}
"""

APPEND_SHA1 = hashlib.sha1(APPEND.encode(), usedforsecurity=False).hexdigest()
"""Redis knows scripts by this."""
