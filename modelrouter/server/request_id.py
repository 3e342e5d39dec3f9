"""The name of a request: the one that the caller gave it, or a new one; it is on every answer.

Routes, errors and logs read it here; nobody else makes one.
"""

import re
import uuid
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"

_SANE = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
"""What callers send: UUIDs, hex, base64, dotted paths. Anything else has no place in a log."""


class RequestIds:
    """Middleware that names each request in `scope["state"]` and its answer in the header."""

    def __init__(self, asgi: ASGIApp) -> None:
        """Stand before `asgi`."""
        self._asgi = asgi

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the request, and answer with its name."""
        if scope["type"] != "http":
            await self._asgi(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER.encode(), b"").decode("latin-1")
        request_id = given if _SANE.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self._asgi(scope, receive, named)


def request_id_of(scope: Mapping[str, object]) -> str:
    """Return the name of the request that an ASGI scope is of."""
    state = scope["state"]
    assert isinstance(state, dict)
    return str(state["request_id"])
