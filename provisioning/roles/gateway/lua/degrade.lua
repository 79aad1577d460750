-- While too many wait: another model answers, or answers are shorter. policy.degrade says for which model, and when.

local limits = require("limits")
local models = require("models")
local places = require("places")
local policy = require("policy")
local waits = require("waits")

local M = {}

-- Returns the pool of a rule's other model, if this client may use it instead of the model `name`.
local function pool_of(rule, client, name)
  local model = policy.models[rule.to]
  if not model or (client.models and not client.models[model.name]) then
    return
  end
  -- With caps of its own, a request that is small enough for one model may be too large for the other.
  if not limits.are_special(client, model) and not limits.are_special(client, policy.models[name]) then
    return policy.pools[model.pool]
  end
end

-- Lets the model of a rule answer. The body keeps the name that the client wrote: vLLM takes the one in the header.
local function switch(txn, request, rule)
  request.pool = models.aim(txn, rule.to, request.fields)
  txn:set_var("txn.answered_by", rule.to)
  txn:set_var("txn.degraded", "model")
end

-- Returns whether the other pool's context surely holds a request. A token has a byte at least.
local function context_holds(pool, request)
  local bytes = request.fields.prompt_bytes or 0
  local most = request.tokens - math.ceil(bytes / 4) + bytes
  return pool.context_tokens >= request.pool.context_tokens or most <= pool.context_tokens
end

-- Sends a request to another pool, if the config says so for this wait, and the wait there is shorter and is allowed.
-- Returns whether it did.
function M.to_other_pool(txn, client, request)
  local rule = policy.degrade[request.name]
  local pool = rule and rule.to and pool_of(rule, client, request.name)
  if not pool or pool == request.pool or not places.any_takes(txn, request.pool, request.name) then
    return false
  end
  local wait = waits.estimate_s(txn, request.pool, request.class)
  if wait <= rule.above_wait_s or not places.any_takes(txn, pool, rule.to) or not context_holds(pool, request) then
    return false
  end
  local there = waits.estimate_s(txn, pool, request.class)
  if there >= math.min(wait, policy.deadlines_s[request.class]) or waits.full(txn, pool, client) then
    return false
  end
  switch(txn, request, rule)
  return true
end

-- Lets another model of the same pool answer, or the engine give a shorter answer, if the config says so for this wait.
function M.within_pool(txn, client, request, wait_s)
  local rule = policy.degrade[request.name]
  if not rule or wait_s <= rule.above_wait_s then
    return
  end
  if rule.to then
    if pool_of(rule, client, request.name) == request.pool and places.any_takes(txn, request.pool, rule.to) then
      switch(txn, request, rule)
    end
    return
  end
  local most = txn:get_var("txn.max_tokens")
  txn:set_var("txn.max_tokens", math.min(rule.max_tokens, most or rule.max_tokens))
  txn:set_var("txn.degraded", "length")
end

return M
