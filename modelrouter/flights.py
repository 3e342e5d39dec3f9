"""Flights: what several callers want at the same moment is done once, and each follows it from its
beginning.

It knows no request and no answer: who joins brings a key, and the work to do where nobody does it.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeAlias, TypeVar

from modelrouter.errors import ModelRouterError

T = TypeVar("T")
Work: TypeAlias = Callable[[Callable[[T], None]], Awaitable[None]]
"""What is done: it is given a function that tells all followers the next thing that came of it."""


class Flight(Generic[T]):
    """Work under way, what has come of it so far, and how many follow it."""

    def __init__(self, work: Work[T]) -> None:
        """Start the work, for nobody yet."""
        self.followers = 0
        self.task = asyncio.create_task(self._run(work))
        self._told: list[T] = []
        self._error: Exception | None = None
        self._is_over = False
        self._news = asyncio.Event()

    async def _run(self, work: Work[T]) -> None:
        try:
            await work(self._tell)
        except Exception as error:  # noqa: BLE001 - whatever it is, the followers raise it
            self._error = error
        self._is_over = True
        self._wake()

    def _tell(self, item: T) -> None:
        self._told.append(item)
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self) -> AsyncIterator[T]:
        """Yield what is told, from the first thing on; raise what the work ended in."""
        place = 0
        while place < len(self._told) or not self._is_over:
            if place == len(self._told):
                await self._news.wait()
                continue
            yield self._told[place]
            place += 1
        if self._error is not None:
            raise _own(self._error)

    async def leave(self) -> None:
        """Follow no more. The last to go ends the work, and waits until it has ended."""
        self.followers -= 1
        if not self.followers:
            self.task.cancel()
            await asyncio.wait([self.task])


class Flights(Generic[T]):
    """All work under way, by its key."""

    def __init__(self) -> None:
        """Begin with none."""
        self._flying: dict[Hashable, Flight[T]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flying

    @asynccontextmanager
    async def join(self, key: Hashable | None, work: Work[T]) -> AsyncIterator[AsyncIterator[T]]:
        """Follow the work of this key, which begins where nobody does it; None is never shared.

        Leaving the block is leaving the work, which ends at once where nobody else follows it.
        """
        key = object() if key is None else key
        flight = self._flying.get(key) or self._take_off(key, work)
        flight.followers += 1
        try:
            yield flight.follow()
        finally:
            if flight.followers == 1:
                self._forget(key, flight)  # who comes now must not board what is being ended
            await flight.leave()

    def _take_off(self, key: Hashable, work: Work[T]) -> Flight[T]:
        flight = self._flying[key] = Flight(work)
        flight.task.add_done_callback(lambda _: self._forget(key, flight))
        return flight

    def _forget(self, key: Hashable, flight: Flight[T]) -> None:
        if self._flying.get(key) is flight:
            del self._flying[key]


def _own(error: Exception) -> Exception:
    """Return an error for one follower: ours carry a trace, and each caller's is another."""
    return copy.copy(error) if isinstance(error, ModelRouterError) else error
