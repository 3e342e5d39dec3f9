"""The server's process: a socket, uvicorn on it, and the note that says where it is."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable

import uvicorn
from fastapi import FastAPI

from modelrouter.app import App
from modelrouter.errors import ConfigError
from modelrouter.server import create
from modelrouter.server.auth import refuse_open_door
from modelrouter.whereabouts import Note

log = logging.getLogger(__name__)

STOP_SECONDS = 5
"""How long answers may go on after the server was asked to stop."""


def serve(
    app: App, host: str, port: int, api_key: str | None, announce: Callable[[str], None]
) -> None:
    """Serve until a signal says stop; `announce` hears the address once it answers.

    ConfigError where the address is taken, or open to a network without a key. Port 0 takes a free
    one.
    """
    refuse_open_door(host, api_key)
    with _listen(host, port) as listener:
        asyncio.run(_serve(app, listener, api_key, announce))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host), backlog=512)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="another server may be there already; choose another with --port",
        ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _serve(
    app: App, listener: socket.socket, api_key: str | None, announce: Callable[[str], None]
) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    note = Note(url, str(app.settings.source.path), app.settings.policy_name)
    asgi = create(app, api_key)

    @contextlib.asynccontextmanager
    async def lifespan(_asgi: FastAPI) -> AsyncIterator[None]:
        async with app:
            app.scheduler.warm()
            _leave(note)
            announce(url)
            try:
                yield
            finally:
                note.remove()

    asgi.router.lifespan_context = lifespan
    config = uvicorn.Config(
        asgi,
        log_level="warning",
        timeout_graceful_shutdown=STOP_SECONDS,
        server_header=False,
        date_header=False,
    )
    server = uvicorn.Server(config)
    asgi.state.is_stopping = lambda: server.should_exit
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGHUP, server.handle_exit, signal.SIGTERM, None
    )
    await server.serve(sockets=[listener])


def _leave(note: Note) -> None:
    try:
        note.write()
    except OSError as error:
        log.warning("`ask` will not find this server by itself (%s); set MODELROUTER_URL", error)
