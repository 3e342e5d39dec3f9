--- Loaded at start: the command, and the one autocommand that wakes the plugin. Nothing else runs
--- before insert mode is entered.

if vim.g.loaded_modelrouter then
  return
end
vim.g.loaded_modelrouter = true

if vim.fn.has("nvim-0.10") == 0 then
  vim.notify("modelrouter needs Neovim 0.10 or later", vim.log.levels.ERROR)
  return
end

vim.api.nvim_create_autocmd("InsertEnter", {
  group = vim.api.nvim_create_augroup("modelrouter.start", {}),
  once = true,
  callback = function()
    require("modelrouter").start()
    vim.schedule(require("modelrouter.complete").moved)
  end,
})

vim.api.nvim_create_user_command("ModelRouter", function(given)
  require("modelrouter.command").run(given)
end, {
  nargs = "+",
  bang = true,
  range = true,
  desc = "hints and answers from modelrouter: status, why, log, health, toggle, ask",
  complete = function(...)
    return require("modelrouter.command").complete(...)
  end,
})
