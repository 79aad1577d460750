-- How long a request would wait, and who may wait: estimates, classes, shares, and the wait for an engine's start.

local places = require("places")
local policy = require("policy")

local M = {}

local LOOK_MS = 250 -- between two looks at HAProxy's counters
local MEMORY_S = 30 -- how far back the time for a request looks
local ROOM_MS, LONGEST_ROOM_MS = 200, 1000 -- between two looks of a request that waits for an engine
local GONE_S = 2 -- without a look: the client of such a request hung up
local START_S = 60 -- expected time of a start, until one was seen
local LEAST_SHARE = 0.001
local PROMISED = 0.8 -- of the places for those that come again; new requests find the rest
local LATEST_TURN_S = 600 -- whoever gives up leaves a turn empty: nobody waits longer for turns that none may take

local FULL = {
  share_exceeded = "You have more than your share of the requests while others wait.",
  queue_full = "Too many requests are waiting.",
}

-- Returns a refusal. Its request may still go to a provider, unless `stays` is set.
local function busy(code, message, retry_after_s)
  return { status = 429, kind = "rate_limit_error", code = code, message = message, retry_after_s = retry_after_s }
end

-- Returns the requests that run at a pool's hosts, and the places of those that are up. From 2.8 on Lua has functions for
-- both, and get_stats fails in 2.8.0.
local function counted(pool)
  local backend, running, up = core.backends[pool.name], 0, 0
  for _, server in ipairs(pool.servers) do
    local its = backend.servers[server.name]
    if its.get_cur_sess then
      running = running + its:get_cur_sess()
    else
      local stats = its:get_stats()
      running = running + stats.scur
      up = up + (tostring(stats.status):sub(1, 2) == "UP" and server.places or 0)
    end
  end
  if backend.get_srv_act then
    up = backend:get_srv_act() * pool.places // #pool.servers
  end
  return running, up
end

-- Notes for each pool the seconds that a request takes: the requests that ran, in request-seconds, by the answers that
-- began. The averages in HAProxy's statistics count the silence of a client that keeps its connection.
local function look(pool, seconds)
  local running, up = counted(pool)
  local fade = running > 0 and math.exp(-seconds / MEMORY_S) or 1 -- an idle pool forgets nothing
  local new = pool.begun or 0
  pool.begun = 0
  pool.ran_s = (pool.ran_s or 0) * fade + running * seconds
  pool.done, pool.known = (pool.done or 0) * fade + new, pool.known or new > 0
  pool.up = up
  local now = places.seconds()
  if up == 0 then
    pool.down_since = pool.down_since or now
  elseif pool.down_since then
    pool.start_s, pool.down_since = now - pool.down_since, nil
  end
end

core.register_task(function()
  local before = places.seconds()
  while true do
    core.msleep(LOOK_MS)
    local now = places.seconds()
    for _, pool in ipairs(policy.pools) do
      look(pool, now - before)
    end
    before = now
  end
end)

-- The action lua.begun, when an engine's answer begins.
function M.begun(txn)
  local pool = txn:get_var("txn.class") and policy.pools[txn:get_var("txn.pool") or ""]
  if pool then
    pool.begun = (pool.begun or 0) + 1
  end
end

-- Returns the seconds until the next place of the pool is free when all are taken; nil before a request has ended.
local function step_s(pool)
  if pool.known then
    return pool.ran_s / math.max(0.5, pool.done) / math.max(1, pool.up or 0)
  end
end

-- Returns when a refused client may come again: its refused requests get their turns one after another. While several
-- clients have turns, each has as many as its share, so that one that never waits for its turn delays itself alone.
local function turn_s(pool, client, beyond_s, step)
  if not step then
    return policy.retry_after_s
  end
  local now, own = places.seconds(), math.max(client.share, LEAST_SHARE)
  local turns, shares = pool.turns or {}, own
  pool.turns = turns
  for other, turn in pairs(turns) do
    if turn <= now then
      turns[other] = nil
    elseif other ~= client then
      shares = shares + other.share
    end
  end
  local each = step / PROMISED * shares / own
  turns[client] = math.min(math.max(turns[client] or 0, now + beyond_s) + each, now + LATEST_TURN_S)
  return math.max(1, math.ceil(turns[client] - now))
end

-- Returns the key of the table `classes`, which counts a client's requests of a class in a pool. Those without a class are GETs.
function M.counted_as(pool, class, client_name)
  return pool.name .. "/" .. (class or "none") .. "/" .. client_name
end

local function count(txn, pool, class, client_name)
  return txn.c:table_conn_cur(M.counted_as(pool, class, client_name), "classes")
end

-- Returns how many other requests a request's client has in a pool.
local function others_of_client(txn, pool)
  local name = txn:get_var("txn.client")
  return count(txn, pool, "interactive", name) + count(txn, pool, "batch", name) + count(txn, pool, nil, name)
end

-- Returns how many requests of a class a pool has, or `enough` if it has more.
local function of_class(txn, pool, class, enough)
  local found = 0
  for name in pairs(policy.clients) do
    if found >= enough then
      return enough
    end
    found = found + count(txn, pool, class, name)
  end
  return math.min(found, enough)
end

-- Returns the seconds that a request of `class` would wait. Interactive requests wait behind each other, batch behind all.
function M.estimate_s(txn, pool, class)
  local waiting, step = txn.f:queue(pool.name), step_s(pool)
  if not step or (waiting == 0 and txn.f:be_conn(pool.name) < (pool.up or pool.places)) then
    return 0
  end
  if class == "interactive" then
    waiting = of_class(txn, pool, class, waiting)
  end
  return (waiting + 1) * step
end

-- Returns the refusal while no host takes requests.
function M.no_engine(pool)
  local rest = policy.retry_after_s
  if policy.no_engine_wait_s > 0 and pool.down_since then
    rest = math.max(1, math.ceil((pool.start_s or START_S) - (places.seconds() - pool.down_since)))
  end
  local refusal = busy("engine_unavailable", "The engine is not ready.", rest)
  refusal.status, refusal.kind = 503, "server_error"
  return refusal
end

-- The requests of a pool that wait for an engine: how many, how many of each client, and when each looked last.
local function room_of(pool)
  pool.room = pool.room or { count = 0, of = {}, waiters = {} }
  return pool.room
end

local function enter(room, waiter)
  room.waiters[waiter] = true
  room.count, room.of[waiter.client] = room.count + 1, (room.of[waiter.client] or 0) + 1
end

local function leave(room, waiter)
  if room.waiters[waiter] then
    room.waiters[waiter] = nil
    room.count, room.of[waiter.client] = room.count - 1, room.of[waiter.client] - 1
  end
end

-- Forgets the requests whose clients hung up: HAProxy ends their Lua without a word.
core.register_task(function()
  while true do
    core.msleep(1000 * GONE_S)
    local now = places.seconds()
    for _, pool in ipairs(policy.pools) do
      local room = room_of(pool)
      for waiter in pairs(room.waiters) do
        if now - waiter.seen > GONE_S then
          leave(room, waiter)
        end
      end
    end
  end
end)

-- Returns whether one more request of the client may wait for an engine: by the rules of the queue.
local function has_room(room, client)
  local mine = room.of[client] or 0
  local above = policy.several and mine + 1 > math.max(1, client.share * policy.max_queue)
  if above and mine < room.count then
    return false
  end
  return room.count < (above and policy.max_queue or policy.longest_queue)
end

-- Waits until a host takes requests for the model `name`. Returns a refusal if that takes too long, or if too many wait. A
-- process that a reload replaces checks no engine any more: its waiting requests come again, to the new process.
function M.for_engine(txn, pool, client, name)
  if places.any_takes(txn, pool, name) then
    return
  end
  local room, began = room_of(pool), places.seconds()
  local waiter = { client = client, class = txn:get_var("txn.class") or "interactive", seen = began }
  if policy.no_engine_wait_s == 0 or not has_room(room, client) then
    return M.no_engine(pool)
  end
  repeat
    waiter.seen = places.seconds()
    if not room.waiters[waiter] then
      enter(room, waiter) -- again, if HAProxy was so busy that it was taken for gone
    end
    core.msleep(math.min(math.max(ROOM_MS, room.count), LONGEST_ROOM_MS)) -- all of them look 1,000 times a second at most
    local may_go, stops = places.any_takes(txn, pool, name), places.is_true(txn.f:stopping())
  until may_go or stops or places.seconds() - began >= policy.no_engine_wait_s
  leave(room, waiter)
  if not places.any_takes(txn, pool, name) then
    local refusal = M.no_engine(pool)
    refusal.retry_after_s = places.is_true(txn.f:stopping()) and 1 or refusal.retry_after_s
    return refusal
  end
end

-- Returns how many requests wait for an engine of the pool, by class.
function M.in_room(pool)
  local counts, now = {}, places.seconds()
  for waiter in pairs(room_of(pool).waiters) do
    if now - waiter.seen <= GONE_S then
      counts[waiter.class] = (counts[waiter.class] or 0) + 1
    end
  end
  return counts
end

-- Returns why a pool takes no request of a client now: its queue has no place, or the client has more than its share while
-- others wait. Changes nothing.
function M.full(txn, pool, client)
  local system, most = txn.f:be_conn(pool.name), pool.places + policy.max_queue
  local before = policy.several and others_of_client(txn, pool) or 0
  local above = policy.several and before + 1 > math.max(1, client.share * most)
  if above and system > before and txn.f:queue(pool.name) > 0 then
    return "share_exceeded"
  end
  return system >= (above and most or pool.places + policy.longest_queue) and "queue_full" or nil
end

-- Returns a refusal if the pool is full, and moves the client's turn.
function M.queue(txn, pool, client)
  local code = M.full(txn, pool, client)
  if code then
    local refusal = busy(code, FULL[code], turn_s(pool, client, 0, step_s(pool)))
    refusal.stays = code == "share_exceeded"
    return refusal
  end
end

-- Returns a refusal if a request would wait longer than its class lets it, and the estimated wait. A request that finds a
-- free place ends all turns: those who have them may come at once as well.
function M.deadline(txn, pool, client, class)
  local wait, deadline = M.estimate_s(txn, pool, class), policy.deadlines_s[class]
  if wait == 0 then
    pool.turns = nil
  end
  if wait > deadline then
    local retry = turn_s(pool, client, wait - deadline, step_s(pool))
    return busy("would_wait_too_long", ("The request would wait about %d s."):format(math.ceil(wait)), retry)
  end
  return nil, wait
end

-- Puts a request in its order: batch behind what comes within the aging, and the more a client has, the further back.
function M.order(txn, pool, client, class)
  local back = class == "batch" and policy.aging_s * 1000 or 0
  local step = step_s(pool)
  if step and policy.several then
    back = back + math.min(policy.fair_ms, others_of_client(txn, pool) / (client.share * policy.several) * step * 1000)
  end
  txn:set_priority_offset(math.floor(back))
  if back > 0 then
    txn:set_var("txn.back_ms", math.floor(back))
  end
end

return M
