--- Pieces of text from other places, for the model to know them: a ring that keeps the newest. Pure.
---
--- Their order is that in which they came, the newest last: the server keeps what it has read of a
--- prompt as long as the prompt begins the same way, and the chunks are its beginning. For the same
--- reason a full ring drops a third of its chunks at once, not one each time.

local M = {}

--- Two chunks with this share of lines in common are the same place at two times.
local SAME = 0.5

---@class modelrouter.Chunk
---@field filename string
---@field text string
---@field first integer the lines it had when it was taken, from 0
---@field last integer

---@class modelrouter.Ring
---@field private list modelrouter.Chunk[] oldest first
local Ring = {}
Ring.__index = Ring

---@return modelrouter.Ring
function M.ring()
  return setmetatable({ list = {} }, Ring)
end

---@param text string
---@return table<string, true> lines, integer count
local function lines_of(text)
  local lines, count = {}, 0
  for line in vim.gsplit(text, "\n", { plain = true }) do
    line = vim.trim(line)
    if line ~= "" and not lines[line] then
      lines[line] = true
      count = count + 1
    end
  end
  return lines, count
end

--- Return the share of lines that two texts have in common, from 0 to 1.
---@param a string
---@param b string
---@return number
function M.likeness(a, b)
  local lines_a, count_a = lines_of(a)
  local lines_b, count_b = lines_of(b)
  local common = 0
  for line in pairs(lines_a) do
    common = common + (lines_b[line] and 1 or 0)
  end
  local all = count_a + count_b - common
  return all == 0 and 1 or common / all
end

--- Take a chunk in; one that is like it goes, wherever it is from.
---@param chunk modelrouter.Chunk
---@param most integer how many may be there
function Ring:add(chunk, most)
  local newest = self.list[#self.list]
  if newest and newest.text == chunk.text then
    return
  end
  self.list = vim.tbl_filter(function(other)
    return M.likeness(other.text, chunk.text) < SAME
  end, self.list)
  table.insert(self.list, chunk)
  if #self.list > most then
    local dropped = math.max(#self.list - most, math.floor(most / 3))
    self.list = vim.list_slice(self.list, dropped + 1)
  end
end

--- Return the chunks for a request, oldest first: all but those that it holds already.
---@param filename string the current file
---@param view modelrouter.View
---@return { filename: string, text: string }[]
function Ring:beside(filename, view)
  local chosen = {}
  for _, chunk in ipairs(self.list) do
    local is_sent = chunk.filename == filename and chunk.first <= view.last and chunk.last >= view.first
    if not is_sent then
      table.insert(chosen, { filename = chunk.filename, text = chunk.text })
    end
  end
  return chosen
end

---@return integer
function Ring:count()
  return #self.list
end

return M
