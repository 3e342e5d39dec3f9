--- A replacement for some lines, shown before it is made: what would go is marked, what would come
--- stands under it. Accepting makes it one change; rejecting leaves the text as it was.

local config = require("modelrouter.config")
local tell = require("modelrouter.tell")

local M = {}

local NAMESPACE = vim.api.nvim_create_namespace("modelrouter.preview")

---@class modelrouter.Preview
---@field buffer integer
---@field mark integer over the lines that would go; it moves with them
---@field before string[] those lines
---@field after string[]
---@field is_whole boolean
---@field on_end function
local Preview = {}
Preview.__index = Preview

local current = nil ---@type modelrouter.Preview|nil

---@param selection modelrouter.Selection
---@param buffer integer
---@param on_end fun() called when it is accepted or rejected
---@return modelrouter.Preview
function M.open(buffer, selection, on_end)
  M.reject()
  local preview = setmetatable({
    buffer = buffer,
    before = selection.lines,
    after = {},
    is_whole = false,
    on_end = on_end,
  }, Preview)
  preview:draw(selection.first - 1, selection.last)
  preview:map()
  current = preview
  return preview
end

---@private
---@param first integer from 0
---@param past integer the line after the last
function Preview:draw(first, past)
  local below = vim.tbl_map(function(line)
    return { { line == "" and " " or line, "ModelRouterAdded" } }
  end, self.after)
  self.mark = vim.api.nvim_buf_set_extmark(self.buffer, NAMESPACE, first, 0, {
    id = self.mark,
    end_row = past - 1,
    end_col = #vim.api.nvim_buf_get_lines(self.buffer, past - 1, past, false)[1],
    hl_group = "ModelRouterRemoved",
    hl_eol = true,
  })
  self.below = vim.api.nvim_buf_set_extmark(self.buffer, NAMESPACE, past - 1, 0, {
    id = self.below,
    virt_lines = below,
  })
end

---@private
---@return integer first, integer past
function Preview:range()
  local at = vim.api.nvim_buf_get_extmark_by_id(self.buffer, NAMESPACE, self.mark, { details = true })
  return at[1], at[3].end_row + 1
end

--- Show these lines as what would come.
---@param lines string[]
function Preview:show(lines)
  if current == self then
    self.after = lines
    self:draw(self:range())
  end
end

---@private
function Preview:keys()
  return { [config.current.keys.accept or false] = M.accept, [config.current.keys.dismiss or false] = M.reject }
end

---@private
function Preview:map()
  for lhs, action in pairs(self:keys()) do
    if lhs then
      vim.keymap.set("n", lhs, action, { buffer = self.buffer, nowait = true, desc = "modelrouter: preview" })
    end
  end
end

---@private
function Preview:close()
  current = nil
  if vim.api.nvim_buf_is_valid(self.buffer) then
    vim.api.nvim_buf_clear_namespace(self.buffer, NAMESPACE, 0, -1)
    for lhs in pairs(self:keys()) do
      pcall(vim.keymap.del, "n", lhs, { buffer = self.buffer })
    end
  end
  self.on_end()
end

--- Put the new lines in the place of the old, if the answer is whole and they are still as they were.
function M.accept()
  local preview = current
  if not preview then
    return tell.user("there is no replacement to accept")
  elseif not preview.is_whole then
    return tell.user("the answer is not whole yet")
  end
  local first, past = preview:range()
  local lines = vim.api.nvim_buf_get_lines(preview.buffer, first, past, false)
  if not vim.deep_equal(lines, preview.before) then
    return tell.user("the lines have changed since: reject and ask again")
  end
  preview:close()
  vim.api.nvim_buf_set_lines(preview.buffer, first, past, false, preview.after)
end

--- Take the preview away, and stop the answer where it is not whole.
function M.reject()
  if current then
    current:close()
  end
end

return M
