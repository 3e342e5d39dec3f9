"""One connection: uvicorn's HTTP/1.1, and what it lacks against clients that hold a connection and
do nothing with it.

It knows times and states of connections, and no route.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from modelrouter.server.errors import Failure, Shape, openai_body, shape_of

HEAD_SECONDS: Final = 10.0
"""From a request's first byte, or a connection's beginning, to the last line of its headers."""
BODY_SECONDS: Final = 60.0
"""From there to the body's last byte; who is too slow is told 408."""
IDLE_SECONDS: Final = 60
"""How long a connection may wait for its next request."""
MOST_HEAD_BYTES: Final = 2**16

PATIENCE: Final[Mapping[object, float]] = {h11.IDLE: HEAD_SECONDS, h11.SEND_BODY: BODY_SECONDS}


class Connection(H11Protocol):
    """A connection that has deadlines, and that gives way to others while it is idle."""

    unread_seconds: ClassVar[float] = 120.0
    """How long an answer may lie in the socket without a byte of it being read."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Take what uvicorn gives every connection."""
        super().__init__(*arguments, **named)
        self._awaited: object = None
        """What the client is in the middle of sending, in h11's words."""
        self._deadline: asyncio.TimerHandle | None = None
        self._unread_deadline: asyncio.TimerHandle | None = None
        self.quiet_since = self.loop.time()
        """When its last request was answered, or when it began."""

    @property
    def is_idle(self) -> bool:
        """True where no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; where there are too many connections, the one idle for longest is closed."""
        self._make_room()
        super().connection_made(transport)  # type: ignore[arg-type]
        self._expect(h11.IDLE)

    def _make_room(self) -> None:
        """Close an idle connection; where none is idle, uvicorn answers 503 to the new one."""
        limit = self.config.limit_concurrency
        if limit is None or len(self.connections) < limit - 1:
            return
        idle = [each for each in self.connections if isinstance(each, Connection) and each.is_idle]
        if idle:
            min(idle, key=lambda each: each.quiet_since).close()

    def close(self) -> None:
        """Close the connection, and count it as gone from now on."""
        self.connections.discard(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._expect(None)
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take in what has come, and wait for the rest of it, not for ever."""
        super().data_received(data)
        self._expect(self.conn.their_state)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, which may be here in part."""
        self.quiet_since = self.loop.time()
        super().on_response_complete()
        has_begun = self.conn.their_state is not h11.IDLE or self.conn.trailing_data[0]
        self._expect(self.conn.their_state if has_begun else None)

    def _expect(self, awaited: object) -> None:
        """Set the deadline anew where something else is awaited than before."""
        if awaited is self._awaited:
            return
        self._awaited = awaited
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None
        if awaited in PATIENCE:
            self._deadline = self.loop.call_later(PATIENCE[awaited], self._give_up)

    def _give_up(self) -> None:
        """Close the connection; where a request is half here, say why."""
        if self._awaited is h11.SEND_BODY:
            said = f"the request's body was not here after {BODY_SECONDS:.0f} s"
            self._refuse(408, said, shape_of(self.scope["path"]))
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and has no path that would say in which dialect."""
        head = f"or its head is larger than {MOST_HEAD_BYTES:,} bytes"
        self._refuse(400, f"{msg} It does not keep to HTTP/1.1, {head}.", openai_body)
        self.transport.close()

    def _refuse(self, status: int, message: str, shape: Shape) -> None:
        """Answer in place of the routes, if they have not begun to; they hear of a leaving."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE} or self.transport.is_closing():
            return
        body = json.dumps(shape(Failure(status, message, None)), separators=(",", ":")).encode()
        head = h11.Response(
            status_code=status,
            headers=[
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ],
        )
        self.transport.write(self.conn.send(head) + body)

    def pause_writing(self) -> None:
        """The client does not read: wait for it, not for ever."""
        super().pause_writing()
        self._unread_deadline = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again, or is gone."""
        super().resume_writing()
        if self._unread_deadline is not None:
            self._unread_deadline.cancel()
