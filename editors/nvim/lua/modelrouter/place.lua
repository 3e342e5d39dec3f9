--- Where the cursor is, in which state of which text, and what of that may be sent.

local config = require("modelrouter.config")
local scope = require("modelrouter.scope")
local window = require("modelrouter.window")

local M = {}

---@class modelrouter.Place
---@field buffer integer
---@field tick integer
---@field row integer from 0
---@field col integer from 0, in bytes

---@return modelrouter.Place
function M.here()
  local buffer = vim.api.nvim_get_current_buf()
  local cursor = vim.api.nvim_win_get_cursor(0)
  return {
    buffer = buffer,
    tick = vim.api.nvim_buf_get_changedtick(buffer),
    row = cursor[1] - 1,
    col = cursor[2],
  }
end

--- Return what is around the cursor; nil where there can be no hint.
---@param place modelrouter.Place of the current buffer
---@param by_hand boolean a hint was asked for where none may come by themselves
---@return modelrouter.View|nil
function M.view(place, by_hand)
  local why = by_hand and scope.why_never or scope.why_not
  if scope.why_not_now(vim.api.nvim_get_current_line()) or why(place.buffer) then
    return nil
  end
  local view = window.around(place.buffer, place.row, place.col, config.current.context)
  return scope.is_text(view.prefix) and scope.is_text(view.suffix) and view or nil
end

return M
