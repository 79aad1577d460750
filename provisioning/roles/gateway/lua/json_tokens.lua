-- Finds the ends of JSON's tokens in a text: white space, strings with their escapes, and numbers.
--
-- The text is the body with each escape of two bytes as one control character (json_bytes.lua), so a quote always ends a
-- string.
-- A function that finds no token returns nil and the reason, a key of REASONS in strict_json.lua.
--
-- For Lua 5.3 and 5.4. Most time is spent in C: find() with plain text is memchr, about a hundred times as fast as a
-- pattern. HAProxy counts instructions, which makes each of Lua's own twice as slow.

local bytes = require("json_bytes")

local byte, find, sub = string.byte, string.find, string.sub

local M = {}

local MAX_INTEGER = (1 << 53) - 1 -- RFC 7493: a parser that reads doubles takes the next integers for each other
local MAX_DOUBLE = 0x1.fffffffffffffp+1023
local MAX_NUMBER_BYTES = 64

local TAB, NEWLINE, RETURN, SPACE, POINT = 9, 10, 13, 32, 46
local LOWER_E, LOWER_U, UPPER_E = byte("euE", 1, -1)

-- Several escapes at once: a call from Lua costs as much as matching ten bytes.
local RUN = 8
local UNICODE_RUN = "^" .. ("\\u[1-9a-fA-F]%x%x%x ?"):rep(RUN) -- three bytes of UTF-8 each; not used near surrogates

-- Returns the next position that is not white space, and its byte.
function M.skip(text, at)
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
function M.unexpected(text, at)
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

-- Returns the state of one walk through a text, for the functions below.
function M.begin(text)
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
function M.string_end(state, from)
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

-- Returns the position after the number at `at`.
function M.number(text, at)
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
    if stop - at >= MAX_NUMBER_BYTES then
      return nil, "large_number"
    end
    local held = tonumber(sub(text, at, stop))
    local limit = is_integer and MAX_INTEGER or MAX_DOUBLE
    if held > limit or held < -limit then
      return nil, "large_number"
    end
  end
  return stop + 1
end

return M
