--- What the user is told, in one line that never asks for Enter; `:ModelRouter log` has it whole.

local M = {}

M.said = {} ---@type string[]

---@param words string
---@param width integer
---@return string
local function cut(words, width)
  local line = words:gsub("%s*\n%s*", " ")
  if vim.fn.strdisplaywidth(line) <= width then
    return line
  end
  return vim.fn.strcharpart(line, 0, math.max(0, width - 1)) .. "…"
end

---@param words string
---@param level? integer one of vim.log.levels
function M.user(words, level)
  table.insert(M.said, words)
  vim.schedule(function() -- after the editor has drawn: "-- INSERT --" would cover it
    vim.notify(cut("modelrouter: " .. words, vim.v.echospace), level or vim.log.levels.INFO)
  end)
end

---@param words string
function M.warn(words)
  M.user(words, vim.log.levels.WARN)
end

return M
