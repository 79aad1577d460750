-- Reads JSON text, and refuses what two JSON parsers could read differently.
--
--   local record, text = require("json_text").read(body, is_text, pause)
--
-- Returns the record of the body's object, and the text in which the record's positions count; nil and a reason if the
-- body is refused (the reasons are in strict_json.lua). A record has for each short key of an object where its value is:
-- record[key] = {first position, position after it, bytes with escapes decoded, inner}. `inner` has the records of the
-- first messages or the record of `options`, in the body's own object.
--
-- The text is the body with each escape of two bytes as one control character, which JSON itself allows nowhere. So a
-- quote in it always ends a string. `is_text` says that the body is known to be UTF-8 without forbidden control
-- characters. `pause`, if given, is called between pieces of long work.
--
-- For Lua 5.3 and 5.4. Keeps all state in one call: HAProxy may suspend a call and start another one in between.
-- Most time is spent in C: find() with plain text is memchr, about a hundred times as fast as a pattern. HAProxy counts
-- instructions, which makes each of Lua's own twice as slow.

local bytes = require("json_bytes")

local byte, find, sub = string.byte, string.find, string.sub
local min = math.min

local M = {}

M.MAX_DEPTH = 64
M.MAX_INTEGER = (1 << 53) - 1 -- RFC 7493: a parser that reads doubles takes the next integers for each other
M.MAX_DOUBLE = 0x1.fffffffffffffp+1023
M.MAX_NUMBER_BYTES = 64
M.MAX_ESCAPED_KEYS = 1000 -- of more than 31 bytes
M.MESSAGE_LISTS = { messages = true, input = true }
M.HEAD_MESSAGES = 16 -- how many messages have records

local TAB, NEWLINE, RETURN, SPACE, QUOTE, COMMA, MINUS, POINT = 9, 10, 13, 32, 34, 44, 45, 46
local ZERO, NINE, COLON, OPEN_LIST, CLOSE_LIST, OPEN, CLOSE = 48, 57, 58, 91, 93, 123, 125
local LOWER_E, LOWER_U, UPPER_E = byte("euE", 1, -1)

-- Several escapes or list items at once: a call from Lua costs as much as matching ten bytes.
local RUN = 8
local UNICODE_RUN = "^" .. ("\\u[1-9a-fA-F]%x%x%x ?"):rep(RUN) -- three bytes of UTF-8 each; not used near surrogates
local INTEGER_RUN = "^" .. ("[1-9]%d?%d?%d?%d?%d?%d?, ?"):rep(RUN)

local PIECE = 31 -- Lua 5.3 hashes only each second byte of a longer string: keys could be made to collide

-- Returns the next position that is not white space, and its byte.
local function skip(text, at)
  local found = byte(text, at)
  if found == SPACE then
    at = at + 1
    found = byte(text, at)
  end
  if found == SPACE or found == NEWLINE or found == TAB or found == RETURN then
    at = find(text, "%S", at) or #text + 1
    found = byte(text, at)
  end
  return at, found
end

-- Returns nil and the reason for what is at `at`.
local function unexpected(text, at)
  local found = byte(text, at)
  if not found then
    return nil, "incomplete"
  elseif find(text, "^/[/*]", at) or find(text, "^#", at) then
    return nil, "comment"
  elseif find(text, "^[+-]?NaN", at) or find(text, "^[+-]?Infinity", at) then
    return nil, "constant"
  elseif find(text, "^[+.]%d", at) then
    return nil, "number"
  end
  return nil, "syntax"
end

-- The state of one call, for the functions below.
local function begin(text)
  local ends = #text + 1
  local tab, newline = find(text, "\t", 1, true), find(text, "\n", 1, true)
  local carriage = find(text, "\r", 1, true)
  return {
    text = text,
    ends = ends, -- the position after the text
    backslash = 0, -- the next backslash and the next escape of a surrogate: found again when the walk has passed them
    surrogate = 0,
    saved = 0, -- bytes that decoding has removed so far
    escaped_keys = 0,
    has_blank = tab or newline or carriage,
    tab = tab or ends, -- the next ones, if there are any
    newline = newline or ends,
    carriage = carriage or ends,
  }
end

-- Returns the position after the escape at `at`, or after several.
local function escape(state, at, dense)
  local text = state.text
  local kind = byte(text, at + 1)
  if kind ~= LOWER_U then
    return nil, kind and "escape" or "incomplete"
  end
  if dense then
    if state.surrogate < at then
      state.surrogate = find(text, "\\u[dD][89a-fA-F]", at) or state.ends
    end
    local _, stop = find(text, UNICODE_RUN, at)
    if stop and stop < state.surrogate then
      state.saved = state.saved + 3 * RUN
      return stop + 1
    end
  end
  if find(text, "^[1-9a-cA-CefEF]%x%x%x", at + 2) or find(text, "^[dD][0-7]%x%x", at + 2) then
    state.saved = state.saved + 3
    return at + 6
  elseif find(text, "^0%x%x%x", at + 2) then
    state.saved = state.saved + 6 - #bytes.to_char(sub(text, at + 2, at + 5))
    return at + 6
  elseif find(text, "^[dD][89abAB]%x%x\\u[dD][c-fC-F]%x%x", at + 2) then
    state.saved = state.saved + 8
    return at + 12
  end
  return nil, find(text, "^[dD]%x%x%x", at + 2) and "surrogate" or "escape"
end

-- Returns whether a tab or an end of line is between `from` and `quote`.
local function blank_before(state, from, quote)
  local text, ends = state.text, state.ends
  if state.newline < from then
    state.newline = find(text, "\n", from, true) or ends
  end
  if state.tab < from then
    state.tab = find(text, "\t", from, true) or ends
  end
  if state.carriage < from then
    state.carriage = find(text, "\r", from, true) or ends
  end
  return state.newline < quote or state.tab < quote or state.carriage < quote
end

-- Returns the position after the string whose inside begins at `from`.
local function string_end(state, from)
  local text = state.text
  local quote = find(text, '"', from, true)
  local backslash = state.backslash
  if backslash < from then
    backslash = find(text, "\\", from, true) or state.ends
  end
  local after, why = from, nil
  while backslash < (quote or state.ends) do
    after, why = escape(state, backslash, backslash - after < 2 and after > from)
    if not after then
      return nil, why
    end
    backslash = find(text, "\\", after, true) or state.ends
  end
  state.backslash = backslash
  if not quote then
    return nil, "incomplete"
  elseif state.has_blank and blank_before(state, from, quote) then
    return nil, "control"
  end
  return quote + 1
end
M.string_end = string_end

-- Returns the position after the number at `at`.
local function number(text, at)
  local _, stop = find(text, "^-?%d+", at)
  if not stop then
    return nil, find(text, "^-[IN]", at) and "constant" or "number"
  end
  local is_integer = true
  local following = byte(text, stop + 1)
  if following == POINT then
    is_integer = false
    local _, last = find(text, "^%d+", stop + 2)
    if not last then
      return nil, "number"
    end
    stop = last
    following = byte(text, stop + 1)
  end
  if following == LOWER_E or following == UPPER_E then
    is_integer = false
    local _, last = find(text, "^[+-]?%d+", stop + 2)
    if not last then
      return nil, "number"
    end
    stop = last
  end
  if stop > at and find(text, "^-?0%d", at) then
    return nil, "number"
  end
  if not is_integer or stop - at >= 15 then
    if stop - at >= M.MAX_NUMBER_BYTES then
      return nil, "large_number"
    end
    local held = tonumber(sub(text, at, stop))
    local limit = is_integer and M.MAX_INTEGER or M.MAX_DOUBLE
    if held > limit or held < -limit then
      return nil, "large_number"
    end
  end
  return stop + 1
end

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
    if state.escaped_keys > M.MAX_ESCAPED_KEYS then
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
  if depth > M.MAX_DEPTH then
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
      if opening == OPEN_LIST and M.MESSAGE_LISTS[key] then
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
M.object = object

-- Returns the position after the list whose inside begins at `from`. `records`, if given, gets the records of its first
-- objects.
function list(state, from, depth, records)
  if depth > M.MAX_DEPTH then
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
    elseif found == OPEN and records and #records < M.HEAD_MESSAGES then
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
    return number(text, at)
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
  local state = begin(text)
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
  local after, why = object(begin(text), at + 1, 1, record)
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
