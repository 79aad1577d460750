-- Checks a JSON request body, and returns the fields on which the gateway decides.
--
--   local fields, reason = require("strict_json").check(body, is_text, pause)
--
-- Refuses every body that two JSON parsers could read differently, so that the engine computes what was checked here.
-- `reason` is a key of REASONS. For `is_text` and `pause` see json_text.lua; both may be left out.
--
-- `fields` has an entry for each key of FIELDS that the text has: {type = ..., value = ...}. `type` is JSON's: string,
-- number, boolean, null, array or object; the last three have no value. It also has, if the text has a prompt:
--   prompt_head   system text and first user message or prompt, decoded; at most HEAD_BYTES bytes, whole characters
--   prompt_bytes  bytes of the values of PROMPT_KEYS: their JSON text with its escapes decoded
--   prompts       how many prompts the list `prompt` has, if it is a list
--
-- For Lua 5.3 and 5.4.

local bytes = require("json_bytes")
local json = require("json_text")

local byte, find, gsub, lower, sub = string.byte, string.find, string.gsub, string.lower, string.sub
local min = math.min

local M = {}

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
  "store", "background", "previous_response_id", "conversation",
}
local OPTION_FIELDS = { "num_predict" } -- Ollama's, below `options`
local PROMPT_KEYS = {
  "system", "instructions", "messages", "prompt", "input", "tools", "functions", "documents",
  "chat_template_kwargs", "previous_input_messages", -- of vLLM, which gives them to the template
  "suffix", "template", "context", "images", -- of Ollama's own API, which has a conversation's tokens in `context`
}

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

local QUOTE, OPEN_LIST, OPEN = byte('"[{', 1, -1)
local LOWER_F, LOWER_N, LOWER_T = byte("fnt", 1, -1)

-- Returns `key` as Go compares keys: without case, and with two letters that fold to ASCII.
local function folded(key)
  return lower((gsub(gsub(key, "\u{17F}", "s"), "\u{212A}", "k")))
end

-- Returns the decoded inside of the string at `place`: all of it, or at least `least` bytes.
local function string_at(text, place, least)
  local from, last = place[1], place[2] - 2
  if least then
    -- A byte has six in an escape at most. What is cut off in the middle is behind the bytes that count.
    last = min(last, from + 6 * least + 64)
  end
  return bytes.decoded(sub(text, from + 1, last))
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
local function text_at(text, place)
  local found = place and byte(text, place[1])
  if found == OPEN_LIST then
    place = json.first_text(text, place[1])
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

local function prompt_head(text, record)
  local system = text_at(text, record.system or record.instructions)
  local talk = record.messages or record.input
  for _, message in ipairs(talk and talk[4] or {}) do
    local role = message.role and text_at(text, message.role)
    if role == "user" then
      return cut((system or "") .. (text_at(text, message.content) or ""))
    elseif (role == "system" or role == "developer") and not system then
      system = text_at(text, message.content)
    end
  end
  return cut((system or "") .. (text_at(text, record.prompt or record.input) or ""))
end

-- Returns how many prompts the valid JSON list `text` has. A list of numbers is one prompt: its tokens.
local function prompts(text)
  local inside = gsub(gsub(sub(text, 2, -2), "\\.", ""), '"[^"]*"', '"')
  inside = gsub(gsub(inside, "%b[]", "["), "%b{}", "{")
  if not find(inside, '["%[{]') then
    return 1
  end
  local _, commas = gsub(inside, ",", "")
  return commas + 1
end

-- Returns whether some parser takes a key for one of `known`.
local function other_spelling(record, known)
  for key in pairs(record) do
    if find(key, "[%u\xC5\xE2]") and known[folded(key)] then
      return true
    end
  end
  return false
end

-- Returns the fields of a request's body; nil and the reason if it is refused.
function M.check(body, is_text, pause)
  local record, text = json.read(body, is_text, pause)
  if not record then
    return nil, text
  end
  local options = record.options and record.options[4] or {}
  if other_spelling(record, KNOWN) or other_spelling(options, KNOWN_OPTIONS) then
    return nil, "key_case"
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
    fields.prompt_head = prompt_head(text, record)
  end
  if record.prompt and byte(text, record.prompt[1]) == OPEN_LIST then
    fields.prompts = prompts(sub(text, record.prompt[1], record.prompt[2] - 1))
  end
  return fields
end

return M
