-- Checks a JSON request body, and returns the fields on which the gateway decides.
--
--   local fields, reason, position = require("strict_json").check(text)
--
-- Refuses every text that two JSON parsers could read differently, so that the engine computes what was checked here.
-- `reason` is a key of REASONS, `position` counts bytes from 1.
--
-- `fields` has an entry for each key of FIELDS that the text has: {type = ..., value = ...}. `type` is JSON's: string,
-- number, boolean, null, array or object; the last three have no value. It also has, if the text has a prompt:
--   prompt_head   system text and first user message or prompt, decoded; at most HEAD_BYTES bytes, whole characters
--   prompt_bytes  bytes of the values of PROMPT_KEYS: their JSON text with its escapes decoded
--
-- For Lua 5.3 and 5.4. Keeps all state in one call: HAProxy may suspend a call and start another one in between.
-- Most time is spent in C: find() with plain text is memchr, about a hundred times as fast as a pattern.

local byte, char, find, gsub, lower, sub = string.byte, string.char, string.find, string.gsub, string.lower, string.sub
local min = math.min

local M = {}

M.MAX_DEPTH = 64
M.MAX_INTEGER = (1 << 53) - 1 -- RFC 7493: a parser that reads doubles takes the next integers for each other
M.MAX_DOUBLE = 0x1.fffffffffffffp+1023
M.MAX_NUMBER_BYTES = 64
M.MAX_ESCAPED_KEYS = 1000 -- of more than 31 bytes
M.HEAD_BYTES = 256

M.REASONS = {
  empty = "The body is empty.",
  bom = "The body begins with a byte order mark.",
  utf8 = "The body is not valid UTF-8.",
  control = "The body contains a control character that JSON does not allow there.",
  not_object = "The body is not a JSON object.",
  incomplete = "The JSON text ends too early.",
  syntax = "The body is not valid JSON.",
  comment = "The body contains a comment. JSON has none.",
  constant = "The body contains NaN or Infinity. JSON has neither.",
  number = "The body contains a number that is not valid JSON.",
  large_number = "The body contains a number that not every JSON parser can hold.",
  escape = "The body contains an escape that is not valid JSON.",
  surrogate = "The body contains half of a surrogate pair.",
  trailing_comma = "The body contains a comma before a closing bracket.",
  duplicate_key = "An object contains the same key twice.",
  escaped_keys = "The body contains too many long keys with escapes.",
  key_case = "A key has capital letters that it must not have.",
  depth = "The body is nested too deeply.",
  after_end = "The body continues after the JSON text.",
}

local FIELDS = {
  "model", "stream", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of",
}
local OPTION_FIELDS = { "num_predict" } -- Ollama's, below `options`
local PROMPT_KEYS = { "system", "instructions", "messages", "prompt", "input", "tools" }
local MESSAGE_LISTS = { messages = true, input = true }
local HEAD_MESSAGES = 16 -- how many messages prompt_head looks at

-- Go's encoding/json, so Ollama, takes `Model` for `model`.
local KNOWN, KNOWN_OPTIONS = { options = true }, {}
for _, names in ipairs({ FIELDS, PROMPT_KEYS }) do
  for _, name in ipairs(names) do
    KNOWN[name] = true
  end
end
for _, name in ipairs(OPTION_FIELDS) do
  KNOWN_OPTIONS[name] = true
end

local TAB, NEWLINE, RETURN, SPACE, QUOTE, COMMA, MINUS, POINT = 9, 10, 13, 32, 34, 44, 45, 46
local ZERO, NINE, COLON, OPEN_LIST, CLOSE_LIST, OPEN, CLOSE = 48, 57, 58, 91, 93, 123, 125
local LOWER_E, LOWER_F, LOWER_N, LOWER_T, LOWER_U, UPPER_E = byte("efntuE", 1, -1)

local SIMPLE = {} -- bytes after a backslash that make an escape of two bytes
for letter in ('"\\/bfnrt'):gmatch(".") do
  SIMPLE[byte(letter)] = true
end
local PLAIN = { ['"'] = '"', ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- Several escapes or list items at once: a call from Lua costs as much as matching ten bytes.
local RUN = 8
local SIMPLE_RUN = "^" .. ('\\["\\/bfnrt]'):rep(RUN)
local UNICODE_RUN = "^" .. ("\\u[1-9a-fA-F]%x%x%x ?"):rep(RUN) -- three bytes of UTF-8 each; not used near surrogates
local INTEGER_RUN = "^" .. ("[1-9]%d?%d?%d?%d?%d?%d?, ?"):rep(RUN)

local FORBIDDEN = {} -- control characters that JSON allows nowhere
for code = 0, 31 do
  if code ~= TAB and code ~= NEWLINE and code ~= RETURN then
    FORBIDDEN[#FORBIDDEN + 1] = char(code)
  end
end

local PIECE = 31 -- Lua 5.3 hashes only each second byte of a longer string: keys could be made to collide

local function to_char(hex)
  return utf8.char(tonumber(hex, 16))
end

local function to_pair(high, low)
  return utf8.char(0x10000 + (tonumber(high, 16) - 0xD800) * 0x400 + tonumber(low, 16) - 0xDC00)
end

-- Returns the text of a valid string's inside. \xFF stands for a backslash meanwhile: UTF-8 never contains it.
local function decoded(raw)
  if not find(raw, "\\", 1, true) then
    return raw
  end
  raw = gsub(raw, "\\\\", "\xFF")
  raw = gsub(raw, "\\([^u])", PLAIN)
  raw = gsub(raw, "\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", to_pair)
  raw = gsub(raw, "\\u(%x%x%x%x)", to_char)
  return (gsub(raw, "\xFF", "\\"))
end

-- Returns `key` as Go compares keys: without case, and with two letters that fold to ASCII.
local function folded(key)
  return lower((gsub(gsub(key, "\u{17F}", "s"), "\u{212A}", "k")))
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

local function bad_encoding(text)
  if sub(text, 1, 3) == "\xEF\xBB\xBF" then
    return "bom", 1
  end
  local valid, position = utf8.len(text)
  if not valid then
    return "utf8", position
  end
  position = encoded_surrogate(text)
  if position then
    return "utf8", position
  end
  for index = 1, #FORBIDDEN do
    position = find(text, FORBIDDEN[index], 1, true)
    if position then
      return "control", position
    end
  end
end

-- Returns functions that walk `text`, whose encoding is good.
local function walker(text)
  local END = #text + 1
  local reason, position
  -- The next backslash and the next escape of a surrogate: found again when the walk has passed them.
  local backslash, surrogate = 0, 0
  local saved = 0 -- bytes that decoding has removed so far
  local escaped_keys = 0
  local has_tab = find(text, "\t", 1, true)
  local has_newline = find(text, "\n", 1, true)
  local has_return = find(text, "\r", 1, true)
  local has_blank = has_tab or has_newline or has_return
  local tab, newline, carriage = has_tab or END, has_newline or END, has_return or END
  local value, list

  local function fail(why, at)
    reason, position = why, at
    return nil
  end

  local function rewind()
    backslash, surrogate = 0, 0
    tab, newline, carriage = has_tab or END, has_newline or END, has_return or END
  end

  -- Returns the next position that is not white space, and its byte.
  local function skip(at)
    local found = byte(text, at)
    if found == SPACE then
      at = at + 1
      found = byte(text, at)
    end
    if found == SPACE or found == NEWLINE or found == TAB or found == RETURN then
      at = find(text, "%S", at) or END
      found = byte(text, at)
    end
    return at, found
  end

  local function unexpected(at)
    local found = byte(text, at)
    if not found then
      return fail("incomplete", at)
    elseif find(text, "^/[/*]", at) or find(text, "^#", at) then
      return fail("comment", at)
    elseif find(text, "^[+-]?NaN", at) or find(text, "^[+-]?Infinity", at) then
      return fail("constant", at)
    elseif find(text, "^[+.]%d", at) then
      return fail("number", at)
    end
    return fail("syntax", at)
  end

  -- Returns the position after the escape at `at`, or after several.
  local function escape(at, dense)
    local kind = byte(text, at + 1)
    if SIMPLE[kind] then
      if dense then
        local _, stop = find(text, SIMPLE_RUN, at)
        if stop then
          saved = saved + RUN
          return stop + 1
        end
      end
      saved = saved + 1
      return at + 2
    elseif kind ~= LOWER_U then
      return fail(kind and "escape" or "incomplete", at)
    end
    if dense then
      if surrogate < at then
        surrogate = find(text, "\\u[dD][89a-fA-F]", at) or END
      end
      local _, stop = find(text, UNICODE_RUN, at)
      if stop and stop < surrogate then
        saved = saved + 3 * RUN
        return stop + 1
      end
    end
    if find(text, "^[1-9a-cA-CefEF]%x%x%x", at + 2) or find(text, "^[dD][0-7]%x%x", at + 2) then
      saved = saved + 3
      return at + 6
    elseif find(text, "^0%x%x%x", at + 2) then
      saved = saved + 6 - #to_char(sub(text, at + 2, at + 5))
      return at + 6
    elseif find(text, "^[dD][89abAB]%x%x\\u[dD][c-fC-F]%x%x", at + 2) then
      saved = saved + 8
      return at + 12
    end
    return fail(find(text, "^[dD]%x%x%x", at + 2) and "surrogate" or "escape", at)
  end

  local function blank_before(from, quote)
    if newline < from then
      newline = find(text, "\n", from, true) or END
    end
    if tab < from then
      tab = find(text, "\t", from, true) or END
    end
    if carriage < from then
      carriage = find(text, "\r", from, true) or END
    end
    local first = newline < tab and newline or tab
    first = carriage < first and carriage or first
    return first < quote and first
  end

  -- Returns the position after the string whose inside begins at `from`.
  local function string_end(from)
    local quote = find(text, '"', from, true)
    if quote and backslash > quote and not has_blank then
      return quote + 1
    elseif backslash < from then
      backslash = find(text, "\\", from, true) or END
    end
    local after = from
    while quote and backslash < quote do
      after = escape(backslash, backslash - after < 2 and after > from)
      if not after then
        return nil
      end
      if after > quote then
        quote = find(text, '"', after, true)
      end
      backslash = find(text, "\\", after, true) or END
    end
    if not quote then
      if backslash < END and not escape(backslash) then
        return nil
      end
      return fail("incomplete", END)
    end
    local blank = has_blank and blank_before(from, quote)
    if blank then
      return fail("control", blank)
    end
    return quote + 1
  end

  -- Returns the position after the number at `at`.
  local function number(at)
    local _, stop = find(text, "^-?%d+", at)
    if not stop then
      return fail(find(text, "^-[IN]", at) and "constant" or "number", at)
    end
    local is_integer = true
    local following = byte(text, stop + 1)
    if following == POINT then
      is_integer = false
      local _, last = find(text, "^%d+", stop + 2)
      if not last then
        return fail("number", at)
      end
      stop = last
      following = byte(text, stop + 1)
    end
    if following == LOWER_E or following == UPPER_E then
      is_integer = false
      local _, last = find(text, "^[+-]?%d+", stop + 2)
      if not last then
        return fail("number", at)
      end
      stop = last
    end
    if stop > at and find(text, "^-?0%d", at) then
      return fail("number", at)
    end
    if not is_integer or stop - at >= 15 then
      if stop - at >= M.MAX_NUMBER_BYTES then
        return fail("large_number", at)
      end
      local held = tonumber(sub(text, at, stop))
      local limit = is_integer and M.MAX_INTEGER or M.MAX_DOUBLE
      if held > limit or held < -limit then
        return fail("large_number", at)
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

  -- Returns the position after the object whose inside begins at `from`. `record`, if given, gets where the values of
  -- short keys are: record[key] = {first position, position after it, bytes with escapes decoded, inner}. `inner` has the
  -- records of messages or the record of `options`, if depth is 1.
  local function object(from, depth, record)
    if depth > M.MAX_DEPTH then
      return fail("depth", from - 1)
    end
    local at, found = skip(from)
    if found == CLOSE then
      return at + 1
    end
    local seen = {}
    while true do
      local key_at = at
      local _, stop, inside, outside = find(text, '^"()[^"\\%c]*()"%s*:%s*', at)
      local key, is_known
      if stop then
        at = stop + 1
        if outside - inside <= PIECE then
          key = sub(text, inside, outside - 1)
        else
          is_known = has_long(seen, text, inside, outside - 1)
        end
      else
        if found ~= QUOTE then
          if found == CLOSE then
            return fail("trailing_comma", at)
          end
          return unexpected(at)
        end
        local after_key = string_end(at + 1)
        if not after_key then
          return nil
        end
        if after_key - at > PIECE then
          escaped_keys = escaped_keys + 1
          if escaped_keys > M.MAX_ESCAPED_KEYS then
            return fail("escaped_keys", at)
          end
        end
        key = decoded(sub(text, at + 1, after_key - 2))
        if #key > PIECE then
          is_known = has_long(seen, key, 1, #key)
          key = nil
        end
        at, found = skip(after_key)
        if found ~= COLON then
          return unexpected(at)
        end
        at = skip(at + 1)
      end
      if is_known or key and seen[key] then
        return fail("duplicate_key", key_at)
      elseif key then
        seen[key] = true
      end
      local after
      if record and key then
        local before, inner = saved, nil
        local opening = depth == 1 and byte(text, at)
        if opening == OPEN_LIST and MESSAGE_LISTS[key] then
          inner = {}
          after = list(at + 1, depth + 1, inner)
        elseif opening == OPEN and key == "options" then
          inner = {}
          after = object(at + 1, depth + 1, inner)
        else
          after = value(at, depth)
        end
        record[key] = after and { at, after, after - at - (saved - before), inner }
      else
        after = value(at, depth)
      end
      if not after then
        return nil
      end
      at, found = skip(after)
      if found == COMMA then
        at, found = skip(at + 1)
      elseif found == CLOSE then
        return at + 1
      else
        return unexpected(at)
      end
    end
  end

  -- Returns the position after the list whose inside begins at `from`. `records`, if given, gets the records of its first
  -- objects.
  function list(from, depth, records)
    if depth > M.MAX_DEPTH then
      return fail("depth", from - 1)
    end
    local at, found = skip(from)
    if found == CLOSE_LIST then
      return at + 1
    end
    while true do
      local after
      if found == QUOTE then
        after = string_end(at + 1)
      elseif found == CLOSE_LIST then
        return fail("trailing_comma", at)
      elseif found == OPEN and records and #records < HEAD_MESSAGES then
        local record = {}
        records[#records + 1] = record
        after = object(at + 1, depth + 1, record)
      else
        after = value(at, depth)
      end
      if not after then
        return nil
      end
      at, found = skip(after)
      if found == COMMA then
        at, found = skip(at + 1)
        if found and found > ZERO and found <= NINE then
          local _, stop = find(text, INTEGER_RUN, at)
          while stop do
            at, found = skip(stop + 1)
            _, stop = find(text, INTEGER_RUN, at)
          end
        end
      elseif found == CLOSE_LIST then
        return at + 1
      else
        return unexpected(at)
      end
    end
  end

  -- Returns the position after the value at `at`, which is not white space.
  function value(at, depth)
    local found = byte(text, at)
    if found == QUOTE then
      return string_end(at + 1)
    elseif found == OPEN then
      return object(at + 1, depth + 1)
    elseif found == OPEN_LIST then
      return list(at + 1, depth + 1)
    elseif found == MINUS or found and found >= ZERO and found <= NINE then
      return number(at)
    end
    local _, stop = find(text, "^true", at)
    if not stop then
      _, stop = find(text, "^false", at)
    end
    if not stop then
      _, stop = find(text, "^null", at)
    end
    return stop and stop + 1 or unexpected(at)
  end

  -- Walks the whole text; returns the record of its object.
  local function whole()
    local at, found = skip(1)
    if found ~= OPEN then
      -- A list, a text or a number may be valid JSON too; a request is an object.
      return fail("not_object", at)
    end
    local record = {}
    local after = object(at + 1, 1, record)
    if not after then
      return nil
    end
    at, found = skip(after)
    if found then
      return fail("after_end", at)
    end
    return record
  end

  -- Returns the text of the first part with one, in the valid list of a message's parts at `at`.
  local function first_text(at)
    rewind()
    local item, found = skip(at + 1)
    if found == QUOTE then
      return { item, string_end(item + 1) }
    end
    while found == OPEN do
      local record = {}
      local after = object(item + 1, 2, record)
      if record.text then
        return record.text
      end
      item, found = skip(after)
      item, found = skip(item + 1)
    end
  end

  local function failure()
    return nil, reason, position
  end

  return whole, failure, first_text
end

-- Returns the decoded inside of the string at `place`: all of it, or at least `bytes` bytes.
local function string_at(text, place, bytes)
  local from, last = place[1], place[2] - 2
  if bytes then
    -- A byte has six in an escape at most. What is cut off in the middle is behind the bytes that count.
    last = min(last, from + 6 * bytes + 64)
  end
  return decoded(sub(text, from + 1, last))
end

local function field(text, place)
  local found = byte(text, place[1])
  if found == QUOTE then
    return { type = "string", value = string_at(text, place) }
  elseif found == OPEN then
    return { type = "object" }
  elseif found == OPEN_LIST then
    return { type = "array" }
  elseif found == LOWER_T or found == LOWER_F then
    return { type = "boolean", value = found == LOWER_T }
  elseif found == LOWER_N then
    return { type = "null" }
  end
  return { type = "number", value = tonumber(sub(text, place[1], place[2] - 1)) }
end

-- Returns the first text at `place`, decoded and perhaps cut: of a string, or of a list of strings or parts.
local function text_at(text, place, first_text)
  local found = place and byte(text, place[1])
  if found == OPEN_LIST then
    place = first_text(place[1])
    found = place and byte(text, place[1])
  end
  return found == QUOTE and string_at(text, place, M.HEAD_BYTES) or nil
end

local function cut(head)
  local stop = min(#head, M.HEAD_BYTES)
  while stop < #head and byte(head, stop + 1) & 0xC0 == 0x80 do
    stop = stop - 1
  end
  return sub(head, 1, stop)
end

local function prompt_head(text, record, first_text)
  local system = text_at(text, record.system or record.instructions, first_text)
  local talk = record.messages or record.input
  for _, message in ipairs(talk and talk[4] or {}) do
    local role = message.role and text_at(text, message.role, first_text)
    if role == "user" then
      return cut((system or "") .. (text_at(text, message.content, first_text) or ""))
    elseif (role == "system" or role == "developer") and not system then
      system = text_at(text, message.content, first_text)
    end
  end
  return cut((system or "") .. (text_at(text, record.prompt or record.input, first_text) or ""))
end

-- Returns the place of a key that some parser takes for one of `known`.
local function other_spelling(record, known)
  for key, place in pairs(record) do
    if find(key, "[%u\xC5\xE2]") and known[folded(key)] then
      return place[1]
    end
  end
end

-- Returns the fields of the request `text`; if it is refused: nil, the reason, and the byte where it was found.
function M.check(text)
  if not find(text, "%S") then
    return nil, "empty", 1
  end
  local reason, position = bad_encoding(text)
  if reason then
    return nil, reason, position
  end
  local whole, failure, first_text = walker(text)
  local record = whole()
  if not record then
    return failure()
  end
  local options = record.options and record.options[4] or {}
  position = other_spelling(record, KNOWN) or other_spelling(options, KNOWN_OPTIONS)
  if position then
    return nil, "key_case", position
  end
  local fields = {}
  for _, name in ipairs(FIELDS) do
    fields[name] = record[name] and field(text, record[name])
  end
  for _, name in ipairs(OPTION_FIELDS) do
    fields["options." .. name] = options[name] and field(text, options[name])
  end
  for _, name in ipairs(PROMPT_KEYS) do
    if record[name] then
      fields.prompt_bytes = (fields.prompt_bytes or 0) + record[name][3]
    end
  end
  if fields.prompt_bytes then
    fields.prompt_head = prompt_head(text, record, first_text)
  end
  return fields
end

return M
