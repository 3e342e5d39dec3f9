"""The chances of an answer's tokens, held back for as long as the text that they gave.

Pure; it counts characters and never reads them.
"""

from collections import deque

from modelrouter.tokens import TokenLogprobs


class TokenLog:
    """Lets a token's chances go once some of its text is shown: a stop string's never are."""

    def __init__(self) -> None:
        """Begin with nothing held."""
        self._held: deque[tuple[int, TokenLogprobs]] = deque()

    def add(self, start: int, logprobs: TokenLogprobs) -> None:
        """Hold the chances of a token whose text begins at character `start` of the answer."""
        self._held.append((start, logprobs))

    def release(self, shown: int) -> tuple[TokenLogprobs, ...]:
        """Return those whose text begins within the first `shown` characters."""
        released = []
        while self._held and self._held[0][0] < shown:
            released.append(self._held.popleft()[1])
        return tuple(released)

    def rest(self) -> tuple[TokenLogprobs, ...]:
        """Return what is left, where an answer ended of itself: tokens without any text."""
        rest, self._held = self._held, deque()
        return tuple(logprobs for _, logprobs in rest)
