"""The prompt as a person gives it: words on the command line, text piped in, or both."""

import sys
from collections.abc import Sequence

from modelrouter.errors import RequestError
from modelrouter.types import Message


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
    data = sys.stdin.buffer.read()
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"stdin is not UTF-8 text: byte 0x{data[error.start]:02x} at position {error.start:,}",
            hint="convert it first, for instance with: iconv -f latin1 -t utf-8",
        ) from error
