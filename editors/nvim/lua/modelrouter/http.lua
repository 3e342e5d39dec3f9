--- HTTP requests to the server over vim.uv, each on a connection of its own.
--- Nothing here waits: all that comes back comes in callbacks on the main loop. Closing an exchange
--- closes its connection at once, which is how the server learns that nobody waits any more.
--- TLS is not spoken; address.lua refuses https with a sentence.

local address = require("modelrouter.address")
local config = require("modelrouter.config")
local watch = require("modelrouter.watch")
local wire = require("modelrouter.wire")

local M = {}

local CONNECT_MS = 5000

---@class modelrouter.Failure
---@field kind "address"|"unreachable"|"silent"|"broken"|"status"
---@field message string
---@field status? integer of an answer that is an error
---@field retry_after_seconds? number as the server wishes

---@class modelrouter.Listener all are called on the main loop, and none after `close`
---@field head? fun(status: integer, headers: table<string, string>)
---@field piece? fun(text: string)
---@field done fun(failure: modelrouter.Failure|nil)

---@class modelrouter.Exchange
---@field private listener modelrouter.Listener
---@field private silence_ms integer
---@field private timer uv.uv_timer_t
---@field private socket uv.uv_tcp_t|nil
---@field private is_over boolean nothing more comes from the server
---@field private is_left boolean nobody listens any more
local Exchange = {}
Exchange.__index = Exchange

--- Close the connection now; no callback follows.
function Exchange:close()
  self.is_left = true
  self:release()
end

---@private
function Exchange:release()
  self.is_over = true
  if not self.timer:is_closing() then
    self.timer:close()
  end
  if self.socket and not self.socket:is_closing() then
    self.socket:close()
  end
end

--- Call the listener on the main loop, unless it has left when its turn comes.
---@private
---@param name string
---@param callback function
function Exchange:tell(name, callback, ...)
  watch.scheduled(name, function(...)
    if not self.is_left then
      callback(...)
    end
  end)(...)
end

---@private
---@param failure modelrouter.Failure|nil
function Exchange:finish(failure)
  if not self.is_over then
    self:release()
    self:tell("http done", self.listener.done, failure)
  end
end

---@private
---@param kind string
---@param message string
function Exchange:fail(kind, message)
  self:finish({ kind = kind, message = message })
end

---@private
---@param ms integer
---@param what string
function Exchange:wait_at_most(ms, what)
  self.timer:start(ms, 0, function()
    self:fail("silent", ("the server %s for %.0f seconds"):format(what, ms / 1000))
  end)
end

---@private
---@param event modelrouter.WireEvent
function Exchange:hear(event)
  local listener = self.listener
  if event.kind == "head" and listener.head then
    self:tell("http head", listener.head, event.status, event.headers)
  elseif event.kind == "body" and listener.piece then
    self:tell("http piece", listener.piece, event.text)
  elseif event.kind == "end" then
    self:finish(nil)
  end
end

---@private
---@param reader modelrouter.Reader
---@param problem string|nil
---@param bytes string|nil nil at the connection's end
function Exchange:take(reader, problem, bytes)
  if problem then
    return self:fail("broken", problem)
  end
  local ok, events = pcall(bytes and reader.feed or reader.finish, reader, bytes)
  if not ok then
    return self:fail("broken", events)
  end
  self:wait_at_most(self.silence_ms, "has been silent")
  for _, event in ipairs(events) do
    self:hear(event)
  end
end

---@param place modelrouter.Address
---@param problem string|nil libuv's name of it
---@return string
function M.no_server(place, problem)
  local why = problem == "ECONNREFUSED" and "" or (" (%s)"):format(problem)
  return ("no server at %s%s"):format(place.authority, why)
end

--- Try the addresses of the host one after the other.
---@private
---@param place modelrouter.Address
---@param ips { addr: string }[]
---@param index integer
---@param bytes string
function Exchange:connect(place, ips, index, bytes)
  self.socket = assert(vim.uv.new_tcp())
  self.socket:connect(ips[index].addr, place.port, function(problem)
    if self.is_over then
      return
    elseif problem and ips[index + 1] then
      self.socket:close()
      return self:connect(place, ips, index + 1, bytes)
    elseif problem then
      return self:fail("unreachable", M.no_server(place, problem))
    end
    self.socket:nodelay(true)
    self.socket:write(bytes)
    self:wait_at_most(self.silence_ms, "has been silent")
    local reader = wire.reader()
    self.socket:read_start(watch.timed("http read", function(broken, piece)
      self:take(reader, broken, piece)
    end))
  end)
end

---@class modelrouter.HttpRequest
---@field method string
---@field path string
---@field body? table sent as JSON
---@field silence_ms integer how long the server may say nothing

---@return table<string, string>
local function headers_for(body)
  local key = config.api_key()
  return {
    ["user-agent"] = "modelrouter.nvim",
    ["accept"] = "*/*",
    ["authorization"] = key and "Bearer " .. key or nil,
    ["content-type"] = body and "application/json" or nil,
  }
end

--- Send a request; the listener hears of all that follows.
---@param request modelrouter.HttpRequest
---@param listener modelrouter.Listener
---@return modelrouter.Exchange
function M.send(request, listener)
  local exchange = setmetatable({
    is_over = false,
    is_left = false,
    listener = listener,
    silence_ms = request.silence_ms,
    timer = assert(vim.uv.new_timer()),
  }, Exchange)
  local place, problem = address.parse(config.url())
  if not place then
    exchange:fail("address", problem or "")
    return exchange
  end
  local body = request.body and vim.json.encode(request.body)
  local bytes = wire.request(request.method, place, request.path, headers_for(body), body)
  exchange:wait_at_most(CONNECT_MS, "cannot be reached")
  local options = { socktype = "stream" }
  vim.uv.getaddrinfo(place.host, nil, options, function(no_host, ips)
    if exchange.is_over then
      return
    elseif no_host or not ips or not ips[1] then
      return exchange:fail("unreachable", M.no_server(place, no_host))
    end
    exchange:connect(place, ips, 1, bytes)
  end)
  return exchange
end

--- Return what an error's body says, or its status where it says nothing.
---@param status integer
---@param body string
---@return string
local function said_by(status, body)
  local ok, answer = pcall(vim.json.decode, body)
  local what = ok and type(answer) == "table" and answer.error
  local said = type(what) == "table" and what.message or what
  return type(said) == "string" and said or ("the server answered with status %d"):format(status)
end

--- Return the failure that an answer's status tells; nil where it is none.
---@param status integer
---@param headers table<string, string>
---@param body string
---@return modelrouter.Failure|nil
function M.failure_of(status, headers, body)
  if status < 400 then
    return nil
  end
  return {
    kind = "status",
    status = status,
    message = said_by(status, body),
    retry_after_seconds = tonumber(headers["retry-after"]),
  }
end

---@class modelrouter.Response
---@field status integer
---@field headers table<string, string>
---@field json any

--- Send a request whose answer is one JSON value.
---@param request modelrouter.HttpRequest
---@param done fun(failure: modelrouter.Failure|nil, response: modelrouter.Response|nil)
---@return modelrouter.Exchange
function M.json(request, done)
  local status, headers, pieces = 0, {}, {}
  return M.send(request, {
    head = function(its_status, its_headers)
      status, headers = its_status, its_headers
    end,
    piece = function(text)
      table.insert(pieces, text)
    end,
    done = function(failure)
      local body = table.concat(pieces)
      failure = failure or M.failure_of(status, headers, body)
      if failure then
        return done(failure)
      end
      local ok, json = pcall(vim.json.decode, body, { luanil = { object = true, array = true } })
      if not ok then
        return done({ kind = "broken", message = "the answer is no JSON" })
      end
      done(nil, { status = status, headers = headers, json = json })
    end,
  })
end

return M
