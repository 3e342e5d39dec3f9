--- The plugin's front: settings in, autocommands and keys set up once, what others may call.

local config = require("modelrouter.config")

local M = {}

local is_started = false

---@param events string|string[]
---@param name string
---@param callback function
local function on(events, name, callback)
  local watch = require("modelrouter.watch")
  vim.api.nvim_create_autocmd(events, {
    group = vim.api.nvim_create_augroup("modelrouter." .. name, {}),
    callback = watch.timed(name, function(event)
      callback(event)
    end),
  })
end

local function map_trigger()
  local complete = require("modelrouter.complete")
  local lhs = config.current.keys.trigger
  if lhs then
    vim.keymap.set("i", lhs, complete.trigger, { desc = "modelrouter: ask for a hint now" })
  end
end

local function gather_context()
  local context = require("modelrouter.context")
  require("modelrouter.complete").chunks_for = context.beside
  context.take_open_files()
  on("InsertLeave", "changed", function(event)
    context.take_mark(event.buf, ".")
  end)
  on("BufLeave", "visited", context.take_cursor)
  on("TextYankPost", "yanked", context.take_yank)
end

--- Begin to give hints. Called by itself when insert mode is first entered.
function M.start()
  if is_started then
    return
  end
  is_started = true
  local complete, ghost = require("modelrouter.complete"), require("modelrouter.ghost")
  local watch = require("modelrouter.watch")
  ghost.define_highlights()
  map_trigger()
  on("ColorScheme", "colours", ghost.define_highlights)
  on({ "TextChangedI", "TextChangedP", "CursorMovedI" }, "moved", complete.moved)
  -- These two come a moment before the mode and the menu are what they say.
  on({ "InsertEnter", "CompleteDone" }, "entered", watch.scheduled("entered", complete.moved))
  on({ "InsertLeave", "BufLeave", "WinLeave" }, "left", complete.left)
  gather_context()
end

--- Take the user's settings; without them the defaults stand.
---@param settings? table
function M.setup(settings)
  local problems = config.set(settings)
  if #problems > 0 then
    require("modelrouter.tell").warn("the defaults stand: " .. table.concat(problems, "; "))
  end
  M.start()
end

--- Return a few words for a status line, such as "smollm2 120 ms"; empty where nothing is to be said.
---@return string
function M.statusline()
  if not is_started then
    return ""
  end
  return require("modelrouter.statusline").words(require("modelrouter.complete").status())
end

return M
