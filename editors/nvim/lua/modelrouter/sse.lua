--- Server-sent events out of the pieces of a body, as they come. Pure.

local M = {}

---@class modelrouter.Event
---@field data? string an event's data
---@field comment? string a line that says only that, and why, the work goes on

---@class modelrouter.EventReader
---@field private rest string
---@field private data string[]
local Reader = {}
Reader.__index = Reader

---@return modelrouter.EventReader
function M.reader()
  return setmetatable({ rest = "", data = {} }, Reader)
end

--- Take the next piece and return the events that it completes.
---@param piece string
---@return modelrouter.Event[]
function Reader:feed(piece)
  self.rest = self.rest .. piece
  local events = {}
  local from = 1
  for line, after in self.rest:gmatch("([^\n]*)\n()") do
    self:line((line:gsub("\r$", "")), events)
    from = after
  end
  self.rest = self.rest:sub(from)
  return events
end

---@private
---@param line string
---@param events modelrouter.Event[]
function Reader:line(line, events)
  if line == "" and #self.data > 0 then
    table.insert(events, { data = table.concat(self.data, "\n") })
    self.data = {}
  elseif line:sub(1, 1) == ":" then
    table.insert(events, { comment = vim.trim(line:sub(2)) })
  elseif line:match("^data:") then
    table.insert(self.data, (line:gsub("^data: ?", "")))
  end
end

return M
