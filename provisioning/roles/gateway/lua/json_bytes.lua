-- Encoding and escapes of JSON text, before anything looks at its structure.
--
-- For Lua 5.3 and 5.4. Most time is spent in C.

local byte, char, find, gsub, match, sub = string.byte, string.char, string.find, string.gsub, string.match, string.sub

local M = {}

local FORBIDDEN = {} -- control characters that JSON allows nowhere
for code = 0, 31 do
  if not find("\t\n\r", char(code), 1, true) then
    FORBIDDEN[#FORBIDDEN + 1] = char(code)
  end
end

-- The control character that stands for each escape of two bytes, and what the escape means. \xFF stands for a backslash
-- until the other escapes are decoded: UTF-8 never contains it.
local STAND_IN, MEANING = {}, {}
for index, letter in ipairs({ '"', "\\", "/", "b", "f", "n", "r", "t" }) do
  STAND_IN["\\" .. letter] = char(index)
  MEANING[char(index)] = ({ ["\\"] = "\xFF", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" })[letter] or letter
end
local SHORT_PIECE = 32768 -- bytes; some milliseconds at most

function M.to_char(hex)
  return utf8.char(tonumber(hex, 16))
end

local function to_pair(high, low)
  return utf8.char(0x10000 + (tonumber(high, 16) - 0xD800) * 0x400 + tonumber(low, 16) - 0xDC00)
end

-- Returns what the inside of a string of the text means.
function M.decoded(raw)
  local is_changed = find(raw, "[\1-\8]")
  if is_changed then
    raw = gsub(raw, "[\1-\8]", MEANING)
  end
  if find(raw, "\\", 1, true) then
    raw = gsub(raw, "\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", to_pair)
    raw = gsub(raw, "\\u(%x%x%x%x)", M.to_char)
  end
  return is_changed and (gsub(raw, "\xFF", "\\")) or raw
end

-- Returns the position of an encoded surrogate, which utf8.len of Lua 5.3 accepts.
local function encoded_surrogate(text)
  local at, stops = find(text, "\xED", 1, true), 0
  while at do
    if byte(text, at + 1) >= 0xA0 then
      return at
    end
    stops = stops + 1
    if stops == 8192 then
      return (find(text, "\xED[\xA0-\xBF]", at))
    end
    at = find(text, "\xED", at + 3, true)
  end
end

-- Returns the reason if a body is not UTF-8 or has forbidden control characters.
function M.bad_encoding(text)
  if not utf8.len(text) or encoded_surrogate(text) then
    return "utf8"
  end
  for index = 1, #FORBIDDEN do
    if find(text, FORBIDDEN[index], 1, true) then
      return "control"
    end
  end
end

-- Returns a body with each escape of two bytes as one control character.
function M.shortened(body, pause)
  if not find(body, "\\", 1, true) then
    return body
  elseif #body <= SHORT_PIECE then
    return (gsub(body, '\\["\\/bfnrt]', STAND_IN))
  end
  local pieces, from = {}, 1
  while from <= #body do
    local piece = sub(body, from, from + SHORT_PIECE - 1)
    local backslashes = #piece + 1 - (match(piece, "^.*[^\\]()") or 1)
    if backslashes % 2 == 1 and from + #piece <= #body then
      piece = sub(piece, 1, -2) -- the last backslash begins an escape, whose other half is in the next piece
    end
    pieces[#pieces + 1] = gsub(piece, '\\["\\/bfnrt]', STAND_IN)
    from = from + #piece
    if pause then
      pause()
    end
  end
  return table.concat(pieces)
end

return M
