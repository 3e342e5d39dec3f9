--- :ModelRouter and its words.

local M = {}

---@class modelrouter.Invocation
---@field text string what follows the word
---@field bang boolean
---@field range { first: integer, last: integer }|nil

---@type table<string, fun(invocation: modelrouter.Invocation)>
local words = {
  status = function()
    require("modelrouter.report").status()
  end,
  why = function()
    require("modelrouter.report").why()
  end,
  log = function()
    require("modelrouter.report").log()
  end,
  health = function()
    vim.cmd("checkhealth modelrouter")
  end,
  toggle = function()
    local is_on = require("modelrouter.complete").toggle()
    require("modelrouter.tell").user(is_on and "hints are on" or "hints are off")
  end,
  accept = function()
    require("modelrouter.preview").accept()
  end,
  reject = function()
    require("modelrouter.preview").reject()
  end,
  ask = function(invocation)
    require("modelrouter.ask").ask({
      instruction = invocation.text,
      range = invocation.range,
      replaces = invocation.bang,
    })
  end,
}

---@return string[]
local function names()
  local all = vim.tbl_keys(words)
  table.sort(all)
  return all
end

--- Run the command with what `nvim_create_user_command` gives.
---@param given table
function M.run(given)
  require("modelrouter").start()
  local word, bang, text = given.args:match("^(%a*)(!?)%s*(.*)$")
  if not words[word] then
    local said = ("no %q; there are %s"):format(word, table.concat(names(), ", "))
    return require("modelrouter.tell").warn(said)
  end
  words[word]({
    text = text,
    bang = given.bang or bang == "!",
    range = given.range > 0 and { first = given.line1, last = given.line2 } or nil,
  })
end

---@param lead string
---@param line string
---@return string[]
function M.complete(lead, line)
  if line:match("ModelRouter!?%s+%S*$") then
    return vim.tbl_filter(function(name)
      return vim.startswith(name, lead)
    end, names())
  end
  return {}
end

return M
