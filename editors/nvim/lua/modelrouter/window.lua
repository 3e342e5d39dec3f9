--- What of the current file goes to the server: the lines around the cursor.
--- The first line sent moves in steps, not with each line: what the server has read of the text
--- before the cursor (its KV) stays good until the next step.

local M = {}

---@class modelrouter.View
---@field above string whole lines before the cursor's, each with its line break
---@field left string the cursor's line up to the cursor
---@field prefix string both
---@field suffix string the rest of the cursor's line, and lines after it
---@field first integer the first and the last line sent, from 0
---@field last integer

--- Return the first line to send for a cursor in `row` (from 0): at least `least` lines before it,
--- where there are that many, and up to half as many more.
---@param row integer
---@param least integer
---@return integer
function M.first_line(row, least)
  local step = math.max(1, math.floor(least / 2))
  return math.max(0, math.floor((row - least) / step) * step)
end

---@param lines string[]
---@return string each line with a line break
local function joined(lines)
  return #lines == 0 and "" or table.concat(lines, "\n") .. "\n"
end

--- Return what to send for the cursor at `row`, `col` (from 0, in bytes).
---@param buffer integer
---@param row integer
---@param col integer
---@param context { lines_before: integer, lines_after: integer }
---@return modelrouter.View
function M.around(buffer, row, col, context)
  local first = M.first_line(row, context.lines_before)
  local before = vim.api.nvim_buf_get_lines(buffer, first, row, false)
  local after = vim.api.nvim_buf_get_lines(buffer, row, row + 1 + context.lines_after, false)
  local line = table.remove(after, 1) or ""
  local above, left = joined(before), line:sub(1, col)
  local right = line:sub(col + 1)
  return {
    above = above,
    left = left,
    prefix = above .. left,
    suffix = #after > 0 and right .. "\n" .. table.concat(after, "\n") or right,
    first = first,
    last = row + #after,
  }
end

--- Return what will be around the cursor once `text` is accepted.
---@param view modelrouter.View
---@param text string
---@return modelrouter.View
function M.after(view, text)
  local prefix = view.prefix .. text
  local left = prefix:match("[^\n]*$")
  return vim.tbl_extend("force", view, {
    prefix = prefix,
    left = left,
    above = prefix:sub(1, #prefix - #left),
  })
end

return M
