--- What a user may set, what stands where nothing is set, and clear words for what cannot be.
--- It knows no buffer and no server.

local M = {}

---@class modelrouter.Config
M.defaults = {
  --- Where the server is; false takes $MODELROUTER_URL, else http://127.0.0.1:8012.
  url = false, ---@type string|false
  --- The key, or a function that returns it; false takes $MODELROUTER_API_KEY.
  api_key = false, ---@type string|fun(): string|false
  --- A model or a role for hints; false lets the server's policy choose.
  model = false, ---@type string|false
  --- A model or a role for questions; false lets the server's policy choose.
  ask_model = false, ---@type string|false
  --- Hints while you type; without it they come when the `trigger` key asks for one.
  auto = true,
  --- After a hint is shown, ask for the one that follows if it is accepted.
  speculate = true,
  --- File types with hints; "*" speaks for those not named.
  filetypes = { ["*"] = true, gitrebase = false, help = false }, ---@type table<string, boolean>
  --- Larger files, and lines longer than this, get no hints.
  max_file_bytes = 2 * 1024 * 1024,
  max_line_bytes = 2000,
  --- Beside the built-in ones, file names that never leave the editor; `*` stands for any text.
  secrets = {}, ---@type string[]
  --- The most tokens of a hint.
  max_tokens = 64,
  --- What the server may spend on a hint; it answers with what it has by then.
  budget_ms = { prompt = 2000, answer = 1000 },
  --- Hints wait for a pause in typing: half the measured latency, within these bounds.
  debounce_ms = { least = 30, most = 1000 },
  context = {
    --- Lines of the current file that are sent, before and after the cursor's.
    lines_before = 128,
    lines_after = 16,
    --- Pieces of other places: how many, and how many lines each has at most.
    chunks = 6,
    chunk_lines = 32,
  },
  --- Keys in insert mode; false maps nothing. All but `trigger` are mapped only while a hint shows.
  keys = {
    accept = "<Tab>",
    accept_line = "<S-Tab>",
    accept_word = "<M-Right>",
    next = "<M-]>",
    dismiss = "<C-]>",
    trigger = "<M-Bslash>",
  }, ---@type table<string, string|false>
}

--- Keys of these tables are the user's own words.
local OPEN = { filetypes = "boolean", secrets = "string" }

--- Where `false` stands for "not set", the types that may stand there instead.
local OPTIONAL = {
  url = "string",
  api_key = "string, function",
  model = "string",
  ask_model = "string",
  keys = "string",
}

M.current = vim.deepcopy(M.defaults)

---@param given any
---@param default any
---@param name string the setting's dotted name
---@param problems string[]
local function check(given, default, name, problems)
  local optional = OPTIONAL[name] or OPTIONAL[name:match("^[^.]+")]
  local wanted = type(default)
  if optional and wanted ~= "table" then
    if given ~= false and not optional:find(type(given), 1, true) then
      table.insert(problems, ("%s must be a %s, or false"):format(name, optional:gsub(", ", " or a ")))
    end
  elseif type(given) ~= wanted then
    table.insert(problems, ("%s must be a %s, got %s"):format(name, wanted, vim.inspect(given)))
  elseif wanted == "number" and (given < 0 or given ~= math.floor(given)) then
    table.insert(problems, ("%s must be a whole number from 0 up, got %s"):format(name, given))
  end
end

---@param given table
---@param of_type string
---@param name string
---@param problems string[]
local function check_open(given, of_type, name, problems)
  for key, value in pairs(given) do
    if type(value) ~= of_type then
      table.insert(problems, ("%s[%s] must be a %s"):format(name, vim.inspect(key), of_type))
    end
  end
end

---@param given table
---@param defaults table
---@param prefix string
---@param problems string[]
local function check_all(given, defaults, prefix, problems)
  for key, value in pairs(given) do
    local name = prefix .. tostring(key)
    if defaults[key] == nil then
      local known = vim.tbl_keys(defaults)
      table.sort(known)
      table.insert(problems, ("there is no setting %s; there are %s"):format(name, table.concat(known, ", ")))
    else
      check(value, defaults[key], name, problems)
      if OPEN[name] and type(value) == "table" then
        check_open(value, OPEN[name], name, problems)
      elseif type(defaults[key]) == "table" and type(value) == "table" then
        check_all(value, defaults[key], name .. ".", problems)
      end
    end
  end
end

--- Return what is wrong with the settings, one sentence each.
---@param given table
---@return string[]
function M.problems(given)
  local problems = {}
  check_all(given, M.defaults, "", problems)
  local bounds = (type(given.debounce_ms) == "table") and given.debounce_ms or {}
  local least, most = bounds.least, bounds.most
  if type(least) == "number" and type(most) == "number" and least > most then
    table.insert(problems, ("debounce_ms.least is %d, more than debounce_ms.most, %d"):format(least, most))
  end
  table.sort(problems)
  return problems
end

--- Take the user's settings over the defaults; where any is wrong, none is taken.
---@param given? table
---@return string[] problems
function M.set(given)
  local problems = M.problems(given or {})
  if #problems == 0 then
    M.current = vim.tbl_deep_extend("force", vim.deepcopy(M.defaults), given or {})
  end
  return problems
end

---@return string
function M.url()
  return M.current.url or vim.env.MODELROUTER_URL or "http://127.0.0.1:8012"
end

--- Return the key for the server; nil where there is none.
---@return string|nil
function M.api_key()
  local key = M.current.api_key or vim.env.MODELROUTER_API_KEY
  if type(key) == "function" then
    key = key()
  end
  return key ~= "" and key or nil
end

return M
