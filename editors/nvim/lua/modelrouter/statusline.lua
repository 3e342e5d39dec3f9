--- The words for a status line: which model, how fast, from the cache or not. Pure.

local M = {}

---@param entry modelrouter.LogEntry
---@return string
local function answered(entry)
  local how = entry.cache == "hit" and "cached" or ("%.0f ms"):format(entry.ms)
  return ("%s %s"):format(entry.model or "?", how)
end

--- Return a few words: "smollm2 120 ms", "smollm2 cached", "asking", "off", "no answer", or none.
---@param status { is_on: boolean, latest: table }
---@return string
function M.words(status)
  if not status.is_on then
    return "off"
  elseif status.latest.kind == "answered" then
    return answered(status.latest.entry)
  end
  return ({ asking = "asking", failed = "no answer", idle = "" })[status.latest.kind]
end

return M
