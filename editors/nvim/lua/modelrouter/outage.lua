--- When the server does not answer: how long to leave it alone, and what to say once. Pure.
--- It reads no clock; the caller says what time it is.

local M = {}

local FIRST_WAIT_MS = 1000
local LONGEST_WAIT_MS = 60000

---@class modelrouter.Outage
---@field said string|nil what the user has been told, until the server answers again
---@field private wait_ms integer
---@field private next_ms number when to try again
local Outage = {}
Outage.__index = Outage

---@return modelrouter.Outage
function M.new()
  return setmetatable({ wait_ms = 0, next_ms = 0 }, Outage)
end

--- Say whether a request may be tried at this time.
---@param now_ms number
---@return boolean
function Outage:may_try(now_ms)
  return now_ms >= self.next_ms
end

--- Return what to tell the user of a failure.
---@param failure modelrouter.Failure
---@return string
function M.words_for(failure)
  if failure.status == 401 or failure.status == 403 then
    return "API key needed: set $MODELROUTER_API_KEY or `api_key`"
  elseif failure.kind == "unreachable" then
    return failure.message .. ": run `modelrouter serve`"
  end
  return failure.message
end

--- Note a failure; return what to tell the user, nil where that has been said.
--- Busy servers (429, 503) are left alone as long as they wish, and not talked about.
---@param failure modelrouter.Failure
---@param now_ms number
---@return string|nil
function Outage:failed(failure, now_ms)
  self.wait_ms = math.min(math.max(FIRST_WAIT_MS, 2 * self.wait_ms), LONGEST_WAIT_MS)
  self.next_ms = now_ms + math.max(self.wait_ms, (failure.retry_after_seconds or 0) * 1000)
  local words = M.words_for(failure)
  if failure.retry_after_seconds or words == self.said then
    return nil
  end
  self.said = words
  return words
end

--- Note an answer: all is well again.
function Outage:answered()
  self.wait_ms, self.next_ms, self.said = 0, 0, nil
end

return M
