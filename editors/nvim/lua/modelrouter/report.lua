--- What the plugin knows, in words: for :ModelRouter status, why and log.

local complete = require("modelrouter.complete")
local config = require("modelrouter.config")
local context = require("modelrouter.context")
local http = require("modelrouter.http")
local log = require("modelrouter.log")
local pages = require("modelrouter.pages")
local tell = require("modelrouter.tell")
local watch = require("modelrouter.watch")

local M = {}

local SILENCE_MS = 5000

--- Return who answered, how fast and why: "smollm2 · 120 ms · rule code · cache miss".
---@param entry modelrouter.LogEntry
---@return string
function M.one_line(entry)
  local parts = { entry.model or "?", ("%.0f ms"):format(entry.ms or 0) }
  if entry.detail and entry.detail.finish == "length" then
    table.insert(parts, "cut short")
  end
  if entry.rule then
    table.insert(parts, "rule " .. entry.rule)
  end
  if entry.cache then
    table.insert(parts, "cache " .. entry.cache)
  end
  return table.concat(parts, " · ")
end

---@param entry modelrouter.LogEntry
---@return string
local function log_line(entry)
  local ms = entry.ms and ("%.0f ms"):format(entry.ms) or ""
  local at = os.date("%H:%M:%S", entry.at)
  return ("%s  %-8s  %9s  %-16s  %s"):format(at, entry.kind, ms, entry.model or "", entry.outcome)
end

--- Show the last requests, what was said, and how long the editor was held.
function M.log()
  local held = watch.held
  local lines = { "TIME      KIND             TIME  MODEL             WHAT CAME OF IT" }
  vim.list_extend(lines, vim.tbl_map(log_line, log.entries()))
  table.insert(lines, "")
  local words = "The plugin ran %d times; it held the editor for %.1f ms at most (%s)."
  table.insert(lines, words:format(held.calls, held.longest_ms, held.longest_name))
  for _, said in ipairs(tell.said) do
    table.insert(lines, "said: " .. said:gsub("\n", " "))
  end
  for _, mistake in ipairs(watch.mistakes) do
    vim.list_extend(lines, vim.split("mistake: " .. mistake, "\n"))
  end
  pages.show("log", lines)
end

--- Show which model gave the last answer, and why that one.
function M.why()
  local entry = log.last_answered()
  if not entry then
    return tell.user("nothing has been answered yet")
  end
  local lines = { ("the last %s: %s"):format(entry.kind, M.one_line(entry)) }
  for _, name in ipairs({ "model", "role", "rule", "confidence", "cache", "outcome" }) do
    if entry[name] then
      table.insert(lines, ("%-12s%s"):format(name, entry[name]))
    end
  end
  if entry.detail then
    vim.list_extend(lines, vim.split(vim.inspect(entry.detail), "\n"))
  end
  pages.show("why", lines)
end

---@return string[]
local function own_lines()
  local status, why = complete.status(), complete.why_none()
  local latency = status.latency_ms and ("%.0f ms"):format(status.latency_ms) or "not measured yet"
  return {
    "server      " .. config.url(),
    "hints       " .. (why and ("none here: %s"):format(why) or "on"),
    "latency     " .. latency,
    ("context     %d of %d chunks"):format(context.count(), config.current.context.chunks),
  }
end

---@param model table as /admin/status has it
---@return string
local function model_line(model)
  local words = "%-24s%-12s%d of %d slots in use, %d waiting"
  return words:format(model.model, model.state, model.active, model.slots, model.waiting)
end

--- Show where the server is, how it is, and whether there are hints here.
function M.status()
  local lines = own_lines()
  local request = { method = "GET", path = "/admin/status", silence_ms = SILENCE_MS }
  http.json(request, function(failure, response)
    if failure then
      vim.list_extend(lines, { "", failure.message })
    else
      local gib = response.json.budget_bytes / 2 ^ 30
      table.insert(lines, ("memory      %.1f of %.1f GiB"):format(response.json.used_bytes / 2 ^ 30, gib))
      table.insert(lines, "")
      vim.list_extend(lines, vim.tbl_map(model_line, response.json.models))
    end
    pages.show("status", lines)
  end)
end

return M
