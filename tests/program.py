"""The program as people run it: `modelrouter serve` in a process of its own, asked over sockets.

It knows no suite and no model.
"""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psutil

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]
Serve: TypeAlias = Callable[..., "Server"]

PROGRAM = [sys.executable, "-m", "modelrouter"]
LISTENS = "modelrouter listens on "
USER_HI = [{"role": "user", "content": "Hi"}]

ROLES = """
[roles]
code = ["{name}"]
general = ["{name}"]
"""


def write_config(folder: Path, model: Path, *settings: str, name: str = "tiny") -> Path:
    """Write a models.toml with one model for both roles."""
    folder.mkdir(exist_ok=True)
    path = folder / "models.toml"
    lines = ["version = 1", f"[models.{name}]", f"path = {json.dumps(str(model))}", *settings]
    path.write_text("\n".join(lines) + ROLES.format(name=name))
    return path


@dataclass(frozen=True)
class Server:
    """A running `modelrouter serve`."""

    url: str
    process: "subprocess.Popen[str]"
    said: str
    """What it wrote to stderr before it listened."""

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes."""
        return psutil.Process(self.process.pid).children()

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Post JSON (or raw bytes) and return the status and the JSON that came back."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **headers}
        request = urllib.request.Request(self.url + path, data, headers)
        return self._fetch(request)

    def read_all(self, path: str, body: Any) -> str:
        """Post JSON and return all that comes, as it comes: of a stream, its text."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=50) as response:
            text: str = response.read().decode()
            return text

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Get a path and return the status and the JSON that came back."""
        return self._fetch(urllib.request.Request(self.url + path, headers=headers))

    def _fetch(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=50) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def connect(self) -> socket.socket:
        """Return a new connection."""
        return socket.create_connection(self.address, timeout=50)

    def begin(self, body: Any, path: str = "/v1/chat/completions") -> socket.socket:
        """Post JSON and return the socket, with the answer still to come."""
        connection = self.connect()
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        connection.sendall(head.encode() + data)
        return connection

    def state(self, model: str) -> dict[str, Any]:
        """Return what the scheduler says of the model now."""
        _, route = self.post("/v1/route", {"model": model, "messages": USER_HI})
        candidate: dict[str, Any] = route["candidates"][0]
        return candidate

    def place(self, model: str) -> dict[str, Any]:
        """Return the model's place in the server's status."""
        _, status = self.get("/admin/status")
        found: dict[str, Any] = next(each for each in status["models"] if each["model"] == model)
        return found

    def wait_for(self, model: str, **facts: Any) -> None:
        """Wait until the status says this of the model: `wait_for("tiny", active=1)`.

        It reads the stream of changes: asking again and again would keep the cores from workers
        that give way to everybody.
        """
        with urllib.request.urlopen(f"{self.url}/admin/status?stream=true", timeout=50) as lines:
            for line in lines:
                status = json.loads(line[6:]) if line.startswith(b"data: {") else {"models": []}
                if any(
                    m["model"] == model and facts.items() <= m.items() for m in status["models"]
                ):
                    return
        raise AssertionError(f"the server ended before {model} was {facts}")

    def stop_half_loaded(self, model: str) -> psutil.Process:
        """Stop the one worker there is (SIGSTOP) in its load, once it has told how far it is.

        It works for a few milliseconds at a time until then. Before it is a program of its own
        (exec), stopping it would stop the server as well.
        """
        while not ((workers := self.workers()) and "-P" in workers[0].cmdline()):
            pass
        (worker,) = workers
        while True:
            told = self.place(model)["loaded_share"] is not None
            worker.suspend()
            if told:
                assert self.place(model)["state"] == "loading"
                return worker
            worker.resume()


@contextmanager
def serving(config: Path, *arguments: str, **env: str) -> Iterator[Server]:
    """Run `modelrouter serve` on a free port for a block; it must leave no worker behind."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--port", "0", "--config", config, *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=config.parent,
        env=os.environ | env,
    )
    workers: list[psutil.Process] = []
    try:
        said, url = _begun(process)
        server = Server(url, process, said)
        yield server
        workers = server.workers() if process.poll() is None else []
    finally:
        process.terminate()
        process.communicate(timeout=20)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def _begun(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Wait until it listens; return what it said before, and its address."""
    assert process.stderr is not None
    said = ""
    while not (line := process.stderr.readline()).startswith(LISTENS):
        said += line
        assert line, said
    return said, line.removeprefix(LISTENS).strip()
