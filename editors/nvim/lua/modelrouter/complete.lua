--- Hints as you type: when to ask, what to show, what to call off. One request is in flight at most.
---
--- There is one rule for what comes back: every answer goes to `answers`, and what is known there for
--- the place where the cursor is now is shown. Typing along a hint, accepting a part of it, an answer
--- that comes after the user has typed on, and one asked for ahead are all the same to it.

local answers = require("modelrouter.answers")
local config = require("modelrouter.config")
local ghost = require("modelrouter.ghost")
local infill = require("modelrouter.infill")
local keys = require("modelrouter.keys")
local log = require("modelrouter.log")
local outage = require("modelrouter.outage")
local pace = require("modelrouter.pace")
local parts = require("modelrouter.parts")
local places = require("modelrouter.place")
local scope = require("modelrouter.scope")
local tell = require("modelrouter.tell")
local watch = require("modelrouter.watch")
local window = require("modelrouter.window")

local M = {}

local MOST_TEXTS = 4

---@class modelrouter.Job the request in flight
---@field exchange modelrouter.Exchange
---@field entry modelrouter.LogEntry
---@field view modelrouter.View
---@field kind string

local state = {
  is_on = true,
  place = nil, ---@type modelrouter.Place|nil the last that was looked at
  view = nil, ---@type modelrouter.View|nil what is around it; nil where no hint may be
  text = nil, ---@type string|nil the hint that shows
  choice = 1, --- which of the texts known for this place
  job = nil, ---@type modelrouter.Job|nil
  timer = assert(vim.uv.new_timer()),
  answers = answers.new(),
  outage = outage.new(),
  pace = pace.new(),
  status = { kind = "idle" },
}

--- What other files may add to a request; set by init.lua.
---@type fun(buffer: integer, view: modelrouter.View): { filename: string, text: string }[]
M.chunks_for = function()
  return {}
end

local function now_ms()
  return vim.uv.hrtime() / 1e6
end

---@param what string
local function announce(what)
  vim.api.nvim_exec_autocmds("User", { pattern = what, modeline = false })
end

---@param status table
local function set_status(status)
  state.status = status
  announce("ModelRouterStatus")
end

local function hide()
  if state.text then
    state.text = nil
    ghost.hide()
    keys.unmap()
    announce("ModelRouterHidden")
  end
end

--- Call off what is in flight: its connection closes now, and so does the work in the server.
local function cancel()
  state.timer:stop()
  local job = state.job
  if job then
    state.job = nil
    job.exchange:close()
    log.finish(job.entry, "cancelled")
    state.pace:cancelled(job.entry.ms)
    set_status({ kind = "idle" })
  end
end

--- Forget where the cursor was; nothing shows and nothing is asked.
local function leave()
  cancel()
  hide()
  state.place, state.view = nil, nil
end

---@param text string
local function show(text)
  local place = state.place
  ghost.show(place.buffer, place.row, place.col, text)
  state.text = text
  keys.map(M.actions)
  announce("ModelRouterShown")
end

---@param failure modelrouter.Failure
local function failed(failure)
  local words = state.outage:failed(failure, now_ms())
  if words then
    tell.warn(words)
  end
  set_status({ kind = "failed", message = failure.message })
end

local ask

--- While the user reads a hint, ask for the one that follows it.
---@param text string
local function ask_ahead(text)
  local view = window.after(state.view, text)
  if config.current.speculate and not state.job and not state.answers:find(view) then
    ask({ view = view, kind = "ahead" })
  end
end

--- Show what is known for this place; tell whether anything is.
---@return boolean
local function show_known()
  local found = state.view and state.answers:find(state.view)
  if not found then
    return false
  end
  if state.choice > #found.texts then
    state.choice = 1 -- another was asked for, and is none: the round begins again
  end
  local text = found.texts[state.choice]
  if text == "" then
    hide()
  else
    show(text)
    ask_ahead(text)
  end
  return true
end

---@param job modelrouter.Job
---@param failure modelrouter.Failure|nil
---@param text string
local function take(job, failure, text)
  state.job = nil
  if failure then
    return failed(failure)
  end
  state.outage:answered()
  state.pace:answered(job.entry.ms)
  state.answers:add(job.view, text, job.entry)
  set_status({ kind = "answered", entry = job.entry })
  show_known()
end

---@param wish { view: modelrouter.View, kind: string, seed: integer|nil }
function ask(wish)
  if not state.outage:may_try(now_ms()) then
    return
  end
  wish.chunks = M.chunks_for(state.place.buffer, wish.view)
  local job = { view = wish.view, kind = wish.kind }
  job.exchange, job.entry = infill.ask(wish, function(failure, text)
    take(job, failure, text)
  end)
  state.job = job
  set_status({ kind = "asking" })
  announce("ModelRouterAsked")
end

--- Tell whether the request in flight is for this place, or for what follows the hint shown here.
---@return boolean
local function job_fits()
  local job, view = state.job, state.view
  if not job or not view or job.view.suffix ~= view.suffix then
    return false
  end
  local ahead = state.text and view.prefix .. state.text
  return job.view.prefix == view.prefix or (job.kind == "ahead" and job.view.prefix == ahead)
end

--- Ask after a pause, unless something is known, or on its way.
---@param delay_ms integer
local function want(delay_ms)
  if show_known() then
    if state.job and not job_fits() then
      cancel()
    end
    return
  end
  hide()
  if job_fits() then
    return
  end
  cancel()
  state.timer:start(delay_ms, 0, watch.scheduled("pause", function()
    if state.view and not state.job then
      ask({ view = state.view, kind = "hint" })
    end
  end))
end

--- The cursor or the text has moved.
function M.moved()
  local place = places.here()
  if vim.deep_equal(place, state.place) then
    return
  end
  state.place, state.choice = place, 1
  state.view = places.view(place, false)
  if not state.is_on or not state.view then
    cancel()
    hide()
  elseif config.current.auto then
    want(state.pace:delay_ms(config.current.debounce_ms))
  elseif not show_known() then
    cancel()
    hide()
  end
end

--- The user is elsewhere: out of insert mode, or in another buffer or window.
M.left = leave

--- Ask for a hint now, also where none come by themselves.
function M.trigger()
  state.place, state.choice = places.here(), 1
  state.view = places.view(state.place, true)
  if state.view then
    want(0)
  else
    tell.user("no hint here: " .. (M.why_none() or "the text is not UTF-8"))
  end
end

--- Return why there is no hint where the cursor is; nil where there can be one.
---@return string|nil
function M.why_none()
  local buffer = vim.api.nvim_get_current_buf()
  return not state.is_on and "hints are switched off"
    or scope.why_not(buffer)
    or scope.why_not_now(vim.api.nvim_get_current_line())
end

--- Put the first part of the hint into the text, as a change of its own for undo.
---@param how "whole"|"line"|"word"
function M.accept(how)
  if not state.text then
    return
  end
  local part, place = parts.first(state.text, how), state.place
  log.finish(log.begin("hint"), "accepted")
  local lines = vim.split(part, "\n", { plain = true })
  vim.go.undolevels = vim.go.undolevels -- ends the change that typing began
  vim.api.nvim_buf_set_text(place.buffer, place.row, place.col, place.row, place.col, lines)
  local col = #lines == 1 and place.col + #part or #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { place.row + #lines, col })
  M.moved()
end

--- Show another hint in this one's place, asking for it where none is known yet.
function M.next()
  local found = state.view and state.answers:find(state.view)
  local known = found and #found.texts or 0
  if state.choice < known or known >= MOST_TEXTS then
    state.choice = state.choice % known + 1
    show_known()
  elseif known > 0 then
    cancel()
    state.choice = known + 1
    ask({ view = state.view, kind = "next", seed = known })
  end
end

--- Take the hint away; it does not come back by typing along it.
function M.dismiss()
  if state.view then
    state.answers:forget(state.view)
  end
  cancel()
  hide()
end

---@param on boolean|nil nil switches
---@return boolean
function M.toggle(on)
  state.is_on = on == nil and not state.is_on or on == true
  leave()
  return state.is_on
end

--- Return what is going on: for the status line and the status page.
function M.status()
  return { is_on = state.is_on, latest = state.status, latency_ms = state.pace.latency_ms }
end

M.actions = {
  accept = function()
    M.accept("whole")
  end,
  accept_line = function()
    M.accept("line")
  end,
  accept_word = function()
    M.accept("word")
  end,
  next = M.next,
  dismiss = M.dismiss,
}

return M
