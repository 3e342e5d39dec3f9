--- One hint from the server: POST /infill, in llama.cpp's fields.

local config = require("modelrouter.config")
local http = require("modelrouter.http")
local log = require("modelrouter.log")

local M = {}

--- Longer than the budgets: a model may have to be loaded first.
local SILENCE_MS = 120 * 1000

--- A hint asked for in place of another is drawn, not the likeliest.
local TEMPERATURE_OF_OTHERS = 0.8

---@class modelrouter.Wish
---@field view modelrouter.View
---@field chunks { filename: string, text: string }[]
---@field kind "hint"|"ahead"|"next"
---@field seed integer|nil another hint than the likeliest

---@param view modelrouter.View
---@return string[]
local function stops(view)
  local rest_of_line = view.suffix:match("^[^\n]*")
  return rest_of_line:find("%S") and { "\n" } or {} -- in the middle of a line, it ends with the line
end

--- Return the body of the request.
---@param wish modelrouter.Wish
---@return table
function M.body(wish)
  local view, settings = wish.view, config.current
  return {
    input_prefix = view.above,
    prompt = view.left,
    input_suffix = view.suffix,
    input_extra = wish.chunks,
    n_predict = settings.max_tokens,
    n_indent = #view.left:match("^%s*"),
    t_max_prompt_ms = settings.budget_ms.prompt,
    t_max_predict_ms = settings.budget_ms.answer,
    stop = stops(view),
    stream = false,
    model = settings.model or nil,
    seed = wish.seed,
    temperature = wish.seed and TEMPERATURE_OF_OTHERS or 0,
  }
end

--- Return the hint in an answer: line breaks are "\n", whatever the model writes; blank lines at its
--- end are left out, and a hint of blanks alone is none.
---@param json any
---@return string
function M.text(json)
  local content = type(json) == "table" and json.content or ""
  local text = content:gsub("\r\n?", "\n"):gsub("%z", ""):gsub("\n%s*$", "")
  return text:find("%S") and text or ""
end

---@param wish modelrouter.Wish
---@param done fun(failure: modelrouter.Failure|nil, text: string, entry: modelrouter.LogEntry)
---@return modelrouter.Exchange, modelrouter.LogEntry
function M.ask(wish, done)
  local entry = log.begin(wish.kind)
  local request = { method = "POST", path = "/infill", body = M.body(wish), silence_ms = SILENCE_MS }
  local exchange = http.json(request, function(failure, response)
    if failure then
      log.finish(entry, failure.message)
      return done(failure, "", entry)
    end
    log.decided(entry, response.headers)
    entry.detail = { timings = response.json.timings, stop = response.json.stop_type }
    entry.model = entry.model or response.json.model
    local text = M.text(response.json)
    log.finish(entry, text == "" and "empty" or "answered")
    done(nil, text, entry)
  end)
  return exchange, entry
end

return M
