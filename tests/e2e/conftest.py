"""The program as people run it: real processes, real sockets, the starter model and tiny ones."""

import functools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from program import PROGRAM, Run, Serve, Server, serving, write_config


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


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start `modelrouter serve`, as `serving` does; it runs to the end of the test."""
    with ExitStack() as running:
        yield lambda *arguments, **env: running.enter_context(serving(*arguments, **env))


@pytest.fixture
def server(serve: Serve, tiny_config: Path) -> Server:
    """A server with the tiny model, mapped: loaded when first asked for; it has one slot."""
    return serve(tiny_config)


@pytest.fixture
def starter(serve: Serve, tmp_path: Path, starter_gguf: Path) -> Server:
    """A server with the starter model, whose answers take a while; it has one slot."""
    return serve(write_config(tmp_path / "one", starter_gguf, "context = 8192", name="smollm2"))
