--- Where hints are given: the reasons why a buffer, or this moment, has none.

local config = require("modelrouter.config")
local privacy = require("modelrouter.privacy")

local M = {}

---@param buffer integer
---@return integer bytes
local function size_of(buffer)
  return math.max(0, vim.api.nvim_buf_get_offset(buffer, vim.api.nvim_buf_line_count(buffer)))
end

--- Return why nothing of the buffer may be sent, ever; nil where it may.
---@param buffer integer
---@return string|nil
function M.why_never(buffer)
  local options = vim.bo[buffer]
  if options.buftype ~= "" then
    return ("it is no file (buftype is %q)"):format(options.buftype)
  elseif options.binary then
    return "it is binary"
  elseif privacy.is_secret(vim.api.nvim_buf_get_name(buffer)) then
    return "its name says that it holds secrets"
  elseif size_of(buffer) > config.current.max_file_bytes then
    return ("it has %d bytes, more than max_file_bytes, %d"):format(size_of(buffer), config.current.max_file_bytes)
  end
end

--- Return why the buffer gets no hints by itself; nil where it does.
---@param buffer integer
---@return string|nil
function M.why_not(buffer)
  local filetypes, filetype = config.current.filetypes, vim.bo[buffer].filetype
  local wanted = filetypes[filetype]
  if wanted == nil then
    wanted = filetypes["*"]
  end
  if not wanted then
    return ("hints are off for the file type %q"):format(filetype)
  end
  return M.why_never(buffer)
end

--- Return why there can be no hint at this very moment; nil where there can.
---@param line string the cursor's
---@return string|nil
function M.why_not_now(line)
  if vim.fn.mode():sub(1, 1) ~= "i" then
    return "hints are given in insert mode"
  elseif vim.fn.pumvisible() == 1 then
    return "the completion menu is open"
  elseif vim.fn.reg_recording() ~= "" or vim.fn.reg_executing() ~= "" then
    return "a macro is recorded or played"
  elseif #line > config.current.max_line_bytes then
    return ("the line has %d bytes, more than max_line_bytes, %d"):format(#line, config.current.max_line_bytes)
  end
end

local CONT = "[\128-\191]"
local MULTIBYTE = {
  "[\240-\244]" .. CONT .. CONT .. CONT,
  "[\224-\239]" .. CONT .. CONT,
  "[\194-\223]" .. CONT,
}

--- Tell whether text can be sent as JSON: no NUL, and nothing that is not UTF-8.
---@param text string
---@return boolean
function M.is_text(text)
  for _, character in ipairs(MULTIBYTE) do
    text = text:gsub(character, ".")
  end
  return not text:find("[%z\128-\255]")
end

return M
