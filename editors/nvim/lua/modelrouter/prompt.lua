--- What a question about code says to a model, and the code in what it answers. Pure.

local M = {}

---@class modelrouter.Selection
---@field filename string
---@field filetype string
---@field first integer from 1
---@field last integer
---@field lines string[]

local ONLY_CODE = "Answer with the lines that take their place, in one code block, and with nothing else."

--- Return a fence that no line of the code closes.
---@param lines string[]
---@return string
local function fence_for(lines)
  local fence = "```"
  while vim.iter(lines):any(function(line)
    return vim.startswith(vim.trim(line), fence)
  end) do
    fence = fence .. "`"
  end
  return fence
end

--- Return the messages of a question; without a selection it is the instruction alone.
---@param instruction string
---@param selection modelrouter.Selection|nil
---@param replaces boolean the answer is to take the selection's place
---@return { role: string, content: string }[]
function M.messages(instruction, selection, replaces)
  local parts = { instruction }
  if selection then
    local fence = fence_for(selection.lines)
    local where = ("%s, lines %d to %d:"):format(selection.filename, selection.first, selection.last)
    local code = table.concat(selection.lines, "\n")
    table.insert(parts, where .. "\n" .. fence .. selection.filetype .. "\n" .. code .. "\n" .. fence)
  end
  if replaces then
    table.insert(parts, ONLY_CODE)
  end
  return { { role = "user", content = table.concat(parts, "\n\n") } }
end

--- Return the lines of the first code block of an answer, as far as it has come; all lines where it
--- has none.
---@param answer string
---@return string[]
function M.code_in(answer)
  local lines, fence = {}, nil
  for line in vim.gsplit(answer, "\n", { plain = true }) do
    if fence and vim.trim(line) == fence then
      return lines
    elseif not fence and line:match("^%s*```") then
      fence, lines = line:match("`+"), {}
    else
      table.insert(lines, line)
    end
  end
  return fence and lines or vim.split(vim.trim(answer), "\n", { plain = true })
end

return M
