--- How long to wait for a pause in typing: a fast server is asked often, a slow one rarely. Pure.

local M = {}

--- The newest measurement counts this much.
local WEIGHT = 0.3

---@class modelrouter.Pace
---@field latency_ms number|nil of hints, smoothed; nil before the first
local Pace = {}
Pace.__index = Pace

---@return modelrouter.Pace
function M.new()
  return setmetatable({}, Pace)
end

--- Note how long a hint took.
---@param ms number
function Pace:answered(ms)
  local before = self.latency_ms or ms
  self.latency_ms = before + WEIGHT * (ms - before)
end

--- Note that a hint was called off after so long: it would have taken longer than that.
---@param ms number
function Pace:cancelled(ms)
  if self.latency_ms and ms > self.latency_ms then
    self:answered(ms)
  end
end

--- Return for how long nothing must have been typed before the server is asked.
---@param bounds { least: integer, most: integer }
---@return integer milliseconds
function Pace:delay_ms(bounds)
  local half = math.floor((self.latency_ms or 0) / 2)
  return math.max(bounds.least, math.min(half, bounds.most))
end

return M
