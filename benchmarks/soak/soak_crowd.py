"""The crowd: clients that work a script off at the same time, and the record of how all of it
ended.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from soak_asking import WHOLE, End, Exchange, Progress
from soak_script import Ask


class Crowd:
    """Some clients in threads of their own; each takes the next ask once its last one has ended."""

    def __init__(self, url: str, asks: Sequence[Ask], clients: int) -> None:
        """Be ready to ask the server at `url`."""
        self.ends: list[End] = []
        self.answers: Counter[str | None] = Counter()
        """Whole answers, by model."""
        self.seconds = 0.0
        self._address = url.removeprefix("http://")
        self._length = len(asks)
        self._asks: Iterator[Ask] = iter(asks)
        self._clients = clients
        self._under_way: dict[int, Progress] = {}
        self._lock = threading.Lock()

    def work(self) -> None:
        """Work the whole script off; every ask has its end afterwards."""
        started = time.monotonic()
        threads = [threading.Thread(target=self._client) for _ in range(self._clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds = time.monotonic() - started

    def _client(self) -> None:
        while (progress := self._next()) is not None:
            end = Exchange(self._address, progress).end()
            with self._lock:
                del self._under_way[progress.ask.number]
                self.ends.append(end)
                self.answers[end.model] += end.name == WHOLE

    def _next(self) -> Progress | None:
        with self._lock:
            ask = next(self._asks, None)
            if ask is None:
                return None
            progress = self._under_way[ask.number] = Progress(ask)
            return progress

    def under_way(self) -> list[Progress]:
        """Return the requests that have begun and not ended."""
        with self._lock:
            return list(self._under_way.values())

    @property
    def done_share(self) -> float:
        """How much of the script has ended, 0 to 1."""
        return len(self.ends) / self._length
