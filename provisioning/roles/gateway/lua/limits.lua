-- The limits of a client: models, size of a request, requests and tokens a minute.

local answers = require("answers")
local places = require("places")

local M = {}

local MINUTE_S = 60
local TOKENS = { "max_tokens", "max_completion_tokens", "max_output_tokens", "options.num_predict" }
local ANSWERS = { "n", "best_of" }
local buckets = {} -- by client and kind; a reload begins with full ones

local function bad(txn, code, message)
  return answers.refuse(txn, 400, "invalid_request_error", code, message)
end

-- Returns the number of a field; nil if it is missing or null. Answers 400 if it is something else.
local function number_of(txn, fields, name)
  local field = fields[name]
  if not field or field.type == "null" then
    return nil
  end
  if field.type ~= "number" then
    return bad(txn, "invalid_number", "`" .. name .. "` must be a number.")
  end
  return field.value
end

-- Returns the longest answer that the body names, in tokens; nil if it names none. Ollama takes -1 for endless.
local function asked_tokens(txn, fields)
  local most
  for _, name in ipairs(TOKENS) do
    local value = number_of(txn, fields, name)
    if value then
      most = math.max(most or 0, value < 0 and math.huge or value)
    end
  end
  return most
end

-- Refuses a request that is larger than its client's caps. Returns the tokens that it may take at most.
function M.size(txn, client, pool, fields)
  local asked, many = asked_tokens(txn, fields), 1
  if client.max_tokens and asked and asked > client.max_tokens then
    return bad(txn, "max_tokens_too_large", ("Your answers have at most %d tokens. Write a smaller max_tokens."):format(client.max_tokens))
  end
  for _, name in ipairs(ANSWERS) do
    local value = number_of(txn, fields, name)
    if value then
      many = math.max(many, value)
      if client.n and value > client.n then
        return bad(txn, "n_too_large", ("You may ask for at most %d answers at once. Write a smaller %s."):format(client.n, name))
      end
    end
  end
  local bytes = fields.prompt_bytes or 0
  if client.prompt_kib and bytes > client.prompt_kib * 1024 then
    return bad(txn, "prompt_too_large", ("Your prompts have at most %d KiB."):format(client.prompt_kib))
  end
  if client.max_tokens and not asked then
    if pool.engine == "vllm" then
      txn:set_var("txn.max_tokens", client.max_tokens)
    else
      return bad(txn, "max_tokens_required", ("Write max_tokens (in Ollama's own API options.num_predict), at most %d."):format(client.max_tokens))
    end
  end
  local answer = math.min(asked or client.max_tokens or pool.context_tokens, pool.context_tokens)
  return math.ceil(bytes / 4) + answer * many
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

-- Refuses a request beyond its client's rates; returns a function that counts it.
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
  return function()
    for found, amount in pairs(taken) do
      found.level = found.level - amount
    end
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
