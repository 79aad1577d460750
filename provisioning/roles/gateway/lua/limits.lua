-- The limits of a client: models, size of a request, requests and tokens a minute.

local answers = require("answers")
local places = require("places")

local M = {}

local MINUTE_S = 60
local LARGEST = (1 << 31) - 1 -- larger numbers are no lengths, and engines read them differently
local MOST_TOKENS = (1 << 53) - 1
local ANSWERS = { "n", "best_of" }
local buckets = {} -- by client and kind; a reload begins with full ones

local function bad(txn, code, message)
  return answers.refuse(txn, 400, "invalid_request_error", code, message)
end

-- The keys in which an engine reads how long an answer may be. It ignores those of other paths, so they limit nothing.
-- No key: the answer has no text. Each path that gets a body is here: one that is not is an error, which refuses it.
local LENGTHS = {
  ["/v1/chat/completions"] = { "max_tokens", "max_completion_tokens" },
  ["/v1/completions"] = { "max_tokens" },
  ["/v1/messages"] = { "max_tokens" },
  ["/v1/messages/count_tokens"] = {},
  ["/v1/responses"] = { "max_output_tokens" },
  ["/v1/embeddings"] = {},
  ["/api/chat"] = { "options.num_predict" },
  ["/api/generate"] = { "options.num_predict" },
}
local OLLAMA_LENGTHS = { ["/v1/chat/completions"] = { "max_tokens" } }

-- Returns the keys of LENGTHS that the engine reads in this request.
local function lengths(txn, pool)
  local path = txn:get_var("txn.path")
  return pool.engine == "ollama" and OLLAMA_LENGTHS[path] or LENGTHS[path]
end

-- Returns the whole number of a field; nil if it is missing or null. Answers 400 if it is something else.
local function number_of(txn, fields, name)
  local field = fields[name]
  if not field or field.type == "null" then
    return nil
  end
  local value = field.type == "number" and math.tointeger(field.value)
  if not value or value > LARGEST or value < -LARGEST then
    return bad(txn, "invalid_number", "`" .. name .. "` must be a whole number, and not as large.")
  end
  return value
end

-- Returns the longest answer that the body allows, in tokens; nil if it names none. Ollama takes 0 and less for endless.
local function asked_tokens(txn, fields, names)
  local most
  for _, name in ipairs(names) do
    local value = number_of(txn, fields, name)
    if value then
      most = math.max(most or 0, value < 1 and math.huge or value)
    end
  end
  return most
end

-- Refuses a request that asks for more answers than its client's cap. Returns how many it asks for: a list of prompts gets
-- `n` for each.
local function answers_of(txn, caps, fields)
  local many, prompts = 1, fields.prompts or 1
  for _, name in ipairs(ANSWERS) do
    local value = number_of(txn, fields, name)
    if value then
      many = math.max(many, value)
      if caps.n and value > caps.n then
        return bad(txn, "n_too_large", ("You may ask for at most %d answers at once. Write a smaller %s."):format(caps.n, name))
      end
    end
  end
  if caps.n and many * prompts > caps.n then
    return bad(txn, "n_too_large", ("You may ask for at most %d answers at once. Send fewer prompts."):format(caps.n))
  end
  return many * prompts
end

-- Returns whether a client has caps of its own for a model.
function M.are_special(client, model)
  return client.caps_of ~= nil and client.caps_of[model.name] ~= nil
end

-- Refuses a request that is larger than its client's caps for the model. Returns the tokens that it may take at most.
function M.size(txn, client, model, pool, fields)
  local caps = M.are_special(client, model) and client.caps_of[model.name] or client
  local names, bytes = lengths(txn, pool), fields.prompt_bytes or 0
  local asked, many = asked_tokens(txn, fields, names), answers_of(txn, caps, fields)
  if caps.max_tokens and asked and asked > caps.max_tokens then
    local message = "Your answers have at most %d tokens. Write %s from 1 to that number."
    return bad(txn, "max_tokens_too_large", message:format(caps.max_tokens, names[1]))
  end
  if caps.prompt_kib and bytes > caps.prompt_kib * 1024 then
    return bad(txn, "prompt_too_large", ("Your prompts have at most %d KiB."):format(caps.prompt_kib))
  end
  local tokens = math.ceil(bytes / 4)
  if not names[1] then
    return tokens
  end
  if caps.max_tokens and pool.engine == "vllm" then
    txn:set_var("txn.max_tokens", caps.max_tokens) -- vLLM takes the smaller one of this and the body's
  elseif caps.max_tokens and not asked then
    return bad(txn, "max_tokens_required", ("Write %s, at most %d."):format(names[1], caps.max_tokens))
  end
  local answer = math.min(asked or caps.max_tokens or pool.context_tokens, pool.context_tokens)
  return math.min(MOST_TOKENS, tokens + answer * 1.0 * many) // 1 -- a whole number would wrap around
end

-- Returns the bucket of a limit for each minute, filled up to now: full after a minute without requests.
local function bucket(name, kind, limit)
  local key, now = kind .. " " .. name, places.seconds()
  local found = buckets[key]
  if not found then
    found = { level = limit, at = now }
    buckets[key] = found
  end
  found.level = math.min(limit, found.level + (now - found.at) * limit / MINUTE_S)
  found.at = now
  return found
end

local function beyond(txn, code, message, missing, limit)
  return answers.refuse(txn, 429, "rate_limit_error", code, message, math.max(1, math.ceil(missing * MINUTE_S / limit)))
end

local function nothing() end

-- Counts a request against its client's rates, and refuses one beyond them; returns a function that takes the count back.
function M.rates(txn, name, client, tokens)
  if not (client.requests_per_minute or client.tokens_per_minute) then
    return nothing
  end
  local taken = {}
  for kind, amount in pairs({ requests = 1, tokens = tokens }) do
    local limit = client[kind .. "_per_minute"]
    if limit then
      if amount > limit then
        return bad(txn, "request_above_rate", ("This request may take %d tokens, and you have %d a minute. Write a smaller max_tokens."):format(amount, limit))
      end
      local found = bucket(name, kind, limit)
      if found.level < amount then
        return beyond(txn, kind .. "_per_minute", ("You have used your %d %s a minute."):format(limit, kind), amount - found.level, limit)
      end
      taken[found] = amount
    end
  end
  local function change(sign)
    for found, amount in pairs(taken) do
      found.level = found.level + sign * amount
    end
  end
  change(-1) -- before any wait, in which other requests come
  return function()
    change(1)
  end
end

-- Refuses a request of a client that has its most requests at the same time.
function M.at_once(txn, client)
  if client.max_concurrency and txn.f:sc1_conn_cur() > client.max_concurrency then
    local message = ("You have %d requests at the same time already."):format(client.max_concurrency)
    return answers.refuse(txn, 429, "rate_limit_error", "too_many_at_once", message, 1)
  end
end

return M
