-- Reads JSON text, and refuses what two JSON parsers could read differently.
--
--   local record, text = require("json_text").read(body, is_text, pause)
--
-- Returns the record of the body's object, and the text in which the record's positions count; nil and a reason if the
-- body is refused (the reasons are in strict_json.lua). A record has for each short key of an object where its value is:
-- record[key] = {first position, position after it, bytes with escapes decoded, inner}. `inner` has the records of the
-- first messages or the record of `options`, in the body's own object.
--
-- The text is the body with each escape of two bytes as one control character, which JSON itself allows nowhere. `is_text`
-- says that the body is known to be UTF-8 without forbidden control characters. `pause`, if given, is called between pieces
-- of long work.
--
-- For Lua 5.3 and 5.4. Keeps all state in one call: HAProxy may suspend a call and start another one in between.
-- For what costs time, see json_tokens.lua.

local bytes = require("json_bytes")
local tokens = require("json_tokens")

local byte, find, sub = string.byte, string.find, string.sub
local min = math.min
local skip, string_end, unexpected = tokens.skip, tokens.string_end, tokens.unexpected

local M = {}

local MAX_DEPTH = 64
local MAX_ESCAPED_KEYS = 1000 -- of more than 31 bytes
local MESSAGE_LISTS = { messages = true, input = true }
local HEAD_MESSAGES = 16 -- how many messages have records

local QUOTE, COMMA, MINUS, ZERO, NINE, COLON = 34, 44, 45, 48, 57, 58
local OPEN_LIST, CLOSE_LIST, OPEN, CLOSE = 91, 93, 123, 125

-- Several list items at once: a call from Lua costs as much as matching ten bytes.
local INTEGER_RUN = "^" .. ("[1-9]%d?%d?%d?%d?%d?%d?, ?"):rep(8)

local PIECE = 31 -- Lua 5.3 hashes only each second byte of a longer string: keys could be made to collide

-- Remembers the long key in `from` to `last` of `source` piece by piece; returns whether it was there already.
local function has_long(seen, source, from, last)
  local node = seen[0] or {}
  seen[0] = node
  for start = from, last, PIECE do
    local piece = sub(source, start, min(last, start + PIECE - 1))
    node[piece] = node[piece] or {}
    node = node[piece]
  end
  local known = node[1]
  node[1] = true
  return known
end

local value, list

-- Reads the key at `at`, which is not a plain one. Returns the position of its value, the key if it is short, and whether
-- a long one was there already.
local function odd_key(state, at, found, seen)
  local text = state.text
  if found ~= QUOTE then
    if found == CLOSE then
      return nil, "trailing_comma"
    end
    return unexpected(text, at)
  end
  local after, why = string_end(state, at + 1)
  if not after then
    return nil, why
  end
  if after - at > PIECE then
    state.escaped_keys = state.escaped_keys + 1
    if state.escaped_keys > MAX_ESCAPED_KEYS then
      return nil, "escaped_keys"
    end
  end
  local key, is_known = bytes.decoded(sub(text, at + 1, after - 2)), nil
  if #key > PIECE then
    is_known = has_long(seen, key, 1, #key)
    key = nil
  end
  at, found = skip(text, after)
  if found ~= COLON then
    return unexpected(text, at)
  end
  return skip(text, at + 1), key, is_known
end

-- Returns the position after the object whose inside begins at `from`. `record`, if given, gets where the values of short
-- keys are.
local function object(state, from, depth, record)
  if depth > MAX_DEPTH then
    return nil, "depth"
  end
  local text = state.text
  local at, found = skip(text, from)
  if found == CLOSE then
    return at + 1
  end
  local seen = {}
  while true do
    local _, stop, inside, outside = find(text, '^"()[^"\\%c]*()"%s*:%s*', at)
    local key, is_known
    if not stop then
      at, key, is_known = odd_key(state, at, found, seen)
      if not at then
        return nil, key
      end
    else
      at = stop + 1
      if outside - inside <= PIECE then
        key = sub(text, inside, outside - 1)
      else
        is_known = has_long(seen, text, inside, outside - 1)
      end
    end
    if is_known or key and seen[key] then
      return nil, "duplicate_key"
    elseif key then
      seen[key] = true
    end
    local after, why
    if record and key then
      local before, inner = state.saved, nil
      local opening = depth == 1 and byte(text, at)
      if opening == OPEN_LIST and MESSAGE_LISTS[key] then
        inner = {}
        after, why = list(state, at + 1, depth + 1, inner)
      elseif opening == OPEN and key == "options" then
        inner = {}
        after, why = object(state, at + 1, depth + 1, inner)
      else
        after, why = value(state, at, depth)
      end
      record[key] = after and { at, after, after - at - (state.saved - before), inner }
    else
      after, why = value(state, at, depth)
    end
    if not after then
      return nil, why
    end
    at, found = skip(text, after)
    if found == COMMA then
      at, found = skip(text, at + 1)
    elseif found == CLOSE then
      return at + 1
    else
      return unexpected(text, at)
    end
  end
end

-- Returns the position after the list whose inside begins at `from`. `records`, if given, gets the records of its first
-- objects.
function list(state, from, depth, records)
  if depth > MAX_DEPTH then
    return nil, "depth"
  end
  local text = state.text
  local at, found = skip(text, from)
  if found == CLOSE_LIST then
    return at + 1
  end
  while true do
    local after, why
    if found == QUOTE then
      after, why = string_end(state, at + 1)
    elseif found == CLOSE_LIST then
      return nil, "trailing_comma"
    elseif found == OPEN and records and #records < HEAD_MESSAGES then
      local record = {}
      records[#records + 1] = record
      after, why = object(state, at + 1, depth + 1, record)
    else
      after, why = value(state, at, depth)
    end
    if not after then
      return nil, why
    end
    at, found = skip(text, after)
    if found == COMMA then
      at, found = skip(text, at + 1)
      if found and found > ZERO and found <= NINE then
        local _, stop = find(text, INTEGER_RUN, at)
        while stop do
          at, found = skip(text, stop + 1)
          _, stop = find(text, INTEGER_RUN, at)
        end
      end
    elseif found == CLOSE_LIST then
      return at + 1
    else
      return unexpected(text, at)
    end
  end
end

-- Returns the position after the value at `at`, which is not white space.
function value(state, at, depth)
  local text = state.text
  local found = byte(text, at)
  if found == QUOTE then
    return string_end(state, at + 1)
  elseif found == OPEN then
    return object(state, at + 1, depth + 1)
  elseif found == OPEN_LIST then
    return list(state, at + 1, depth + 1)
  elseif found == MINUS or found and found >= ZERO and found <= NINE then
    return tokens.number(text, at)
  end
  local _, stop = find(text, "^true", at)
  if not stop then
    _, stop = find(text, "^false", at)
  end
  if not stop then
    _, stop = find(text, "^null", at)
  end
  if stop then
    return stop + 1
  end
  return unexpected(text, at)
end

-- Returns the record of the first object in the list at `at` that has a `text`, or the first string's place.
function M.first_text(text, at)
  local state = tokens.begin(text)
  local item, found = skip(text, at + 1)
  if found == QUOTE then
    return { item, string_end(state, item + 1) }
  end
  while found == OPEN do
    local record = {}
    local after = object(state, item + 1, 2, record)
    if record.text then
      return record.text
    end
    item, found = skip(text, after)
    item, found = skip(text, item + 1)
  end
end

function M.read(body, is_text, pause)
  if not find(body, "%S") then
    return nil, "empty"
  elseif sub(body, 1, 3) == "\xEF\xBB\xBF" then
    return nil, "bom"
  end
  local reason = not is_text and bytes.bad_encoding(body)
  if reason then
    return nil, reason
  end
  local text = bytes.shortened(body, pause)
  local at, found = skip(text, 1)
  if found ~= OPEN then
    -- A list, a text or a number may be valid JSON too; a request is an object.
    return nil, "not_object"
  end
  local record = {}
  local after, why = object(tokens.begin(text), at + 1, 1, record)
  if not after then
    return nil, why
  end
  at, found = skip(text, after)
  if found then
    return nil, "after_end"
  end
  return record, text
end

return M
