"""One answer on its way from a worker to whoever asked.

It knows events and their order, not where they come from.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from modelrouter.errors import ModelRouterError
from modelrouter.generation import Delta, Done

StreamEvent = Delta | Done


class Stream:
    """One request's answer as it comes: Deltas, then one Done; or the error that ended it."""

    def __init__(self, job_id: int, cancel: Callable[[int], None]) -> None:
        """Wait for the events of request `job_id`."""
        self._id = job_id
        self._cancel = cancel
        self._events: asyncio.Queue[StreamEvent | ModelRouterError] = asyncio.Queue()
        self._is_over = False
        self.done: Done | None = None
        """The end, once it has been read and was none of an error."""

    def put(self, event: StreamEvent | ModelRouterError) -> None:
        """Hand the next event over."""
        self._events.put_nowait(event)

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self

    async def __anext__(self) -> StreamEvent:
        if self._is_over:
            raise StopAsyncIteration
        event = await self._events.get()
        if isinstance(event, Delta):
            return event
        self._is_over = True
        if isinstance(event, Done):
            self.done = event
            return event
        raise event

    def abort(self, error: ModelRouterError) -> None:
        """Stop the work, where it is not over, and end the stream with the error."""
        if not self._is_over:
            self._cancel(self._id)
            self.put(error)

    def cancel(self) -> None:
        """Stop the work, where it is not over: nobody will listen any more."""
        if not self._is_over:
            self._is_over = True
            self._cancel(self._id)
