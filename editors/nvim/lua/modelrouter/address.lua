--- Where a URL points: host, port and the path before every route. Pure.

local M = {}

---@class modelrouter.Address
---@field host string a name, or an IP address without brackets
---@field port integer
---@field base string the path before each route, without a slash at its end
---@field authority string what the Host header says

--- Read a URL; nil and a sentence where it is none that this plugin can reach.
---@param url string
---@return modelrouter.Address|nil, string|nil
function M.parse(url)
  local scheme, authority, base = url:match("^(%a[%w+.-]*)://([^/?#]+)([^?#]*)$")
  if not scheme then
    return nil, ("%q is no URL such as http://127.0.0.1:8012"):format(url)
  end
  if scheme:lower() ~= "http" then
    return nil, ("%s: only http is spoken here; put a tunnel or a proxy before an %s server"):format(url, scheme)
  end
  local host, port = authority:match("^%[([%x:.]+)%]:?(%d*)$")
  if not host then
    host, port = authority:match("^([^:@]+):?(%d*)$")
  end
  local number = port == "" and 80 or tonumber(port)
  if not host or not number or number > 65535 then
    return nil, ("%s: %q is no host and port"):format(url, authority)
  end
  return { host = host, port = number, base = (base:gsub("/+$", "")), authority = authority }
end

return M
