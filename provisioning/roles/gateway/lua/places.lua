-- Picks the host of a pool that computes a request, so that prefix caches and loaded adapters are used again.
--
-- The home of a request is the host with the highest hash of (adapter, beginning of the prompt, host): rendezvous
-- hashing. A home without a free place is passed over for the least loaded host that has one. If no host has, the
-- request waits in HAProxy's queue of the pool, and whichever host is free first takes it. Only if not all hosts have
-- the adapter, it waits for one that has.
--
-- A host that has just come back has a smaller share of its weight: for that share it counts as full, and requests go
-- elsewhere while another host has a free place.
--
-- A call of `choose` takes far less than the 10,000 instructions after which HAProxy may run another request, and
-- HAProxy gives the place away in the same pass: no two requests see the same free place.

local answers = require("answers")
local policy = require("policy")

local M = {}

local UNSURE_S = 0.1
local FULL_WEIGHT = 100

local function seconds()
  local now = core.now()
  return now.sec + now.usec / 1e6
end
M.seconds = seconds

-- Returns a hash of a host's name: FNV-1a.
local function hash(text)
  local value = 0xcbf29ce484222325
  for index = 1, #text do
    value = (value ~ text:byte(index)) * 0x100000001b3
  end
  return value & 0x7fffffffffffffff
end

-- Returns the weight of a host for a request. A 64-bit finalizer (MurmurHash3) spreads neighbouring hashes.
local function weight(head, seed)
  local value = head ~ seed
  value = (value ~ (value >> 33)) * 0xff51afd7ed558ccd
  value = (value ~ (value >> 33)) * 0xc4ceb9fe1a85ec53
  return (value ~ (value >> 33)) & 0x7fffffffffffffff
end

for _, pool in ipairs(policy.pools) do
  policy.pools[pool.name] = pool
  for _, server in ipairs(pool.servers) do
    server.seed = hash(server.name)
  end
end

-- Returns what HAProxy calls a server. It writes into the string, so each call needs a new one.
local function path(pool, server)
  return pool.name .. "/" .. server.name
end

local function is_true(value)
  return value == true or value == 1
end
M.is_true = is_true

-- Returns how many places of its present share a host has free.
local function free_of_share(each)
  return math.ceil(each.server.places * each.share) - each.running - each.behind
end

-- Returns whether a host takes requests: a provision of it has succeeded, it is up, and nobody drains it.
local function takes(txn, pool, server)
  if not (next(server.names) and is_true(txn.f:srv_is_up(path(pool, server)))) then
    return false
  end
  return not is_true(core.backends[pool.name].servers[server.name]:is_draining())
end

-- Returns whether a host of the pool takes requests for the served name `name`; nil: for any.
function M.any_takes(txn, pool, name)
  local model = policy.models[name or ""]
  for _, server in ipairs(pool.servers) do
    if (not model or server.names[model.name]) and takes(txn, pool, server) then
      return true
    end
  end
  return false
end

-- Returns how many places may be taken though no connection shows it: a request that HAProxy took out of the queue
-- counts as connected only when its own turn to run has come. 0 if none has waited lately.
local function unseen(txn, pool, waiting, connected)
  if not pool.waited then
    return 0
  end
  if waiting > 0 then
    pool.empty_since = nil
  else
    pool.empty_since = pool.empty_since or seconds()
    if seconds() - pool.empty_since > UNSURE_S then
      pool.waited, pool.empty_since = false, nil
      return 0
    end
  end
  return math.max(0, txn.f:be_conn(pool.name) - waiting - connected)
end

-- Sets txn.server if a certain host shall compute the request. Otherwise HAProxy's `balance leastconn` picks a host with a
-- free place, or the request waits in the pool's queue. Sets txn.bound if other hosts of the pool lack the model.
-- Returns whether a place is free.
local function choose(txn)
  local model = policy.models[txn:get_var("txn.model") or ""]
  local pool = policy.pools[model and model.pool or txn:get_var("txn.pool")] -- without a model: a GET
  if not model or #pool.servers == 1 then
    return txn.f:be_conn(pool.name) < pool.places
  end
  local name = model.name
  local head = txn:get_var("txn.head")
  local able, everyone, connected = {}, true, 0
  for _, server in ipairs(pool.servers) do
    local running, behind = txn.f:srv_conn(path(pool, server)), txn.f:srv_queue(path(pool, server))
    connected = connected + running
    if not server.names[name] then
      everyone = everyone and not next(server.names) -- one that is away now may come back while the request waits
    elseif takes(txn, pool, server) then
      able[#able + 1] = { server = server, running = running, behind = behind, weight = weight(head, server.seed) }
    end
  end
  if #able == 0 then
    return answers.refuse(txn, 503, "server_error", "engine_unavailable", "The engine is not ready.", policy.retry_after_s)
  elseif not everyone then
    txn:set_var("txn.bound", true)
  end
  local waiting = txn.f:queue(pool.name)
  local hidden = unseen(txn, pool, waiting, connected)
  local home, least
  for _, each in ipairs(able) do
    each.free = each.server.places - each.running - each.behind
    each.share = txn.f:srv_weight(path(pool, each.server)) / FULL_WEIGHT
    each.load = (each.running + each.behind) / (each.server.places * each.share)
    if not home or each.weight > home.weight then
      home = each
    end
    if not least or each.load < least.load or (each.load == least.load and each.weight > least.weight) then
      least = each
    end
  end
  if home and math.min(home.free, free_of_share(home)) > hidden then
    txn:set_var("txn.server", home.server.name)
    return true
  elseif least and (least.free > hidden or not everyone) then
    txn:set_var("txn.server", least.server.name)
    pool.waited = pool.waited or least.free <= hidden
    return least.free > hidden
  end
  pool.waited = true
end

-- The action lua.choose. Returns whether a place is free.
function M.choose(txn)
  local is_free = choose(txn)
  txn:set_var("txn.chosen_at", math.floor(seconds() * 1000)) -- only if no error came before
  return is_free
end

return M
