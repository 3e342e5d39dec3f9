"""A connection whose client takes nothing in, on a real socket in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from modelrouter.server.wire import Connection

CHUNK, CHUNKS = b"x" * 2**20, 64
"""More than the sockets of a connection take in between them."""


class HastyConnection(Connection):
    """One that waits for nobody to read."""

    unread_seconds = 0.0


@asynccontextmanager
async def listening(answer: Any) -> AsyncIterator[tuple[str, int]]:
    """Serve an ASGI application for the length of a block; give its address."""
    config = uvicorn.Config(answer, http=HastyConnection, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    async with await asyncio.get_running_loop().create_server(
        lambda: HastyConnection(config=config, server_state=state, app_state={}), "127.0.0.1"
    ) as server:
        yield server.sockets[0].getsockname()


async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    """Who writes it waits, does not pile it up, and hears that the client is taken for gone."""
    told: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    async def answer(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        written = 0

        async def write() -> None:
            nonlocal written
            for _ in range(CHUNKS):
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
                written += 1

        writing = asyncio.create_task(write())
        told.set_result(((await receive())["type"], written))
        await writing

    async with listening(answer) as address:
        with socket.create_connection(address) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            what, written = await told
    assert what == "http.disconnect"
    assert written < CHUNKS
