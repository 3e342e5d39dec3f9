--- The first part of a hint that a key accepts. Pure.

local M = {}

--- A word: blanks before it, then letters and digits, or other marks, as 'iskeyword' has them.
local WORD = [[^\_s*\%(\k\+\|\%(\k\@!\S\)\+\)\?]]

---@param text string
---@param how "whole"|"line"|"word"
---@return string
function M.first(text, how)
  if how == "whole" then
    return text
  elseif how == "word" then
    local word = vim.fn.matchstr(text, WORD)
    return word ~= "" and word or text
  end
  -- A hint that begins with a line break has its first line after it.
  return text:match("^\n*[^\n]*")
end

return M
