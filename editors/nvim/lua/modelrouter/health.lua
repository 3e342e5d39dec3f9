--- :checkhealth modelrouter: whether hints can be given here, and what to do where they cannot.

local complete = require("modelrouter.complete")
local config = require("modelrouter.config")
local http = require("modelrouter.http")
local infill = require("modelrouter.infill")
local outage = require("modelrouter.outage")

local M = {}

--- Who asks for the state of health waits for it.
local PATIENCE_MS = 10000

---@param begin fun(done: fun(...)): modelrouter.Exchange
---@return any failure, any result
local function wait_for(begin)
  local answer
  local exchange = begin(function(...)
    answer = { ... }
  end)
  vim.wait(PATIENCE_MS, function()
    return answer ~= nil
  end, 10)
  if not answer then
    exchange:close()
    return { kind = "silent", message = "no answer within 10 seconds" }
  end
  return answer[1], answer[2]
end

---@param failure modelrouter.Failure
local function report_failure(failure)
  vim.health.error(outage.words_for(failure))
end

---@param path string
---@return modelrouter.Failure|nil, modelrouter.Response|nil
local function get(path)
  return wait_for(function(done)
    return http.json({ method = "GET", path = path, silence_ms = PATIENCE_MS }, done)
  end)
end

---@return boolean
local function check_server()
  local failure = get("/health")
  if not failure then
    failure = get("/v1/models")
  end
  if failure then
    report_failure(failure)
    return false
  end
  vim.health.ok("the server answers at " .. config.url())
  return true
end

local function check_hint()
  local view = { above = "def add(a, b):\n", left = "    return ", suffix = "", prefix = "" }
  local failure, text = wait_for(function(done)
    return (infill.ask({ view = view, chunks = {}, kind = "hint" }, done))
  end)
  if failure then
    return report_failure(failure)
  end
  local last = require("modelrouter.log").entries()[1]
  local said = text == "" and "an empty hint" or ("the hint %q"):format(text)
  vim.health.ok(("%s gave %s in %.0f ms"):format(last.model or "a model", said, last.ms))
end

local function check_keys()
  for name, lhs in pairs(config.current.keys) do
    local other = lhs and name ~= "trigger" and vim.fn.maparg(lhs, "i")
    if other and other ~= "" then
      vim.health.info(("%s has a mapping of its own; while a hint shows it is %q"):format(lhs, name))
    end
  end
end

function M.check()
  vim.health.start("modelrouter")
  vim.health.ok("Neovim " .. tostring(vim.version()))
  check_keys()
  if check_server() then
    check_hint()
  end
  local why = complete.why_none()
  vim.health.info(why and "no hints in this buffer: " .. why or "hints are on in this buffer")
end

return M
