"""A terminal of its own for the program: what a person sees who does not pipe it anywhere."""

import os
import pty
import re
import signal
import subprocess
import termios
from pathlib import Path

from program import PROGRAM

ERASED = "\r\x1b[K"
"""The cursor goes to the start of the line, and the line is cleared."""


class Terminal:
    """`modelrouter ...` with all its streams on one terminal of 80 columns."""

    def __init__(self, *arguments: str | Path, **env: str) -> None:
        """Start the program."""
        self._screen, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm"} | env,
        )
        os.close(theirs)
        self.written = ""

    def wait_for(self, pattern: str) -> str:
        """Read until something that fits the pattern has been written, and return it."""
        while not (found := re.search(pattern, self.written)):
            assert self._read(), self.written
        return found[0]

    def press_ctrl_c(self) -> None:
        """Do what the terminal's line discipline does at Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self._read():
            pass
        os.close(self._screen)
        return self.process.wait(20)

    def _read(self) -> bool:
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # the program has closed the terminal
            return False
        self.written += data.decode(errors="replace")
        return bool(data)
