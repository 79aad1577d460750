-- Decides whether a request may go to a provider, by the class of its data. What is not allowed here stays.

local places = require("places")
local policy = require("policy")

local M = {}

local RANK = { public = 1, internal = 2, sensitive = 3 }

M.BACKEND = "overflow"

local function stricter(one, other)
  return RANK[one] >= RANK[other] and one or other
end

-- Returns the class of a request's data: the strictest of the client's and of all headers X-Data-Class. A word that is
-- none of the classes counts as sensitive.
function M.class(txn)
  local class = policy.data[txn:get_var("txn.client") or ""] or "sensitive"
  if txn.f:req_fhdr_cnt("x-data-class") == 0 then
    return class -- to make a table of all headers takes ten times as long
  end
  local given = txn.http:req_get_headers()["x-data-class"] or {}
  for _, word in pairs(given) do
    class = stricter(class, RANK[word] and word or "sensitive")
  end
  return class
end

-- Returns whether a request for the model `name` may go to a provider, and the service that sends it has a place.
function M.may(txn, name)
  local overflow = policy.overflow
  if not (overflow and name and overflow.models[name] and overflow.paths[txn:get_var("txn.path") or ""]) then
    return false
  end
  if not (overflow.classes[txn:get_var("txn.data") or ""] and overflow.clients[txn:get_var("txn.client") or ""]) then
    return false
  end
  local up = txn.f:srv_is_up(M.BACKEND .. "/" .. M.BACKEND)
  return places.is_true(up) and txn.f:be_conn(M.BACKEND) < overflow.max_requests
end

return M
