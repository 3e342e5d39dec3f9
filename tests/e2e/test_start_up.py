"""What starting up loads: a person who types `--help` does not wait for numpy."""

import subprocess
import sys
from pathlib import Path

import pytest
from program import Run, Serve, write_config

from modelrouter.memory.budget import read_machine

HEAVY = ("numpy", "sklearn", "scipy", "fastapi", "starlette", "uvicorn", "llama_cpp", "diskcache")


def modules_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after the statement."""
    program = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["modelrouter", "modelrouter.cli", "modelrouter.client"])
def test_the_command_line_loads_nothing_heavy(module: str) -> None:
    """Importing the CLI loads none of the libraries that only some commands need."""
    assert modules_after(f"import {module}").isdisjoint(HEAVY)


def test_answering_loads_no_training_library_and_no_web_framework() -> None:
    """`ask` in its own process needs no scikit-learn, no FastAPI; llama.cpp is the worker's."""
    loaded = modules_after("import modelrouter.app")
    assert loaded.isdisjoint({"sklearn", "scipy", "fastapi", "uvicorn", "llama_cpp"})
    assert "numpy" in loaded


def test_python_m_and_the_script_are_the_same_program() -> None:
    """`python -m modelrouter --help` lists the commands."""
    done = subprocess.run(
        [sys.executable, "-m", "modelrouter", "--help"], capture_output=True, check=True, text=True
    )
    for command in ("ask", "route", "serve", "ps", "check", "models"):
        assert f" {command} " in done.stdout


def test_an_operator_is_told_of_the_memory(
    run: Run, serve: Serve, tmp_path: Path, tiny_gguf: Path
) -> None:
    """What is odd about the budget and what the machine does not tell: at start-up, and by `check`.

    One line each, in the same words.
    """
    config = write_config(tmp_path / "rich", tiny_gguf, "context = 512")
    config.write_text(f'{config.read_text()}\n[budget]\nram = "999GiB"\n')
    said = [line for line in serve(config).said.splitlines() if line.startswith("note: ")]
    assert said[0].startswith("note: budget.ram is 999.00 GiB, and ")
    assert said[1:] == [f"note: {missing}" for missing in read_machine().missing]
    checked = run("check", "--config", config)
    assert checked.returncode == 0
    assert checked.stdout.splitlines()[1:] == said
