"""The end of a server: signals, the time that answers get, and what becomes of those that take
longer.

It knows no route. uvicorn closes the listeners and waits; here is what it has no words for.
"""

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn

LAST_WORDS_SECONDS: Final = 1.0
"""How long a client has to read that its answer was ended, before its connection is closed."""


class Server(uvicorn.Server):
    """uvicorn's server; what it is told to stop with ends all answers in the dialect of each."""

    def __init__(
        self, config: uvicorn.Config, stop_within_seconds: float, end_answers: Callable[[], None]
    ) -> None:
        """Call `end_answers` where they go on for so long after the server was asked to stop."""
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._stop_within_seconds = stop_within_seconds
        self._tell_answers = end_answers

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at the second signal do not wait for anybody."""
        if self.should_exit:
            self._loop.call_soon_threadsafe(self._end_answers)
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, give answers their time, and end those that need more."""
        end = self._loop.call_later(self._stop_within_seconds, self._end_answers)
        try:
            await super().shutdown(sockets)
        finally:
            end.cancel()

    def _end_answers(self) -> None:
        self._tell_answers()
        self._loop.call_later(LAST_WORDS_SECONDS, self._close_connections)

    def _close_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
