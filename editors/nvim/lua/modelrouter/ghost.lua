--- The hint on the screen: virtual text at the cursor. It knows nothing of where it comes from.

local M = {}

local NAMESPACE = vim.api.nvim_create_namespace("modelrouter.ghost")
local GROUP = "ModelRouterHint"

---@class modelrouter.Shown where the hint is
---@field buffer integer
---@field mark integer

local shown = nil ---@type modelrouter.Shown|nil

function M.define_highlights()
  vim.api.nvim_set_hl(0, GROUP, { default = true, link = "Comment" })
  vim.api.nvim_set_hl(0, "ModelRouterRemoved", { default = true, link = "DiffDelete" })
  vim.api.nvim_set_hl(0, "ModelRouterAdded", { default = true, link = "DiffAdd" })
end

--- Return `text` with its tabs as blanks: virtual text has no tab stops of its own.
---@param text string
---@param column integer where it begins on the screen, from 0
---@param tabstop integer
---@return string
function M.without_tabs(text, column, tabstop)
  local parts = vim.split(text, "\t", { plain = true })
  for index = 1, #parts - 1 do
    column = column + vim.fn.strdisplaywidth(parts[index], column)
    local blanks = tabstop - column % tabstop
    parts[index] = parts[index] .. (" "):rep(blanks)
    column = column + blanks
  end
  return table.concat(parts)
end

---@class modelrouter.Layout
---@field inline string stands between the cursor and the rest of its line
---@field below string[] stands under the line

--- Return how a hint is drawn. What follows the cursor on its line stays where it is.
---@param text string
---@param column integer the cursor's on the screen, from 0
---@param tabstop integer
---@return modelrouter.Layout
function M.layout(text, column, tabstop)
  local lines = vim.split(text, "\n", { plain = true })
  local below = {}
  for index = 2, #lines do
    table.insert(below, M.without_tabs(lines[index], 0, tabstop))
  end
  return { inline = M.without_tabs(lines[1], column, tabstop), below = below }
end

---@param buffer integer
---@param row integer from 0
---@param col integer from 0, in bytes
---@param text string
function M.show(buffer, row, col, text)
  M.hide()
  local layout = M.layout(text, vim.fn.virtcol(".") - 1, vim.bo[buffer].tabstop)
  local below = vim.tbl_map(function(line)
    return { { line, GROUP } }
  end, layout.below)
  local mark = vim.api.nvim_buf_set_extmark(buffer, NAMESPACE, row, col, {
    virt_text = { { layout.inline, GROUP } },
    virt_text_pos = "inline",
    virt_lines = #below > 0 and below or nil,
    right_gravity = false,
    undo_restore = false,
  })
  shown = { buffer = buffer, mark = mark }
end

function M.hide()
  if shown and vim.api.nvim_buf_is_valid(shown.buffer) then
    vim.api.nvim_buf_del_extmark(shown.buffer, NAMESPACE, shown.mark)
  end
  shown = nil
end

return M
