"""What clients must not be able to do to the server, byte by byte over raw sockets."""

import json
import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from program import USER_HI, Serve, Server, write_config

from modelrouter.synthetic.vocabulary import CONTROL_TOKENS, token_id

CHAT = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x.localhost\r\ncontent-type: application/json\r\n"
)
BODY = json.dumps({"messages": USER_HI, "max_tokens": 2}).encode()
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"
MANY = 1000
LARGE = {
    "messages": USER_HI,
    "stream": True,
    "max_tokens": 400,
    "logit_bias": {str(token_id(control)): -100 for control in CONTROL_TOKENS},  # it has no end
    "logprobs": True,
    "top_logprobs": 20,  # a kilobyte for each token
}


@pytest.fixture
def server(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> Server:
    """A server with the tiny model that has room for a hundred connections."""
    config = write_config(tmp_path / "wire", tiny_gguf, "context = 512")
    config.write_text(config.read_text() + "[server]\nmax_connections = 100\n")
    return serve(config)


def all_of(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes; a reset is an end like any other."""
    data = b""
    try:
        while got := connection.recv(65536):
            data += got
    except ConnectionResetError:
        pass
    return data


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of all answers that came."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # a browser that speaks TLS
        (b"GET /health HTTP/1.1\r\n\r\n", 400),  # no Host
        (HEALTH + b"host: b\r\n\r\n", 400),
        (HEALTH + b"a b: c\r\n\r\n", 400),
        (CHAT + b"content-length: -1\r\n\r\n", 400),
        (CHAT + b"content-length: many\r\n\r\n", 400),
        (CHAT + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400),
        (CHAT + b"transfer-encoding: gzip\r\n\r\n", 400),
        (CHAT + b"transfer-encoding: chunked\r\n\r\nnonsense\r\n", 400),
        (CHAT + b"transfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n", 400),
        (CHAT + b"transfer-encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n", 400),
        (CHAT + b"content-length: 99999999999\r\n\r\n{", 413),
    ],
)
def test_what_is_no_http_is_refused(server: Server, sent: bytes, status: int) -> None:
    """One answer, in JSON, that says so; and the next client is served."""
    with server.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = all_of(connection)
    assert statuses(answer) == [status]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert server.get("/health")[0] == 200


@pytest.mark.parametrize("headers", [b"x: " + b"y" * 70_000 + b"\r\n", b"x: y\r\n" * 50_000])
def test_a_head_that_is_too_large(server: Server, headers: bytes) -> None:
    """However it is cut into packets: 431 where it came as a whole, else 400 before its end."""
    with server.connect() as connection:
        connection.sendall(HEALTH + headers + b"connection: close\r\n\r\n")
        answer = all_of(connection)
    assert statuses(answer) in ([400], [431])
    assert b"65,536 " in answer
    assert server.get("/health")[0] == 200


def test_a_body_that_ends_early_or_late(server: Server) -> None:
    """Half a body starts no work; what comes after a body is the next request, good or bad."""
    with server.connect() as connection:
        connection.sendall(CHAT + b"content-length: %d\r\n\r\n" % len(BODY) + BODY[:20])
    with server.connect() as connection:
        connection.sendall(CHAT + b"content-length: %d\r\n\r\n" % len(BODY) + BODY + b"}}\r\n\r\n")
        assert statuses(all_of(connection)) == [200, 400]
    assert server.state("tiny")["waiting"] == 0


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    """A client need not wait for an answer before it sends what it wants next."""
    chat = CHAT + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    with server.connect() as connection:
        missing = b"GET /v1/nothing HTTP/1.1\r\nhost: localhost\r\n\r\n"
        last = HEALTH + b"connection: close\r\n\r\n"
        connection.sendall(chat + missing + chat + last)
        assert statuses(all_of(connection)) == [200, 404, 200, 200]


def test_http_1_0(server: Server) -> None:
    """It need not name a host, and its connection ends with the answer, a stream too."""
    with server.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert all_of(connection).endswith(b'{"status":"ok"}')
    body = json.dumps({"messages": USER_HI, "max_tokens": 2, "stream": True}).encode()
    head = CHAT.replace(b"HTTP/1.1", b"HTTP/1.0") + b"content-length: %d\r\n\r\n" % len(body)
    with server.connect() as connection:
        connection.sendall(head + body)
        assert all_of(connection).endswith(b"data: [DONE]\n\n")


def test_idle_connections_shut_nobody_out(server: Server) -> None:
    """A thousand that say nothing: those idle for longest are closed, and new ones are served."""
    with ExitStack() as held:
        connections = [held.enter_context(server.connect()) for _ in range(MANY)]
        assert server.post("/v1/chat/completions", BODY)[0] == 200
        assert connections[0].recv(1) == b""


def test_a_head_that_never_ends_is_closed(server: Server) -> None:
    """A client that sends a byte now and then has ten seconds for the whole of it."""
    with server.connect() as connection:
        connection.sendall(HEALTH)
        assert all_of(connection) == b""
    assert server.get("/health")[0] == 200


def test_who_does_not_read_holds_nobody_up(server: Server) -> None:
    """A stream that is larger than what its sockets take frees its slot all the same, and is there
    to the end for who reads after all.
    """
    body = json.dumps(LARGE).encode()
    with tight(server) as connection:
        connection.sendall(CHAT + b"content-length: %d\r\n" % len(body))
        connection.sendall(b"connection: close\r\n\r\n" + body)
        assert connection.recv(1)
        assert server.post("/v1/chat/completions", BODY)[0] == 200
        server.wait_for("tiny", active=0)
        stream = all_of(connection)
    assert len(stream) > 2**19
    assert b"data: [DONE]" in stream


def tight(server: Server) -> socket.socket:
    """Return a connection whose two sockets take in a few kilobytes, and not megabytes."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 512)
    connection.settimeout(50)
    connection.connect(server.address)
    return connection
