"""What stands before all routes: who may ask, from where, and how much.

It looks at headers and counts bytes; it never reads what they say. What it refuses it raises, and
the errors' own handlers answer in the dialect of the path.
"""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelrouter.server.auth import Keys
from modelrouter.server.wire import MOST_HEAD_BYTES

PUBLIC_PATHS = frozenset({"/health", "/ready"})
"""They need no key: probes carry none, and hear nothing but yes or no."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Door:
    """What is asked of whoever comes in.

    `hosts` are names that the server answers to, besides addresses and localhost; `origins` are the
    web pages that may use it, such as https://chat.example.org.
    """

    keys: Keys = field(default_factory=lambda: Keys(()))
    hosts: Collection[str] = ()
    origins: Collection[str] = ()
    max_body_bytes: int = 2**24


class Gate:
    """Middleware that raises HTTPException for what may not pass."""

    def __init__(self, asgi: ASGIApp, door: Door) -> None:
        """Stand before `asgi`."""
        self._asgi = asgi
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in whose headers are right, and as much of its body as may be."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            _refuse_large_head(headers)
            self._refuse_other_host(headers)
            if scope["method"] not in SAFE_METHODS:
                self._refuse_web_page(headers)
            if scope["path"] not in PUBLIC_PATHS:
                self._refuse_without_key(headers)
            receive = self._counted(receive, int(headers.get("content-length", 0)))
        await self._asgi(scope, receive, send)

    def _refuse_other_host(self, headers: Headers) -> None:
        """Raise where a page's own name was made to point here (DNS rebinding).

        An address cannot be rebound. HTTP/1.0 may come without a Host; browsers speak no HTTP/1.0.
        """
        host = headers.get("host")
        if host is not None and not self._is_ours(_host_name(host)):
            raise HTTPException(
                421,
                f"this server does not answer to the name {host[:200]!r}; "
                "server.hosts in models.toml lists those that it does",
            )

    def _is_ours(self, name: str) -> bool:
        try:
            ipaddress.ip_address(name)
        except ValueError:
            is_local = name == "localhost" or name.endswith(".localhost")
            return is_local or name in self._door.hosts
        return True

    def _refuse_web_page(self, headers: Headers) -> None:
        """Raise for what a page of another site has a browser send: nobody knows that it does."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin in self._door.origins:
            return
        is_own = origin is None or urlsplit(origin).netloc == headers.get("host")
        if not is_own or site in {"cross-site", "same-site"}:
            raise HTTPException(
                403,
                f"web pages of {origin or 'other sites'} may not use this server; "
                "server.origins in models.toml lists those that may",
            )

    def _refuse_without_key(self, headers: Headers) -> None:
        if not self._door.keys.admits(headers):
            raise HTTPException(401, "this server needs its API key: Authorization: Bearer KEY")

    def _counted(self, receive: Receive, announced_bytes: int) -> Receive:
        """Return a `receive` that raises once there is more of a body than may be."""
        most, seen = self._door.max_body_bytes, 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                raise too_large(f"more than {most:,}", most)
            return message

        if announced_bytes > most:
            raise too_large(f"{announced_bytes:,}", most)
        return counted


def _refuse_large_head(headers: Headers) -> None:
    """Raise for a head that came in one piece and was read before it could be found too large."""
    n_bytes = sum(len(name) + len(value) for name, value in headers.raw)
    if n_bytes > MOST_HEAD_BYTES:
        raise HTTPException(
            431, f"the request's headers have {n_bytes:,} bytes; {MOST_HEAD_BYTES:,} may be"
        )


def too_large(found: str, most_bytes: int) -> HTTPException:
    """Return the refusal of a body."""
    return HTTPException(
        413, f"the request's body has {found} bytes; server.max_body is {most_bytes:,}"
    )


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port; "" for one that makes no sense."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
