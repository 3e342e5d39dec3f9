"""One request's work in a task of its own, so that it can be watched, fed to a stream, and stopped.

It knows no dialect: what comes out is a Reply, its parts, or the error that ended it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from modelrouter.app import App
from modelrouter.chat import Part
from modelrouter.reply import Reply
from modelrouter.server.headers import decision_headers, path_headers
from modelrouter.trace import Trace
from modelrouter.types import Request

QUICK_SECONDS = 2.0
"""How long to wait for the first text before a stream begins without it: a failure that shows
itself sooner gets its own HTTP status, a model that takes longer a client that sees life.
"""

KEEP_ALIVE_SECONDS = 10.0
"""How long a stream may be silent."""

WAITING_SECONDS = 1.0
"""How long one may be silent that has no text yet: a person wants to know how far it is."""


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """No text, but the work goes on. `said` is what it waits for; None tells nothing."""

    said: str | None = None


class ClientGone(Exception):
    """Whoever asked has closed the connection."""


class Answering:
    """The path of one request, running beside its HTTP exchange."""

    def __init__(self, app: App, request: Request, *, is_streamed: bool) -> None:
        """Start the work; its `parts` are kept for a stream alone: a whole answer is the reply."""
        self.reply: Reply | None = None
        self._trace = Trace()
        self._scheduler = app.scheduler
        self._ticket: int | None = None
        self._is_streamed = is_streamed
        self._parts: asyncio.Queue[Part | None] = asyncio.Queue()
        self._is_under_way = asyncio.Event()
        self._work = asyncio.create_task(self._run(app, request))
        # Whoever leaves early never asks how the work ended; asyncio would complain of that.
        self._work.add_done_callback(lambda work: work.cancelled() or work.exception())

    async def _run(self, app: App, request: Request) -> None:
        try:
            async with app.router.ask(request, self._line_up, self._trace) as self.reply:
                async for part in self.reply.parts():
                    if self._is_streamed:
                        self._parts.put_nowait(part)
                    self._is_under_way.set()
        finally:
            self._parts.put_nowait(None)
            self._is_under_way.set()

    async def whole(self, receive: Callable[[], Awaitable[Any]]) -> Reply:
        """Wait for the whole answer; ClientGone where the caller leaves before."""
        await self._watched(self._work, receive)
        assert self.reply is not None
        return self.reply

    async def begun(self, receive: Callable[[], Awaitable[Any]]) -> None:
        """Wait for a text, an end, or a while; raise what has failed by then."""
        waiting = asyncio.create_task(self._is_under_way.wait())
        await self._watched(waiting, receive, QUICK_SECONDS)
        waiting.cancel()
        if self._work.done():
            self._work.result()

    async def _watched(
        self,
        work: "asyncio.Task[Any]",
        receive: Callable[[], Awaitable[Any]],
        seconds: float | None = None,
    ) -> None:
        """Wait for the work while the client stays; all it can still send is that it has left."""
        leaving = asyncio.ensure_future(receive())
        try:
            done, _ = await asyncio.wait(
                [work, leaving], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            self.stop()
            raise
        finally:
            leaving.cancel()
        if work in done:
            work.result()
        elif leaving in done:
            self.stop()
            raise ClientGone

    async def parts(self) -> AsyncGenerator[Part | SignOfLife, None]:
        """Yield the answer's parts as they come, and signs of life where none comes for a while.

        The error that ended the work is raised at the end; leaving early stops it.
        """
        try:
            if not self._is_under_way.is_set():
                yield self._sign()
            while (part := await self._next()) is not None:
                yield part
            await self._work
        finally:
            self.stop()

    async def _next(self) -> Part | SignOfLife | None:
        """Wait for the next part, None at the end, but not for longer than a stream is silent."""
        seconds = KEEP_ALIVE_SECONDS if self._is_under_way.is_set() else WAITING_SECONDS
        try:
            return await asyncio.wait_for(self._parts.get(), seconds)
        except TimeoutError:
            return self._sign()

    def headers(self) -> dict[str, str]:
        """Return what is decided by now as headers, for a stream that begins."""
        return path_headers(self._trace) if self.reply is None else decision_headers(self.reply)

    def _line_up(self, ticket: int) -> None:
        self._ticket = ticket

    def _sign(self) -> SignOfLife:
        if self._is_under_way.is_set() or self._ticket is None:
            return SignOfLife()
        wait = self._scheduler.wait_of(self._ticket)
        return SignOfLife(None if wait is None else str(wait))

    def stop(self) -> None:
        """End the work, where it is not over."""
        self._work.cancel()
