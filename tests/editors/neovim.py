"""A real Neovim with the plugin, driven as a person would: keys in, screen and files out.

It is a program of its own, spoken to over msgpack-rpc on its standard input and output, which is
what `nvim --embed` is for. Nothing is asked in a loop: all waiting is for what the editor sends.
"""

import itertools
import json
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgpack
from screen import Screen

Edit: TypeAlias = Callable[..., "Editor"]

PLUGIN = Path(__file__).parents[2] / "editors" / "nvim"

INIT = """\
vim.opt.runtimepath:prepend({plugin})
vim.o.swapfile, vim.o.shortmess = false, vim.o.shortmess .. "I"
require("modelrouter").setup(vim.json.decode({settings}))
"""

LISTEN = """
local channel = ...
vim.api.nvim_create_autocmd("User", { pattern = "ModelRouter*", callback = function(event)
  vim.rpcnotify(channel, event.match)
end })
"""

REQUEST, RESPONSE = 0, 1


class Rpc:
    """Calls to a Neovim, and what it sends of its own accord, in the order in which it comes."""

    def __init__(self, *argv: str | Path) -> None:
        """Start the program."""
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._unpacker = msgpack.Unpacker(
            strict_map_key=False,
            unicode_errors="surrogateescape",
            ext_hook=lambda _kind, data: msgpack.unpackb(data),
        )
        self._numbers = itertools.count()
        self._told: deque[tuple[str, Any]] = deque()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call one of Neovim's functions and return its answer; AssertionError where it fails."""
        number = next(self._numbers)
        assert self._process.stdin is not None
        self._process.stdin.write(msgpack.packb([REQUEST, number, method, arguments]))
        self._process.stdin.flush()
        while (message := self._read())[0] != RESPONSE:
            self._told.append((message[1], message[2]))
        assert message[1] == number
        assert message[2] is None, message[2]
        return message[3]

    def next_told(self) -> tuple[str, Any]:
        """Return the next notification, waiting for it."""
        if self._told:
            return self._told.popleft()
        _, name, arguments = self._read()
        return name, arguments

    def _read(self) -> Any:
        assert self._process.stdout is not None
        while True:
            for message in self._unpacker:
                return message
            data = self._process.stdout.read1()  # type: ignore[attr-defined]
            assert data, "the editor has ended"
            self._unpacker.feed(data)

    def close(self) -> None:
        """End the program, whatever it is doing."""
        self._process.kill()
        self._process.communicate()


class Editor:
    """One Neovim with the plugin and a screen of 80 by 24."""

    def __init__(self, program: Path, folder: Path, settings: dict[str, Any]) -> None:
        """Start it with the plugin's settings; its configuration lies in `folder`."""
        init = folder / "init.lua"
        init.write_text(
            INIT.format(plugin=_quoted(str(PLUGIN)), settings=_quoted(json.dumps(settings)))
        )
        self._rpc = Rpc(program, "--embed", "-u", init, "-i", "NONE")
        self.call = self._rpc.call
        self.screen = Screen(80, 24)
        self.call("nvim_ui_attach", 80, 24, {"rgb": True, "ext_linegrid": True})
        channel, _ = self.call("nvim_get_api_info")
        self.lua(LISTEN, channel)

    def lua(self, code: str, *arguments: Any) -> Any:
        """Run Lua and return what it returns."""
        return self.call("nvim_exec_lua", code, arguments)

    def command(self, line: str) -> None:
        """Run a command."""
        self.call("nvim_command", line)

    def open(self, path: Path, content: bytes = b"") -> None:
        """Open a file with this content, the cursor at its end."""
        path.write_bytes(content)
        self.command(f"silent edit {path}")
        self.command("normal! G$")

    def type(self, keys: str) -> None:
        """Press keys, as `:help key-notation` writes them; `<` alone is `<lt>`."""
        self.call("nvim_input", keys)

    def lines(self) -> list[str]:
        """Return the current buffer's text."""
        return list(self.call("nvim_buf_get_lines", 0, 0, -1, True))

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Take what the editor sends until it is so."""
        while not is_so():
            self._take()

    def wait_for(self, event: str) -> None:
        """Wait for one of the plugin's User events, such as "ModelRouterShown"."""
        while self._take() != event:
            pass

    def see(self, text: str) -> None:
        """Wait until the screen shows the text."""
        self.wait_until(lambda: text in str(self.screen))

    def close(self) -> None:
        """End it."""
        self._rpc.close()

    def _take(self) -> str:
        name, arguments = self._rpc.next_told()
        if name == "redraw":
            self.screen.apply(arguments)
        return name


def _quoted(text: str) -> str:
    """Return a Lua string."""
    return f"[==[{text}]==]"
