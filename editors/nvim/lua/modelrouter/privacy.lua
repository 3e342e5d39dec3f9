--- Which files never leave the editor, as a hint's file, as context or in a question.

local config = require("modelrouter.config")

local M = {}

--- Globs over a file's name, in lower case: `*` stands for any text.
M.NAMES = {
  ".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd",
  ".git-credentials", "credentials", "credentials.*", "secrets", "secrets.*", "*.secret", "*.secrets",
  "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.ppk", "*.p12", "*.pfx", "*.p8",
  "*.jks", "*.keystore", "*.kdb", "*.kdbx", "*.gpg", "*.pgp", "*.asc", "*.age", "*.ovpn", "*.tfvars",
  "*.tfstate", "*.tfstate.*", "shadow", "shadow-", "kubeconfig", ".vault-token", ".dockercfg",
}

--- Folders whose files are all secret.
M.FOLDERS = { ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store" }

---@param glob string
---@return string a Lua pattern for the whole name
local function pattern(glob)
  return "^" .. vim.pesc(glob):gsub("%%%*", ".*") .. "$"
end

---@param name string
---@param globs string[]
---@return boolean
local function matches(name, globs)
  return vim.iter(globs):any(function(glob)
    return name:lower():find(pattern(glob:lower())) ~= nil
  end)
end

---@param path string
---@return boolean
local function is_secret_path(path)
  local parts = vim.split(path, "/", { plain = true })
  local name = table.remove(parts)
  local in_folder = vim.iter(parts):any(function(part)
    return vim.list_contains(M.FOLDERS, part)
  end)
  return in_folder or matches(name, M.NAMES) or matches(name, config.current.secrets)
end

--- What is_secret() has found, under the settings of that time: it is asked with every key, and a
--- file's link is looked up on the disk.
local known = { settings = nil, paths = {} }

--- Tell whether a file's content must stay here, by its name or by that of the file it links to.
---@param path string
---@return boolean
function M.is_secret(path)
  if known.settings ~= config.current then
    known = { settings = config.current, paths = {} }
  end
  if known.paths[path] == nil then
    local real = vim.uv.fs_realpath(path) or path
    known.paths[path] = is_secret_path(path) or is_secret_path(real)
  end
  return known.paths[path]
end

--- Tell whether text holds a private key, whatever its file is called.
---@param text string
---@return boolean
function M.holds_key(text)
  return text:find("-----BEGIN [%u ]*PRIVATE KEY") ~= nil
end

return M
