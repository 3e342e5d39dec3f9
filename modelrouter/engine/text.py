"""From a sequence's token bytes to text that may be shown: whole characters, nothing of a stop
string.

Pure; it knows no tokens and no model.
"""

import codecs
from collections.abc import Sequence


class TextStream:
    """Holds back what may yet turn out to be half a character or the beginning of a stop string."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        """Begin an answer that ends before the first of the `stop` strings."""
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.taken = 0
        """How many characters have been taken in so far."""
        self.shown = 0
        """How many of them have come out again."""
        self.stopped_by: str | None = None
        """The stop string that was seen; nothing more comes out after it."""

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
        if self.stopped_by is not None:
            return ""
        held = self._held + text
        # The first to be complete, however the tokens cut the text; of two at once the longer one.
        found = [(at + len(stop), at, stop) for stop in self._stop if (at := held.find(stop)) >= 0]
        if found:
            _, at, self.stopped_by = min(found)
            self._held = ""
            return held[:at]
        safe = len(held) - max((_overlap(held, stop) for stop in self._stop), default=0)
        self._held = held[safe:]
        return held[:safe]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that is a beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
