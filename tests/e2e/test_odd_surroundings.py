"""Closed streams, full disks, odd addresses and foreign servers: a sentence, never a traceback."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from program import PROGRAM, Run, Serve, write_config


def shell(command: str, config: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run `modelrouter` from bash, where redirections are made; `$MR` is the program."""
    program = " ".join(PROGRAM)
    environment = os.environ | {"MR": program, "MODELROUTER_CONFIG": str(config)} | env
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=50,
    )


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("$MR ask --max-tokens 3 hi >&-", 0, "tokens"),
        ("$MR ask --max-tokens 3 hi 2>&-", 0, ""),
        ("$MR ask --max-tokens 3 hi <&-", 0, "tokens"),
        ("$MR models list > /dev/full", 74, "No space left on device"),
        ("$MR ask --max-tokens 3 hi > /dev/full", 74, "No space left on device"),
        ("PYTHONIOENCODING=latin-1 $MR route '日本'", 0, ""),
        ("sleep 1.5 | $MR ask --max-tokens 3 hi", 0, "reading stdin to its end"),
    ],
)
def test_odd_streams(command: str, code: int, said: str, tiny_config: Path) -> None:
    """Whatever stdin, stdout and stderr are, there is an answer or a sentence."""
    done = shell(command, tiny_config)
    assert "Traceback" not in done.stderr
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    "url", ["http://h:99999", "http://h:abc", "http://[::1", "http://a b:80", "h:80", "http://h/x"]
)
def test_an_address_that_is_none(url: str, tiny_config: Path) -> None:
    """An address that cannot be one is named, and nothing is asked."""
    done = shell("$MR route hi", tiny_config, MODELROUTER_URL=url)
    assert done.returncode == 2
    assert f"$MODELROUTER_URL is {url!r}, expected http://HOST:PORT" in done.stderr


def test_a_server_by_name_does_not_take_our_config(run: Run, tiny_config: Path) -> None:
    """With MODELROUTER_URL, --config and --policy would be ignored; so they are refused."""
    environment = os.environ | {"MODELROUTER_URL": "http://127.0.0.1:1"}
    done = run("route", "hi", "--config", tiny_config, env=environment)
    assert done.returncode == 2
    assert "names a server, which has a models.toml and a policy of its own" in done.stderr


@contextmanager
def foreign_server(body: bytes) -> Iterator[str]:
    """Answer one request with `body`, whatever was asked; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                while b"}" not in connection.recv(65536):
                    pass
                head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"half": \n\n',
        b'data: {"id": 1}\n\n',
        b'data: {"error": "x"}\n\n',
        b'data: {"choices": [{"delta": null}]}\n\n',
        b'data: {"\xff": 1}\n\n',
        b"<html>hello</html>",
    ],
)
def test_a_server_of_another_kind(run: Run, body: bytes) -> None:
    """What is no answer of ours is told as such."""
    with foreign_server(body) as url:
        done = run("ask", "hi", env=os.environ | {"MODELROUTER_URL": url})
    assert done.returncode == 70
    assert done.stderr.startswith("error: the server ")


def test_a_state_folder_that_cannot_be_written(serve: Serve, tiny_config: Path) -> None:
    """The server serves, and says why `ask` will not find it."""
    server = serve(tiny_config, XDG_STATE_HOME="/dev/null/state")
    assert server.get("/health")[0] == 200
    assert "`ask` will not find this server by itself" in server.said


def test_rule_names_of_any_script_reach_the_headers(serve: Serve, tiny_config: Path) -> None:
    """A rule's name that no header can carry comes percent-encoded."""
    policies = tiny_config.parent / "policies"
    policies.mkdir()
    (policies / "odd.toml").write_text(
        'description = "odd"\n[[rules]]\nname = "日本\\n2"\ntask = "chat"\nuse = ["code"]\n'
        '[otherwise]\nuse = ["code"]\nwhen_full = "wait"\n'
    )
    server = serve(tiny_config, "--policy", "odd")
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    status, answer = server.post("/v1/chat/completions", body)
    assert (status, answer["modelrouter"]["rule"]) == (200, "日本\n2")


def test_a_model_name_that_is_no_unicode_is_400(serve: Serve, tiny_config: Path) -> None:
    """A lone surrogate in JSON is the caller's mistake, not the server's."""
    body = b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}'
    status, answer = serve(tiny_config).post("/v1/chat/completions", body)
    assert status == 400
    assert "the model's name is not valid Unicode" in answer["error"]["message"]


def test_hanging_up_the_terminal_ends_the_server_cleanly(serve: Serve, tiny_config: Path) -> None:
    """SIGHUP is a stop like SIGTERM: no worker and no note are left."""
    server = serve(tiny_config)
    assert server.post("/v1/chat/completions", {"messages": HI, "max_tokens": 2})[0] == 200
    note = Path(os.environ["XDG_STATE_HOME"]) / "modelrouter" / "server.json"
    assert json.loads(note.read_text())["url"] == server.url
    workers = server.workers()
    server.process.send_signal(signal.SIGHUP)
    server.process.wait(20)
    assert workers
    assert not note.exists()
    assert not any(worker.is_running() for worker in workers)


HI = [{"role": "user", "content": "Hi"}]


def test_one_model_by_name(serve: Serve, tiny_config: Path) -> None:
    """`GET /v1/models/NAME` knows what the list shows."""
    server = serve(tiny_config)
    assert server.get("/v1/models/tiny")[1]["id"] == "tiny"
    assert server.get("/v1/models/tinny")[0] == 404


def test_a_file_that_was_replaced_is_not_loaded(
    serve: Serve, tmp_path: Path, tiny_gguf: Path
) -> None:
    """Another file under the old name would give answers under the old one's fingerprint."""
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    server = serve(write_config(tmp_path / "moving", path))
    path.write_bytes(tiny_gguf.read_bytes() + b"\0")
    status, answer = server.post("/v1/chat/completions", {"messages": HI, "max_tokens": 2})
    assert status == 502
    assert "has changed since its header was read" in answer["error"]["message"]
