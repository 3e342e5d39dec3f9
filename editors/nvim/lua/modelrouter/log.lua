--- The last requests, newest first: what was asked, who answered and why, what came of it.

local M = {}

local MOST = 200

---@class modelrouter.LogEntry
---@field kind "hint"|"ahead"|"next"|"question" "ahead" asks for what follows a hint that is shown
---@field at integer seconds, as os.time() has them
---@field started integer nanoseconds
---@field ms number|nil until the answer was there
---@field outcome string
---@field model string|nil
---@field role string|nil
---@field rule string|nil
---@field confidence string|nil
---@field cache string|nil "hit", "miss" or "bypass"
---@field detail table|nil what the server says of the answer

local entries = {} ---@type modelrouter.LogEntry[]

--- Begin an entry.
---@param kind string
---@return modelrouter.LogEntry
function M.begin(kind)
  local entry = { kind = kind, at = os.time(), started = vim.uv.hrtime(), outcome = "under way" }
  table.insert(entries, 1, entry)
  entries[MOST + 1] = nil
  return entry
end

--- End it.
---@param entry modelrouter.LogEntry
---@param outcome string
function M.finish(entry, outcome)
  entry.ms = entry.ms or (vim.uv.hrtime() - entry.started) / 1e6
  entry.outcome = outcome
end

--- Note who answers, from the headers that every answer carries.
---@param entry modelrouter.LogEntry
---@param headers table<string, string>
function M.decided(entry, headers)
  local function said(name)
    local value = headers["x-modelrouter-" .. name]
    return value ~= "" and value and vim.uri_decode(value) or nil
  end
  entry.model, entry.role, entry.rule = said("model"), said("role"), said("rule")
  entry.confidence, entry.cache = said("confidence"), said("cache")
end

---@return modelrouter.LogEntry[]
function M.entries()
  return entries
end

--- Return the last entry that a model answered; nil where there is none.
---@return modelrouter.LogEntry|nil
function M.last_answered()
  return vim.iter(entries):find(function(entry)
    return entry.model ~= nil and entry.kind ~= "ahead"
  end)
end

return M
