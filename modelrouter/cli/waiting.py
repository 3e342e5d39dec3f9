"""The line that says what a person waits for: written over and over on a terminal, then erased.

It knows no surface: words come in, from the scheduler of this process or from a server.
"""

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from modelrouter.scheduler.scheduler import Scheduler

TO_LINE_START = "\r"
CLEAR_TO_END = "\x1b[K"
USUAL_COLUMNS = 80


class WaitLine:
    """A line of stderr; where that is no terminal, nothing is ever written.

    Whatever comes of the wait, `close` it: the terminal is somebody else's then.
    """

    def __init__(self) -> None:
        self._is_open = can_rewrite(sys.stderr)
        self._text = ""

    def show(self, text: str) -> None:
        """Put the text in the place of the one before; "" leaves an empty line."""
        if self._is_open and text != self._text:
            self._text = text
            # A server's word may be shown, its control characters not.
            printable = "".join(filter(str.isprintable, text))
            sys.stderr.write(f"{TO_LINE_START}{printable[: _columns() - 1]}{CLEAR_TO_END}")
            sys.stderr.flush()

    def close(self) -> None:
        """Erase the line, for good: the answer begins."""
        self.show("")
        self._is_open = False


def can_rewrite(stream: TextIO) -> bool:
    """Tell whether what stands there can be written over: on a terminal that is not dumb."""
    return stream.isatty() and os.environ.get("TERM") not in {None, "", "dumb"}


def _columns() -> int:
    """Return how wide the terminal is: a longer line would break, and could not be erased."""
    return os.get_terminal_size(sys.stderr.fileno()).columns or USUAL_COLUMNS


async def show_wait(scheduler: "Scheduler", ticket: int, line: WaitLine) -> None:
    """Show what a request of this process waits for until it is over."""
    while (wait := scheduler.wait_of(ticket)) is not None:
        line.show(str(wait))
        await scheduler.news()
