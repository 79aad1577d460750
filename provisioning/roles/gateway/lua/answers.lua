-- Answers to requests that the gateway refuses, in the shape of OpenAI's errors.

local M = {}

local REASONS = { [400] = "Bad Request", [404] = "Not Found", [429] = "Too Many Requests", [503] = "Service Unavailable" }

-- Returns `text` as JSON.
function M.quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(letter)
    return ("\\u%04x"):format(letter:byte())
  end) .. '"'
end

-- Ends the request with an error; does not return. `retry_after_s` becomes a header.
function M.refuse(txn, status, kind, code, message, retry_after_s)
  txn:set_var("txn.decision", "refused")
  txn:set_var("txn.reason", code)
  local reply = txn:reply({ status = status, reason = REASONS[status] })
  reply:add_header("Content-Type", "application/json")
  if retry_after_s then
    reply:add_header("Retry-After", tostring(retry_after_s))
  end
  reply:set_body(
    ('{"error":{"message":%s,"type":%s,"param":null,"code":%s}}'):format(M.quoted(message), M.quoted(kind), M.quoted(code))
  )
  txn:done(reply)
end

return M
