--- HTTP/1.1 as bytes: a request written, a response read as it comes (RFC 9112). Pure.
--- It knows no socket; a malformed response raises a sentence.

local M = {}

---@class modelrouter.WireEvent
---@field kind "head"|"body"|"end"
---@field status? integer
---@field headers? table<string, string> by lower-case name
---@field text? string

local LONGEST_HEAD = 64 * 1024

--- Return the bytes of a request; the connection is used for this one alone.
---@param method string
---@param address modelrouter.Address
---@param path string
---@param headers table<string, string>
---@param body string|nil
---@return string
function M.request(method, address, path, headers, body)
  local lines = {
    ("%s %s%s HTTP/1.1"):format(method, address.base, path),
    "host: " .. address.authority,
    "connection: close",
  }
  for name, value in pairs(headers) do
    table.insert(lines, ("%s: %s"):format(name, (value:gsub("[\r\n]", ""))))
  end
  if body then
    table.insert(lines, "content-length: " .. #body)
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

---@class modelrouter.Reader
---@field private rest string what has come and is not read yet
---@field private step fun(self, events): boolean reads one thing; false where it has not come yet
---@field private missing integer bytes of the body, or of the chunk, that are still to come
local Reader = {}
Reader.__index = Reader

local steps = {}

---@return modelrouter.Reader
function M.reader()
  return setmetatable({ rest = "", step = steps.head, missing = 0 }, Reader)
end

--- Take the next bytes and return what they bring.
---@param bytes string
---@return modelrouter.WireEvent[]
function Reader:feed(bytes)
  self.rest = self.rest .. bytes
  local events = {}
  while self.step(self, events) do
  end
  return events
end

--- Take the connection's end, which is an error unless the response is whole.
---@return modelrouter.WireEvent[]
function Reader:finish()
  if self.step == steps.done then
    return {}
  elseif self.step == steps.until_close then
    self.step = steps.done
    return { { kind = "end" } }
  end
  error("the server left in the middle of its answer", 0)
end

---@param self modelrouter.Reader
---@return string|nil line without its end; nil where it has not come yet
local function take_line(self)
  local line, after = self.rest:match("^([^\n]*)\n()")
  if not line then
    if #self.rest > LONGEST_HEAD then
      error("the answer is no HTTP: a line without an end", 0)
    end
    return nil
  end
  self.rest = self.rest:sub(after)
  return (line:gsub("\r$", ""))
end

---@param head string
---@return integer status, table<string, string> headers
local function parse_head(head)
  local status = head:match("^HTTP/1%.%d (%d%d%d)")
  if not status then
    error(("the answer is no HTTP: %q"):format(head:sub(1, 40)), 0)
  end
  local headers = {}
  for name, value in head:gmatch("\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    headers[name:lower()] = value
  end
  return tonumber(status), headers
end

---@param self modelrouter.Reader
---@param status integer
---@param headers table<string, string>
local function step_after_head(self, status, headers)
  if status == 204 or status == 304 then
    return steps.length
  elseif (headers["transfer-encoding"] or ""):lower():find("chunked", 1, true) then
    return steps.chunk_size
  elseif headers["content-length"] then
    self.missing = tonumber(headers["content-length"]) or error("content-length is no number", 0)
    return steps.length
  end
  return steps.until_close
end

function steps.head(self, events)
  local from, to = self.rest:find("\r?\n\r?\n")
  if not from then
    if #self.rest > LONGEST_HEAD or not ("HTTP/"):find(self.rest:sub(1, 5), 1, true) then
      error(("the answer is no HTTP: %q"):format(self.rest:sub(1, 40)), 0)
    end
    return false
  end
  local status, headers = parse_head(self.rest:sub(1, from))
  self.rest = self.rest:sub(to + 1)
  if status >= 200 then -- 1xx announces another head
    table.insert(events, { kind = "head", status = status, headers = headers })
    self.step = step_after_head(self, status, headers)
  end
  return true
end

---@param self modelrouter.Reader
---@param events modelrouter.WireEvent[]
local function take_body(self, events)
  local text = self.rest:sub(1, self.missing)
  self.rest = self.rest:sub(#text + 1)
  self.missing = self.missing - #text
  if text ~= "" then
    table.insert(events, { kind = "body", text = text })
  end
  return self.missing == 0
end

local function finish(self, events)
  table.insert(events, { kind = "end" })
  self.step = steps.done
  return true
end

function steps.length(self, events)
  return take_body(self, events) and finish(self, events)
end

function steps.chunk_size(self)
  local line = take_line(self)
  if not line then
    return false
  end
  self.missing = tonumber(line:match("^%s*(%x+)"), 16) or error("a chunk without a size", 0)
  self.step = self.missing == 0 and steps.trailer or steps.chunk
  return true
end

function steps.chunk(self, events)
  if not take_body(self, events) then
    return false
  end
  self.step = steps.chunk_end
  return true
end

function steps.chunk_end(self)
  if not take_line(self) then
    return false
  end
  self.step = steps.chunk_size
  return true
end

function steps.trailer(self, events)
  local line = take_line(self)
  if line == "" then
    return finish(self, events)
  end
  return line ~= nil
end

function steps.until_close(self, events)
  self.missing = #self.rest
  take_body(self, events)
  return false
end

function steps.done()
  return false
end

return M
