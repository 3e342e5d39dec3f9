--- The keys that act on a hint. They are mapped in its buffer while it shows, and at no other time:
--- Tab stays whatever Tab was.

local config = require("modelrouter.config")
local watch = require("modelrouter.watch")

local M = {}

---@class modelrouter.Mapped
---@field buffer integer
---@field lhs string
---@field before table|nil the buffer's own mapping that stood there, as maparg() has it

local mapped = {} ---@type modelrouter.Mapped[]

---@param lhs string
---@return table|nil
local function own_mapping(lhs)
  local before = vim.fn.maparg(lhs, "i", false, true)
  return before.buffer == 1 and before or nil
end

--- Map the configured keys in the current buffer.
---@param actions table<string, function> by the key's name in the configuration
function M.map(actions)
  if #mapped > 0 then
    return
  end
  local buffer = vim.api.nvim_get_current_buf()
  for name, action in pairs(actions) do
    local lhs = config.current.keys[name]
    if lhs then
      table.insert(mapped, { buffer = buffer, lhs = lhs, before = own_mapping(lhs) })
      local options = { buffer = buffer, nowait = true, desc = "modelrouter: " .. name }
      vim.keymap.set("i", lhs, watch.timed("key " .. name, action), options)
    end
  end
end

--- Give the keys back.
function M.unmap()
  for _, each in ipairs(mapped) do
    if vim.api.nvim_buf_is_valid(each.buffer) then
      pcall(vim.keymap.del, "i", each.lhs, { buffer = each.buffer })
      if each.before then
        vim.api.nvim_buf_call(each.buffer, function()
          vim.fn.mapset("i", false, each.before)
        end)
      end
    end
  end
  mapped = {}
end

return M
