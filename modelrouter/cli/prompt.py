"""The prompt as a person gives it: words on the command line, text piped in, or both."""

import select
import sys
from collections.abc import Sequence

from modelrouter.errors import RequestError
from modelrouter.types import Message

PATIENCE_SECONDS = 1.0
"""A pipe that stays open and silent for longer gets a word of explanation."""


def messages(words: Sequence[str] | None, system: str | None) -> tuple[Message, ...]:
    """Return the conversation to ask: what is piped in, a blank line, and the words."""
    asked = " ".join(words or ())
    parts = [_piped(), "" if asked == "-" else asked]
    prompt = Message("user", "\n\n".join(part for part in parts if part))
    return (prompt,) if system is None else (Message("system", system), prompt)


def _piped() -> str:
    """Return the text on stdin, "" where that is a terminal. RequestError where it is not text."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    if not select.select([sys.stdin], [], [], PATIENCE_SECONDS)[0]:
        sys.stderr.write("reading stdin to its end (`< /dev/null` for none)\n")
    data = sys.stdin.buffer.read()
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"stdin is not UTF-8 text: byte 0x{data[error.start]:02x} at position {error.start:,}",
            hint="convert it first, for instance with: iconv -f latin1 -t utf-8",
        ) from error
