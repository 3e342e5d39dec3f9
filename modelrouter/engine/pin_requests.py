"""The parent's goals of pinning, from their sending to their answers, which come in order.

It knows bytes and who waits for them; sending and receiving are others' work.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from modelrouter.engine.protocol import Pinned, Pinning, ProtocolError
from modelrouter.errors import EngineError


class PinRequests:
    """What one worker has pinned, and who waits for it to pin more or less."""

    def __init__(self) -> None:
        """Begin with nothing pinned."""
        self.pinned_bytes = 0
        self._waiting: deque[tuple[asyncio.Future[Pinned], Callable[[int], None]]] = deque()

    def add(self, on_progress: Callable[[int], None]) -> asyncio.Future[Pinned]:
        """Return the answer that the goal just sent will have."""
        answer: asyncio.Future[Pinned] = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, on_progress))
        return answer

    def take(self, news: Pinning | Pinned) -> None:
        """Hand the worker's news to the one it is for, the first in line."""
        if not self._waiting:
            raise ProtocolError(f"{type(news).__name__} came, and nobody had asked for it")
        self.pinned_bytes = news.n_bytes
        answer, on_progress = self._waiting[0]
        if isinstance(news, Pinning):
            on_progress(news.n_bytes)
            return
        self._waiting.popleft()
        if not answer.done():  # who asked may have left
            answer.set_result(news)

    def fail(self, error: EngineError) -> None:
        """Tell everybody who waits: the worker is gone, and nothing is pinned."""
        self.pinned_bytes = 0
        while self._waiting:
            answer, _ = self._waiting.popleft()
            if not answer.done():
                # Each listener raises its own: an exception carries one trace and one traceback.
                answer.set_exception(type(error)(error.message, hint=error.hint))
