"""From a sequence's token bytes to text that may be shown: whole characters, nothing of a stop
string.

Pure; it knows no tokens and no model.
"""

import codecs
import re
from collections.abc import Sequence


class TextStream:
    """Holds back what may yet turn out to be half a character or the beginning of a stop string."""

    def __init__(self, stop: Sequence[str] = (), indent: int = 0) -> None:
        """Begin an answer that ends before the first of the `stop` strings, and before a line that
        begins with fewer than `indent` blanks; empty lines may.
        """
        self._stop = tuple(stop)
        self._outdented, self._line_begin = _line_patterns(indent)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.taken = 0
        """How many characters have been taken in so far."""
        self.shown = 0
        """How many of them have come out again."""
        self.stopped = False
        """True once the answer's end was seen; nothing more comes out after it."""
        self.stopped_by: str | None = None
        """The stop string that was its end; None where a line was."""

    def push(self, data: bytes) -> str:
        """Take the next token's bytes in; return the text that is safe to show now."""
        return self._release(self._decoder.decode(data))

    def finish(self) -> str:
        """Return what was held back, at the end of the answer. Half a character becomes U+FFFD."""
        shown = self._release(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        self.shown += len(held)
        return shown + held

    def _release(self, text: str) -> str:
        self.taken += len(text)
        shown = self._safe(text)
        self.shown += len(shown)
        return shown

    def _safe(self, text: str) -> str:
        if self.stopped:
            return ""
        held = self._held + text
        # The first to be complete, however the tokens cut the text; of two at once the longer one.
        found: list[tuple[int, int, str | None]] = [
            (at + len(stop), at, stop) for stop in self._stop if (at := held.find(stop)) >= 0
        ]
        if (line := self._outdented.search(held)) is not None:
            found.append((line.end() + 1, line.start(), None))
        if found:
            self.stopped = True
            _, at, self.stopped_by = min(found, key=lambda each: each[:2])
            self._held = ""
            return held[:at]
        overlaps = [_overlap(held, stop) for stop in self._stop]
        if (line := self._line_begin.search(held)) is not None:
            overlaps.append(len(held) - line.start())
        safe = len(held) - max(overlaps, default=0)
        self._held = held[safe:]
        return held[:safe]


def _line_patterns(indent: int) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what a line indented less looks like, and what may yet become one at a text's end."""
    if indent == 0:
        return _NEVER, _NEVER
    begin = rf"\n[ \t]{{0,{indent - 1}}}"
    return re.compile(rf"{begin}(?=[^ \t\r\n])"), re.compile(rf"{begin}\Z")


_NEVER = re.compile(r"(?!)")


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
