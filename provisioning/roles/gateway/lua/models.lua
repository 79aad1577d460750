-- Names of models: what one means, which a client may use, and GET /v1/models of several pools: no single engine knows them all.

local answers = require("answers")
local policy = require("policy")
local waits = require("waits")

local M = {}

-- Sets the variables of a request for `name`, whose class is set. Returns its pool.
function M.aim(txn, name, fields)
  local model = policy.models[name]
  local pool = policy.pools[model.pool]
  txn:set_var("txn.model", name)
  txn:set_var("txn.adapter", model.adapter)
  txn:set_var("txn.pool", pool.name)
  txn:set_var("txn.counted_as", waits.counted_as(pool, txn:get_var("txn.class"), txn:get_var("txn.client")))
  if #pool.servers > 1 then
    txn:set_var("txn.head", txn.c:xxh64(model.adapter .. "\0" .. (fields.prompt_head or "")))
  end
  return pool
end

-- Returns the names that a client may use.
function M.names(client)
  local known = {}
  for _, name in ipairs(policy.names) do
    if not client.models or client.models[policy.models[name].name] then
      known[#known + 1] = name
    end
  end
  return known
end

-- Answers GET /v1/models with all names, in the engines' shape; does not return.
function M.list(txn)
  local rows = {}
  for _, name in ipairs(policy.names) do
    local owner = policy.pools[policy.models[name].pool].owned_by
    rows[#rows + 1] = ('{"id":%s,"object":"model","created":0,"owned_by":%s}'):format(answers.quoted(name), answers.quoted(owner))
  end
  txn:set_var("txn.decision", "served")
  local reply = txn:reply({ status = 200, reason = "OK" })
  reply:add_header("Content-Type", "application/json")
  reply:set_body('{"object":"list","data":[' .. table.concat(rows, ",") .. "]}")
  txn:done(reply)
end

-- Returns the pool that answers a GET without a name. Of several pools that is one with Ollama's own API: /api/tags.
function M.pool_of_get()
  for _, pool in ipairs(policy.pools) do
    if pool.native_api then
      return pool
    end
  end
  return policy.pools[1]
end

return M
