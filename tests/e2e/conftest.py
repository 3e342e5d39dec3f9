"""The program as people run it: real processes, real sockets, the starter model and tiny ones."""

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psutil
import pytest

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]
Serve: TypeAlias = Callable[..., "Server"]

PROGRAM = [sys.executable, "-m", "modelrouter"]

ROLES = """
[roles]
code = ["{name}"]
general = ["{name}"]
"""

TOOLS_TEMPLATE = (
    "{% if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}<tool_call>{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
    "<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
"""A template that knows tools, in the manner of the models that write `<tool_call>`."""

PARIS: Any = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris"]}},
    "required": ["city"],
    "additionalProperties": False,
}
"""A schema that one object fits."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `modelrouter ...` to its end, in an empty folder; stdin is empty unless given."""
    folder = tmp_path / "work"
    folder.mkdir()

    def run_program(
        *arguments: str | Path, stdin: bytes = b"", **settings: Any
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*PROGRAM, *arguments],
            input=stdin,
            capture_output=True,
            cwd=folder,
            check=False,
            timeout=50,
            **settings,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run_program


@pytest.fixture(scope="session")
def npm_package(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return who installs a package for Node, once, and returns its folder; where it cannot be had
    the test is skipped, and the reason said.
    """

    @functools.cache
    def folder_of(package: str) -> Path:
        if shutil.which("node") is None or shutil.which("npm") is None:
            pytest.skip("node and npm are not installed")
        folder = tmp_path_factory.mktemp("node")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", package]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=45
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not install {package} within 45 s")
        if done.returncode:
            pytest.skip(f"npm cannot install {package}: {done.stderr.strip()[-200:]}")
        return folder

    return folder_of


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_gguf: Path) -> Path:
    """A models.toml whose one model is the tiny one, with one slot."""
    return write_config(tmp_path / "tiny", tiny_gguf, "context = 512")


def write_config(folder: Path, model: Path, *settings: str, name: str = "tiny") -> Path:
    """Write a models.toml with one model for both roles."""
    folder.mkdir(exist_ok=True)
    path = folder / "models.toml"
    lines = ["version = 1", f"[models.{name}]", f"path = {json.dumps(str(model))}", *settings]
    path.write_text("\n".join(lines) + ROLES.format(name=name))
    return path


def with_template(model: Path, path: Path, template: str) -> Path:
    """Write a copy of the tiny model with another chat template.

    The header grows by whole steps of its alignment, so that all behind it keeps its distances.
    """
    content = model.read_bytes()
    key = b"tokenizer.chat_template" + (8).to_bytes(4, "little")
    start = content.index(key) + len(key)
    end = start + 8 + int.from_bytes(content[start : start + 8], "little")
    text = template.encode()
    text += b" " * (-(len(text) - (end - start - 8)) % 32)
    path.write_bytes(content[:start] + len(text).to_bytes(8, "little") + text + content[end:])
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

    def begin(self, body: Any) -> socket.socket:
        """Post a chat and return the socket, with the answer still to come."""
        host, port = self.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=50)
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n"
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


USER_HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start `modelrouter serve` on a free port; it is ended, and must leave no worker behind."""
    servers: list[Server] = []

    def start(config: Path, *arguments: str, **env: str) -> Server:
        process = subprocess.Popen(
            [*PROGRAM, "serve", "--port", "0", "--config", config, *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | env,
        )
        assert process.stderr is not None
        said = ""
        while not (line := process.stderr.readline()).startswith("modelrouter listens on "):
            said += line
            assert line, said
        servers.append(Server(line.split()[-1], process, said))
        return servers[-1]

    yield start
    for server in servers:
        workers = server.workers() if server.process.poll() is None else []
        server.process.terminate()
        server.process.communicate(timeout=20)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not alive
