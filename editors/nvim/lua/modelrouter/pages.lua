--- Text in a window of its own: pages that are read and closed, and answers that grow.

local M = {}

---@param name string
---@param filetype string
---@return integer buffer
local function scratch(name, filetype)
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.bo[buffer].bufhidden = "wipe"
  vim.bo[buffer].filetype = filetype
  vim.api.nvim_buf_set_name(buffer, ("modelrouter://%s/%d"):format(name, buffer))
  vim.keymap.set("n", "q", "<Cmd>close<CR>", { buffer = buffer, desc = "close" })
  return buffer
end

--- Show lines in a split, which takes the cursor; `q` closes it.
---@param name string
---@param lines string[]
function M.show(name, lines)
  local buffer = scratch(name, "text")
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].modifiable = false
  local height = math.max(1, math.min(#lines, math.floor(vim.o.lines / 2)))
  vim.api.nvim_open_win(buffer, true, { split = "below", win = -1, height = height })
end

---@class modelrouter.Growing an answer's window, beside the cursor's
---@field buffer integer
---@field window integer
local Growing = {}
Growing.__index = Growing

--- Open a split for an answer; the cursor stays where it is.
---@param name string
---@param on_close function called when the user closes it
---@return modelrouter.Growing
function M.growing(name, on_close)
  local buffer = scratch(name, "markdown")
  local window = vim.api.nvim_open_win(buffer, false, { split = "below", win = 0 })
  vim.wo[window][0].wrap = true
  vim.api.nvim_create_autocmd("BufWipeout", { buffer = buffer, once = true, callback = on_close })
  return setmetatable({ buffer = buffer, window = window }, Growing)
end

--- Put text at the end; the window follows, unless the user has gone up in it.
---@param text string
function Growing:append(text)
  if not vim.api.nvim_buf_is_valid(self.buffer) then
    return
  end
  local last = vim.api.nvim_buf_line_count(self.buffer)
  local is_open = vim.api.nvim_win_is_valid(self.window)
  local is_at_end = is_open and vim.api.nvim_win_get_cursor(self.window)[1] == last
  vim.api.nvim_buf_set_text(self.buffer, -1, -1, -1, -1, vim.split(text, "\n", { plain = true }))
  if is_at_end then
    vim.api.nvim_win_set_cursor(self.window, { vim.api.nvim_buf_line_count(self.buffer), 0 })
  end
end

--- Say above the text what is going on with it; what is too long for the window loses its end.
---@param words string
function Growing:title(words)
  if vim.api.nvim_win_is_valid(self.window) then
    vim.wo[self.window][0].winbar = words:gsub("%%", "%%%%") .. "%<"
  end
end

return M
