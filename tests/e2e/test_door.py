"""Who comes in at the server's door, from where, and with how much; over real sockets."""

import json
from pathlib import Path
from typing import Any

import pytest
from program import USER_HI, Serve, Server, write_config

CHAT = {"messages": USER_HI, "max_tokens": 4}
SETTINGS = """
[server]
hosts = ["box.lan"]
origins = ["https://chat.example.org"]
max_body = "64KiB"
"""


@pytest.fixture
def server(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> Server:
    """A server with the tiny model, a name, a web page that may use it, and a small body."""
    config = write_config(tmp_path / "door", tiny_gguf, "context = 512")
    config.write_text(config.read_text() + SETTINGS)
    return serve(config)


def test_only_names_of_its_own(server: Server) -> None:
    """A name that was made to point here is refused (DNS rebinding); no address can be."""
    for host in ("localhost", "a.localhost:80", "127.0.0.1", "[::1]:8012", "10.1.2.3", "BOX.lan"):
        assert server.get("/health", host=host)[0] == 200
    for host in ("evil.example.org", "localhost.evil.org", "127.0.0.1.nip.io", "[::1", ""):
        status, answer = server.get("/health", host=host)
        assert status == 421
        assert "server.hosts in models.toml" in answer["error"]["message"]


def test_web_pages_change_nothing(server: Server) -> None:
    """What a page has a browser send is refused unless its origin is listed; programs send none."""
    unload = "/admin/models/tiny/unload"
    for headers in (
        {"origin": "https://evil.example.org"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
    ):
        status, answer = server.post(unload, b"", **headers)
        assert status == 403
        assert "server.origins in models.toml" in answer["error"]["message"]
    for headers in (
        {},
        {"sec-fetch-site": "none"},
        {"origin": server.url, "sec-fetch-site": "same-origin"},
        {"origin": "https://chat.example.org", "sec-fetch-site": "cross-site"},
    ):
        assert server.post(unload, b"", **headers)[0] == 200


def test_a_listed_page_hears_the_answer(server: Server) -> None:
    """A browser asks before it sends, and lets the page read what came back, refusals too."""
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
        "access-control-request-private-network": "true",
    }
    ours, other = {"origin": "https://chat.example.org"}, {"origin": "https://evil.example.org"}
    status, headers = head_of(server, "OPTIONS", **ours, **asked)
    assert (status, headers["access-control-allow-origin"]) == (200, ours["origin"])
    assert headers["access-control-allow-headers"] == "authorization,content-type"
    status, headers = head_of(server, "OPTIONS", **other, **asked)
    assert status == 400
    assert "access-control-allow-origin" not in headers
    status, headers = head_of(server, "POST", **ours)
    assert (status, headers["access-control-allow-origin"]) == (400, ours["origin"])
    status, headers = head_of(server, "POST", **other)
    assert status == 403
    assert "access-control-allow-origin" not in headers


def head_of(server: Server, method: str, **headers: str) -> tuple[int, dict[str, str]]:
    """Send a request without a body; return the status and the headers of the answer."""
    lines = [f"{method} /v1/chat/completions HTTP/1.1", "host: localhost", "content-length: 0"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    answer = exchange(server, "\r\n".join([*lines, "connection: close\r\n\r\n"]).encode())
    first, *others = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in others)


def exchange(server: Server, data: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    with server.connect() as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_body_that_is_too_large(server: Server) -> None:
    """413 with both numbers; without a length it is refused as soon as too much has come."""
    body = json.dumps({**CHAT, "padding": "x" * 2**16}).encode()
    status, answer = server.post("/v1/chat/completions", body)
    assert status == 413
    assert answer["error"]["message"] == (
        f"the request's body has {len(body):,} bytes; server.max_body is 65,536"
    )
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    head += b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    answer = exchange(server, head + 3 * chunk)  # and no end
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"more than 65,536 bytes" in answer


def test_who_asks_first_is_not_let_send(server: Server) -> None:
    """A client that waits for "100 Continue" hears of the refusal before it sends anything."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
    answer = exchange(server, head + b"connection: close\r\ncontent-length: 99999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/admin/status", "/openapi.json"])
def test_all_but_health_needs_a_key(
    serve: Serve, tiny_config: Path, tmp_path: Path, path: str
) -> None:
    """Keys of the file and of the environment are as good; a body without one is not even read."""
    keys = tmp_path / "tiny" / "keys"
    keys.write_text("# mine\nabc\ndef\n")
    keys.chmod(0o600)
    tiny_config.write_text(tiny_config.read_text() + '[server]\napi_keys_file = "keys"\n')
    server = serve(tiny_config, MODELROUTER_API_KEY="ghi")
    assert server.get("/health")[0] == 200
    assert server.get(path)[0] == 401
    assert server.get(path, authorization="Bearer jkl")[0] == 401
    for key in ("abc", "def", "ghi"):
        assert server.get(path, authorization=f"Bearer {key}")[0] in {200, 404}
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\nconnection: close"
    assert exchange(server, f"{head}\r\n\r\n".encode()).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":' + b"[" * 60_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"messages":[],"response_format":' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}",
        b"\xff\xfe",
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    ],
)
def test_a_body_made_to_break_the_parser(server: Server, body: bytes) -> None:
    """However deeply nested, it is 400 and no more."""
    status, answer = server.post("/v1/chat/completions", body)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert server.get("/health")[0] == 200


def test_a_prompt_that_cannot_fit_is_refused_unread(serve: Serve, tiny_config: Path) -> None:
    """10 MB for a context of 512 tokens: no worker is started to count them."""
    server = serve(tiny_config)
    content: Any = [{"role": "user", "content": "word " * 2_000_000}]
    status, answer = server.post("/v1/chat/completions", {**CHAT, "messages": content})
    assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
    assert "the context of tiny holds 512" in answer["error"]["message"]
    assert not server.workers()
