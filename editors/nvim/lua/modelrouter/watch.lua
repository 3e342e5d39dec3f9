--- Everything that the editor calls back goes through here: it is timed, and a mistake of ours ends
--- in the log and not between the user's keys.

local M = {}

---@class modelrouter.Held how long callbacks held the editor's main loop
---@field calls integer
---@field longest_ms number
---@field longest_name string
M.held = { calls = 0, longest_ms = 0, longest_name = "none" }

M.mistakes = {} ---@type string[]

---@param name string
---@param started integer nanoseconds
local function note(name, started)
  local ms = (vim.uv.hrtime() - started) / 1e6
  M.held.calls = M.held.calls + 1
  if ms > M.held.longest_ms then
    M.held.longest_ms, M.held.longest_name = ms, name
  end
end

--- Return `callback`, timed; what it returns is passed on.
---@generic F: function
---@param name string what it is called in the log
---@param callback F
---@return F
function M.timed(name, callback)
  return function(...)
    local started = vim.uv.hrtime()
    local ok, result = xpcall(callback, debug.traceback, ...)
    note(name, started)
    if ok then
      return result
    end
    table.insert(M.mistakes, ("%s: %s"):format(name, result))
  end
end

--- Return `callback` as one that may be called anywhere, and runs, timed, on the main loop.
---@param name string
---@param callback function
---@return function
function M.scheduled(name, callback)
  return vim.schedule_wrap(M.timed(name, callback))
end

return M
