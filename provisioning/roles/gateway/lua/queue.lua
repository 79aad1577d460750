-- Says how many requests wait, by class. HAProxy counts the requests in a pool's queue, but not by class.
--
-- A request that finds no free place notes its class and its place in the order, and is forgotten when it ends. HAProxy takes
-- the first in the order out of the queue. So of the noted requests the last ones wait, as many as HAProxy counts.

local places = require("places")
local policy = require("policy")
local waits = require("waits")

local M = {}

local CLASSES = { "interactive", "batch" }

local number = 0
local noted = {} -- requests that may wait, by number
local orders = {} -- the same by pool, in their order

for _, pool in ipairs(policy.pools) do
  orders[pool.name] = {}
end

-- Forgets those that HAProxy took out of a pool's queue, where `waiting` remain.
local function trim(order, waiting)
  local taken = #order - waiting
  if taken > 0 then
    for index = 1, taken do
      noted[order[index].number] = nil
    end
    table.move(order, taken + 1, #order, 1)
    for index = #order, #order - taken + 1, -1 do
      order[index] = nil
    end
  end
end

-- Notes a request that goes to the queue of its pool now.
function M.came(txn)
  local order = orders[txn:get_var("txn.pool") or ""]
  if not order then
    return
  end
  trim(order, txn.f:queue(txn:get_var("txn.pool")))
  number = number + 1
  local mine = {
    number = number,
    order = order,
    class = txn:get_var("txn.class") or "interactive",
    at = places.seconds() + (txn:get_var("txn.back_ms") or 0) / 1000,
  }
  local index = #order + 1
  while index > 1 and order[index - 1].at > mine.at do
    index = index - 1
  end
  table.insert(order, index, mine)
  noted[number] = mine
  txn:set_var("txn.number", number)
end

-- Forgets the request that has this number and has ended: it may have waited until then.
function M.ended(its_number)
  local mine = noted[its_number]
  if mine then
    noted[mine.number] = nil
    for index, each in ipairs(mine.order) do
      if each == mine then
        table.remove(mine.order, index)
        return
      end
    end
  end
end

-- Returns the text of the metrics: those that wait for a place, and those that wait for an engine.
function M.metrics(fetches)
  local lines = { "# TYPE llm_waiting_requests gauge" }
  for _, pool in ipairs(policy.pools) do
    trim(orders[pool.name], fetches:queue(pool.name))
    local counts = waits.in_room(pool)
    for _, each in ipairs(orders[pool.name]) do
      counts[each.class] = (counts[each.class] or 0) + 1
    end
    for _, class in ipairs(CLASSES) do
      lines[#lines + 1] = ('llm_waiting_requests{class="%s",pool="%s"} %d'):format(class, pool.name, counts[class] or 0)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
