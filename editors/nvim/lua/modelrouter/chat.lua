--- One question to the server: POST /v1/chat/completions, streamed.

local config = require("modelrouter.config")
local http = require("modelrouter.http")
local log = require("modelrouter.log")
local sse = require("modelrouter.sse")

local M = {}

--- The server says at least every ten seconds that it works.
local SILENCE_MS = 60 * 1000

---@class modelrouter.ChatListener
---@field waits fun(comment: string) what the answer waits for
---@field text fun(piece: string)
---@field done fun(failure: modelrouter.Failure|nil, entry: modelrouter.LogEntry)

---@class modelrouter.Stream
---@field private listener modelrouter.ChatListener
---@field private entry modelrouter.LogEntry
---@field private failure modelrouter.Failure|nil
---@field private is_whole boolean
local Stream = {}
Stream.__index = Stream

---@private
---@param data string
function Stream:event(data)
  local ok, chunk = pcall(vim.json.decode, data, { luanil = { object = true, array = true } })
  if data == "[DONE]" then
    self.is_whole = true
  elseif not ok or type(chunk) ~= "table" then
    self.failure = { kind = "broken", message = "an event of the answer is no JSON" }
  elseif chunk.error then
    self.failure = { kind = "status", message = chunk.error.message or "the answer failed" }
  else
    self:chunk(chunk)
  end
end

---@private
function Stream:chunk(chunk)
  local choice = (chunk.choices or {})[1] or {}
  local piece = choice.delta and choice.delta.content or ""
  self.entry.detail = chunk.modelrouter or self.entry.detail
  if piece ~= "" then
    self.listener.text(piece)
  end
end

---@private
---@param failure modelrouter.Failure|nil
function Stream:finish(failure)
  local entry, said = self.entry, self.entry.detail
  failure = failure or self.failure
  if not failure and not self.is_whole then
    failure = { kind = "broken", message = "the answer ended in the middle" }
  end
  if said then
    entry.model, entry.role, entry.rule = said.model, said.role, said.rule
    entry.cache, entry.confidence = said.cache, tostring(said.confidence)
  end
  log.finish(entry, failure and failure.message or "answered")
  self.listener.done(failure, entry)
end

--- Ask; closing the exchange stops the work in the server.
---@param messages { role: string, content: string }[]
---@param listener modelrouter.ChatListener
---@return modelrouter.Exchange, modelrouter.LogEntry
function M.ask(messages, listener)
  local entry = log.begin("question")
  local stream = setmetatable({ listener = listener, entry = entry, is_whole = false }, Stream)
  local reader, status, headers, error_body = sse.reader(), 0, {}, {}
  local body = { messages = messages, stream = true, model = config.current.ask_model or nil }
  local request = { method = "POST", path = "/v1/chat/completions", body = body, silence_ms = SILENCE_MS }
  local exchange = http.send(request, {
    head = function(its_status, its_headers)
      status, headers = its_status, its_headers
      log.decided(entry, headers)
    end,
    piece = function(text)
      if status >= 400 then
        return table.insert(error_body, text)
      end
      for _, event in ipairs(reader:feed(text)) do
        if event.data then
          stream:event(event.data)
        elseif event.comment ~= "keep-alive" then
          listener.waits(event.comment)
        end
      end
    end,
    done = function(failure)
      stream:finish(failure or http.failure_of(status, headers, table.concat(error_body)))
    end,
  })
  return exchange, entry
end

return M
