"""A server that is told to stop: answers have their time, and then an honest end."""

import json
import os
import signal
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest
from program import Serve, Server, write_config

LONG = {"messages": [{"role": "user", "content": "one two three " * 2500}], "max_tokens": 4}
"""It takes seconds to read; nobody is to wait for the end."""
SHORT = {"messages": [{"role": "user", "content": "one two three " * 100}], "max_tokens": 4}


@pytest.fixture
def start(serve: Serve, tmp_path: Path, starter_gguf: Path) -> Serve:
    """Return a way to start a server with one slot, and so much time to stop."""

    def started(stop_within: str) -> Server:
        config = write_config(tmp_path / "stop", starter_gguf, "context = 8192", name="smollm2")
        text = config.read_text() + f'[server]\nstop_within = "{stop_within}"\n'
        config.write_text(text)
        return serve(config)

    return started


def rest_of(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def body_of(answer: bytes) -> tuple[int, bytes]:
    """Return the status and the body of an HTTP answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_answers_may_come_to_their_end(start: Serve) -> None:
    """Who is being answered is answered, and the server goes after that."""
    server = start("1h")
    connection = server.begin(SHORT)
    server.wait_for("smollm2", active=1)
    server.process.terminate()
    status, body = body_of(rest_of(connection))
    assert (status, json.loads(body)["usage"]["completion_tokens"]) == (200, 4)
    assert server.process.wait(50) == -signal.SIGTERM


@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize("how", ["late", "twice"])
def test_what_takes_longer_is_ended_with_a_word(
    start: Serve, how: str, *, is_streamed: bool
) -> None:
    """When the time is up, or at the second signal: who is answered and who waits hear why."""
    server = start("50ms" if how == "late" else "1h")
    answered = server.begin({**LONG, "stream": is_streamed})
    server.wait_for("smollm2", active=1)
    head = answered.recv(65536) if is_streamed else b""
    waiting = server.begin(LONG)
    server.wait_for("smollm2", active=1, waiting=1)
    note = Path(os.environ["XDG_STATE_HOME"], "modelrouter", "server.json")
    workers = server.workers()
    with urlopen(f"{server.url}/admin/status?stream=true", timeout=50) as watch:
        server.process.terminate()
        assert watch.read().endswith(b"data: [DONE]\n\n")  # the signal has come
    if how == "twice":
        server.process.send_signal(signal.SIGTERM)
    status, body = body_of(head + rest_of(answered))
    assert status == (200 if is_streamed else 503)
    assert b'"message":"the server is shutting down"' in body
    status, body = body_of(rest_of(waiting))
    assert (status, json.loads(body)["error"]["code"]) == (503, "no_capacity")
    assert server.process.wait(50) == -signal.SIGTERM
    assert not any(worker.is_running() for worker in workers)
    assert not note.exists()


def test_ready_says_what_is_missing(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> None:
    """503 while a resident model is not there, with the reason; mapped ones are not asked for."""
    config = write_config(tmp_path / "ready", tiny_gguf, 'residency = "resident"')
    gone = '[models.gone]\npath = "gone.gguf"\nresidency = "resident"\n'
    mapped = f"[models.later]\npath = {json.dumps(str(tiny_gguf))}\n"
    whole = config.read_text()
    config.write_text(whole + mapped)
    server = serve(config)
    server.wait_for("tiny", state="ready")
    assert server.get("/ready") == (200, {"status": "ready"})
    assert server.post("/admin/models/tiny/unload", b"")[0] == 200
    missing = {"tiny": "waiting until tiny can be loaded"}
    assert server.get("/ready") == (503, {"status": "not ready", "missing": missing})
    config.write_text(whole + gone)
    status, answer = serve(config).get("/ready")
    assert (status, "gone.gguf" in answer["missing"]["gone"]) == (503, True)
