--- Takes chunks where the user works: around changes, from buffers that are visited or left, and
--- what is yanked. Files that may not be sent give none.

local chunks = require("modelrouter.chunks")
local config = require("modelrouter.config")
local privacy = require("modelrouter.privacy")
local scope = require("modelrouter.scope")

local M = {}

--- A shorter text tells a model nothing.
local FEWEST_LINES = 3

local ring = chunks.ring()

---@param buffer integer
---@return string
local function name_of(buffer)
  return vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buffer), ":.")
end

--- Take lines of a buffer, from `first` to `last` (from 0), unless they must not be sent.
---@param buffer integer
---@param first integer
---@param last integer
local function take(buffer, first, last)
  local lines = vim.api.nvim_buf_get_lines(buffer, first, last + 1, false)
  local text = table.concat(lines, "\n")
  local is_too_wide = #text > config.current.max_line_bytes * #lines
  if #lines < FEWEST_LINES or is_too_wide or not scope.is_text(text) or privacy.holds_key(text) then
    return
  end
  local chunk = { filename = name_of(buffer), text = text, first = first, last = last }
  ring:add(chunk, config.current.context.chunks)
end

---@param buffer integer
---@return boolean
local function may_give(buffer)
  return config.current.context.chunks > 0
    and vim.api.nvim_buf_is_loaded(buffer)
    and vim.api.nvim_buf_get_name(buffer) ~= ""
    and scope.why_not(buffer) == nil
end

--- Take the lines around one, which is counted from 0.
---@param buffer integer
---@param row integer
local function take_around(buffer, row)
  local size = config.current.context.chunk_lines
  local first = math.max(0, row - math.floor(size / 2))
  take(buffer, first, math.min(first + size, vim.api.nvim_buf_line_count(buffer)) - 1)
end

--- Take the place of a mark, such as that of the last change.
---@param buffer integer
---@param mark string
function M.take_mark(buffer, mark)
  if may_give(buffer) then
    local row = vim.api.nvim_buf_get_mark(buffer, mark)[1]
    if row > 0 then
      take_around(buffer, row - 1)
    end
  end
end

--- Take the place where the cursor is.
function M.take_cursor()
  local buffer = vim.api.nvim_get_current_buf()
  if may_give(buffer) then
    take_around(buffer, vim.api.nvim_win_get_cursor(0)[1] - 1)
  end
end

--- Take what was yanked, from the buffer that it was yanked from.
function M.take_yank()
  local buffer = vim.api.nvim_get_current_buf()
  if vim.v.event.operator == "y" and may_give(buffer) then
    local first = vim.api.nvim_buf_get_mark(buffer, "[")[1] - 1
    local last = vim.api.nvim_buf_get_mark(buffer, "]")[1] - 1
    take(buffer, first, math.min(last, first + config.current.context.chunk_lines - 1))
  end
end

--- Take the place in each open file where the user last was.
function M.take_open_files()
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    M.take_mark(buffer, '"')
  end
end

--- Return the chunks that go with a request for this place.
---@param buffer integer
---@param view modelrouter.View
---@return { filename: string, text: string }[]
function M.beside(buffer, view)
  return ring:beside(name_of(buffer), view)
end

---@return integer
function M.count()
  return ring:count()
end

return M
