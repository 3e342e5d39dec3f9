--- Questions about code: an answer in a split, or a replacement for the selection as a preview.

local chat = require("modelrouter.chat")
local outage = require("modelrouter.outage")
local pages = require("modelrouter.pages")
local preview = require("modelrouter.preview")
local privacy = require("modelrouter.privacy")
local prompt = require("modelrouter.prompt")
local report = require("modelrouter.report")
local scope = require("modelrouter.scope")
local tell = require("modelrouter.tell")

local M = {}

---@param buffer integer
---@param first integer from 1
---@param last integer
---@return modelrouter.Selection|nil, string|nil why there can be none
local function selection_of(buffer, first, last)
  local lines = vim.api.nvim_buf_get_lines(buffer, first - 1, last, false)
  local text = table.concat(lines, "\n")
  local why = scope.why_never(buffer)
  if not why and privacy.holds_key(text) then
    why = "the selection holds a private key"
  elseif not why and not scope.is_text(text) then
    why = "the selection is not UTF-8"
  end
  return {
    filename = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buffer), ":."),
    filetype = vim.bo[buffer].filetype,
    first = first,
    last = last,
    lines = lines,
  }, why
end

---@param messages { role: string, content: string }[]
---@param title string
local function answer_in_split(messages, title)
  local exchange
  local page = pages.growing("ask", function()
    exchange:close()
  end)
  page:title("asking · " .. title)
  local entry
  exchange, entry = chat.ask(messages, {
    waits = function(comment)
      page:title(comment .. " · " .. title)
    end,
    text = function(piece)
      page:append(piece)
    end,
    done = function(failure)
      page:title(failure and outage.words_for(failure) or report.one_line(entry) .. " · " .. title)
    end,
  })
end

---@param messages { role: string, content: string }[]
---@param selection modelrouter.Selection
local function answer_as_preview(messages, selection)
  local exchange
  local shown = preview.open(vim.api.nvim_get_current_buf(), selection, function()
    exchange:close()
  end)
  local answer = ""
  exchange = chat.ask(messages, {
    waits = tell.user,
    text = function(piece)
      answer = answer .. piece
      shown:show(prompt.code_in(answer))
    end,
    done = function(failure, entry)
      if failure then
        preview.reject()
        return tell.warn(outage.words_for(failure))
      end
      shown.is_whole = true
      tell.user(report.one_line(entry))
    end,
  })
end

---@class modelrouter.Question
---@field instruction string
---@field range { first: integer, last: integer }|nil lines, from 1
---@field replaces boolean

--- Ask about the lines of the current buffer, or about nothing but the instruction.
---@param question modelrouter.Question
function M.ask(question)
  local instruction, range = vim.trim(question.instruction), question.range
  if instruction == "" then
    return tell.warn("ask what? :ModelRouter ask {instruction}")
  elseif question.replaces and not range then
    return tell.warn("select the lines to replace first")
  end
  local selection, why
  if range then
    selection, why = selection_of(vim.api.nvim_get_current_buf(), range.first, range.last)
  end
  if why then
    return tell.warn("not sent: " .. why)
  end
  local messages = prompt.messages(instruction, selection, question.replaces)
  if question.replaces then
    return answer_as_preview(messages, selection)
  end
  answer_in_split(messages, instruction)
end

return M
