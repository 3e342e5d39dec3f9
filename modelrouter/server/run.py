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
from modelrouter.config import Settings
from modelrouter.errors import ConfigError
from modelrouter.server import create
from modelrouter.server.auth import Keys, read_keys, refuse_open_door
from modelrouter.server.gate import Door
from modelrouter.server.stopping import Server
from modelrouter.server.wire import IDLE_SECONDS, MOST_HEAD_BYTES, Connection
from modelrouter.whereabouts import Note

log = logging.getLogger(__name__)


def serve(
    app: App, host: str, port: int, api_key: str | None, announce: Callable[[str], None]
) -> None:
    """Serve until a signal says stop; `announce` hears the address once it answers.

    ConfigError where the address is taken, or open to a network without a key. Port 0 takes a free
    one. `api_key` opens the door beside those in the file that models.toml names.
    """
    door = door_of(app.settings, host, api_key)
    refuse_open_door(host, door.keys)
    with _listen(host, port) as listener:
        asyncio.run(_serve(app, listener, door, announce))


def door_of(settings: Settings, host: str, api_key: str | None) -> Door:
    """Return what is asked of whoever comes in at `host`."""
    written, path = settings.models_file.server, settings.api_keys_path()
    keys = [] if path is None else read_keys(path)
    return Door(
        keys=Keys([*keys, *([api_key] if api_key else [])]),
        hosts={*written.hosts, host.lower()},
        origins=written.origins,
        max_body_bytes=written.max_body_bytes,
    )


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
    app: App, listener: socket.socket, door: Door, announce: Callable[[str], None]
) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    note = Note(url, str(app.settings.source.path), app.settings.policy_name)
    asgi = create(app, door)

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
    written = app.settings.models_file.server
    config = uvicorn.Config(
        asgi,
        http=Connection,
        ws="none",
        log_level="warning",
        limit_concurrency=written.max_connections,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        timeout_keep_alive=IDLE_SECONDS,
        server_header=False,
        date_header=False,
    )
    server = Server(config, written.stop_within_seconds, app.scheduler.end_answers)
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
