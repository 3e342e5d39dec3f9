--- The hints of the last minutes, so that typing what a hint says, or going back, asks nobody. Pure.

local M = {}

local MOST = 64

---@class modelrouter.Answer
---@field prefix string all that was sent from before the cursor
---@field suffix string
---@field texts string[] the hint, and others that were asked for in its place
---@field entry modelrouter.LogEntry|nil where it came from

---@class modelrouter.Answers
---@field private list modelrouter.Answer[] newest first
local Answers = {}
Answers.__index = Answers

---@return modelrouter.Answers
function M.new()
  return setmetatable({ list = {} }, Answers)
end

---@param view modelrouter.View
---@param text string
---@param entry modelrouter.LogEntry|nil
function Answers:add(view, text, entry)
  for _, answer in ipairs(self.list) do
    if answer.prefix == view.prefix and answer.suffix == view.suffix then
      if not vim.list_contains(answer.texts, text) then
        table.insert(answer.texts, text)
      end
      return
    end
  end
  table.insert(self.list, 1, { prefix = view.prefix, suffix = view.suffix, texts = { text }, entry = entry })
  self.list[MOST + 1] = nil
end

--- Return what was typed since the answer was asked for; nil where it was not asked for on the way.
---@param answer modelrouter.Answer
---@param view modelrouter.View
---@return string|nil
local function typed_since(answer, view)
  if answer.suffix == view.suffix and vim.startswith(view.prefix, answer.prefix) then
    return view.prefix:sub(#answer.prefix + 1)
  end
end

---@class modelrouter.Found
---@field texts string[] what is left of each hint that what was typed agrees with
---@field typed string what was typed of it since
---@field entry modelrouter.LogEntry|nil

--- Return what is known for this place: asked for here, or typed through; nil where nothing is.
--- An empty hint is known too, but only where it was asked for.
---@param view modelrouter.View
---@return modelrouter.Found|nil
function Answers:find(view)
  for _, answer in ipairs(self.list) do
    local typed = typed_since(answer, view)
    local rests = {}
    for _, text in ipairs(typed and answer.texts or {}) do
      if vim.startswith(text, typed) and (#text > #typed or typed == "") then
        table.insert(rests, text:sub(#typed + 1))
      end
    end
    if #rests > 0 then
      return { texts = rests, typed = typed, entry = answer.entry }
    end
  end
end

--- Forget all hints on the way to this place: the user does not want them.
---@param view modelrouter.View
function Answers:forget(view)
  self.list = vim.tbl_filter(function(answer)
    return typed_since(answer, view) == nil
  end, self.list)
end

return M
